"""Reads exchanges from a recording (HAR 1.2). Only names and status words of it go into a draft, no other values."""

import base64
import json
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from runner.errors import UsageError
from runner.profile.drafts import recorded
from runner.profile.drafts.exchanges import Api, Exchange, Word


def api(document: dict[str, Any], name: str) -> Api:
    """Returns the recorded exchanges. Leaves out what is not JSON or a form. Raises UsageError where nothing is left."""
    log = document.get("log")
    entries = log.get("entries") if isinstance(log, dict) else None
    given = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    read = [found for found in map(_exchange, given) if found is not None]
    if not read:
        raise UsageError(
            f"{name}: has no exchange with a JSON response; record a login, a trigger and some polls, with contents"
        )
    host = next((found for one in given if (found := _host(one))), "")
    title = f"An API, recorded at {host}" if host else "An API, recorded"
    return Api(title, _joined(recorded.scrubbed(_with_ids(read), recorded.values(given))))


def _host(entry: dict[str, Any]) -> str:
    """Returns host and port of the request, without the user and password that an address may hold."""
    return _address(entry).netloc.rpartition("@")[2]


def _address(entry: dict[str, Any]) -> SplitResult:
    try:
        return urlsplit(str(_part(entry, "request").get("url", "")))
    except ValueError:
        return urlsplit("")


def _part(entry: dict[str, Any], name: str) -> dict[str, Any]:
    found = entry.get(name)
    return found if isinstance(found, dict) else {}


def _exchange(entry: dict[str, Any]) -> Exchange | None:
    request, response = _part(entry, "request"), _part(entry, "response")
    address = _address(entry)
    answer = _decoded(_part(response, "content"))
    status = response.get("status")
    if not address.path.startswith("/") or not isinstance(status, int) or (answer is None and status != 204):
        return None
    asks, form = _asks(_part(request, "postData"))
    headers = request.get("headers")
    names = tuple(str(one.get("name")) for one in headers if isinstance(one, dict)) if isinstance(headers, list) else ()
    method = str(request.get("method", "GET")).upper()
    return Exchange(method, recorded.bare_path(address.path), asks, form, status, answer, headers=names)


def _asks(data: dict[str, Any]) -> tuple[Any, bool]:
    """Returns the request body, and whether it is a form. A body of another type has no names of fields."""
    text, kind = str(data.get("text") or ""), str(data.get("mimeType") or "").lower()
    try:
        return json.loads(text), False
    except (ValueError, RecursionError):
        fields = dict(parse_qsl(text, keep_blank_values=True)) if "x-www-form-urlencoded" in kind else {}
    listed = data.get("params")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            fields.setdefault(str(one.get("name")), str(one.get("value")))
    return fields or None, bool(fields)


def _decoded(content: dict[str, Any]) -> Any:
    text = str(content.get("text") or "")
    try:
        raw = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _with_ids(exchanges: list[Exchange]) -> list[Exchange]:
    """Replaces path segments by `{id}` where an earlier response returned them as an id."""
    ids: set[str] = set()
    found = []
    for one in exchanges:
        path = "/".join("{id}" if segment in ids else segment for segment in one.path.split("/"))
        found.append(Exchange(**{**vars(one), "path": path}))
        if one.status < 300:
            ids |= set(_ids(one.answer))
    return found


def _ids(answer: Any, deep: int = 4) -> list[str]:
    if isinstance(answer, dict) and deep:
        own = [
            str(value)
            for key, value in answer.items()
            if key.lower().endswith(("id", "key", "number")) and _is_id(value)
        ]
        return own + [one for value in answer.values() for one in _ids(value, deep - 1)]
    if isinstance(answer, list) and deep:
        return [one for value in answer[:50] for one in _ids(value, deep - 1)]
    return []


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and 0 < len(str(value)) <= 100


def _joined(exchanges: list[Exchange]) -> list[Exchange]:
    """Merges the exchanges of one method and path: the last good one, with every status word and every refusal."""
    found: dict[tuple[str, str], Exchange] = {}
    for one in exchanges:
        before = found.get((one.method, one.path))
        good = one if before is None or one.status < 300 else before
        refused = {seen.status for seen in (before, one) if seen and seen.status >= 400}
        refusals = tuple(sorted({*(before.refusals if before else ()), *refused}))
        answer = _merged(before.answer if before and before.status < 300 else None, good.answer)
        found[one.method, one.path] = Exchange(**{**vars(good), "refusals": refusals, "answer": answer})
    return list(found.values())


def _merged(before: Any, now: Any) -> Any:
    """Returns the later response, with the earlier one's texts."""
    if isinstance(now, dict):
        return {
            key: _merged(before.get(key) if isinstance(before, dict) else None, value) for key, value in now.items()
        }
    if isinstance(now, list):
        return [_merged(before[0] if isinstance(before, list) and before else None, one) for one in now[:1]]
    if not isinstance(now, str):
        return now
    word = Word(now)
    word.choices = tuple(dict.fromkeys([*getattr(before, "choices", ()), now]))
    return word
