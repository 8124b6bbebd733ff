"""Keeps recorded values out of a draft: only texts that are names or words go in, and none that a request sent. Pure."""
# Decision 0180.

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from runner.models import JobStatus
from runner.profile import suggestions
from runner.profile.drafts.exchanges import NAMES, SYNC, Exchange, Word, snake

_NAME = re.compile(r"[A-Za-z_@][A-Za-z0-9_.\-\[\]]{0,39}")
_STATE = re.compile(r"[A-Za-z]+(?:[_-][A-Za-z]+)*|[A-Z]?[a-z]+(?: [A-Za-z]{1,11}){1,2}")
_RANDOM = re.compile(r"[0-9][A-Za-z]+[0-9]|[0-9]{4}|[A-Za-z0-9]{25}|[bcdfghjklmnpqrstvwxz]{7}", re.IGNORECASE)
_SECRET = re.compile(r"token|secret|passw|session|cookie|key|code|otp|seed|user|mail|auth", re.IGNORECASE)
_SHORTEST = 3  # shorter values are no secrets, and are parts of many names
_KNOWN = {name for table in (NAMES, SYNC) for names in table.values() for name in names} | {
    name for names in suggestions.ALSO.values() for name in names
}  # fmt: skip


def values(entries: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Returns what the requests sent, and what responses gave under names of secrets, in lower case."""
    found: set[str] = set()
    for entry in entries:
        request, response = entry.get("request"), entry.get("response")
        found.update(_sent(request) if isinstance(request, dict) else ())
        content = response.get("content") if isinstance(response, dict) else None
        found.update(_secrets(_parsed(content.get("text")) if isinstance(content, dict) else None))
    return frozenset(one.lower() for one in found if len(one) >= _SHORTEST)


def _sent(request: dict[str, Any]) -> Iterator[str]:
    for key in ("headers", "cookies"):
        for one in request.get(key) or ():
            if isinstance(one, dict):
                yield from re.split(r"[\s;=,]+", str(one.get("value")))
    try:
        address = urlsplit(str(request.get("url")))
        yield from (value for _name, value in parse_qsl(address.query))
        yield from filter(None, (address.username, address.password))
    except ValueError:
        pass
    data = request.get("postData")
    if isinstance(data, dict):
        text = data.get("text")
        yield from _leaves(_parsed(text))
        yield from (value for _name, value in parse_qsl(str(text or "")))
        yield from (str(one.get("value")) for one in data.get("params") or () if isinstance(one, dict))


def _parsed(text: Any) -> Any:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


def _leaves(part: Any) -> Iterator[str]:
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _leaves(one)
    if isinstance(part, str):
        yield part


def _secrets(part: Any) -> Iterator[str]:
    """Yields the texts of a response that stand under the name of a secret."""
    for key, one in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from _leaves(one) if isinstance(key, str) and _SECRET.search(key) else _secrets(one)


def bare_path(path: str) -> str:
    """Returns the path without the parameters of its segments, such as `;jsessionid=...`."""
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


def scrubbed(exchanges: Iterable[Exchange], sent: frozenset[str]) -> list[Exchange]:
    """Returns the exchanges without any recorded value in a path, a name or a status word."""
    return [
        replace(
            one,
            path=_path(one.path, sent),
            asks=_keys(one.asks, sent),
            answer=_words(_keys(one.answer, sent), sent),
            headers=tuple(name for name in one.headers if _is_name(name, sent)),
        )
        for one in exchanges
    ]


def _is_name(text: str, sent: frozenset[str]) -> bool:
    if snake(text).replace("-", "_") in _KNOWN:
        return True
    return bool(_NAME.fullmatch(text)) and not _RANDOM.search(text) and not _held(text, sent)


def _held(text: str, sent: frozenset[str]) -> bool:
    """Whether the text is, or holds, a value that was sent."""
    lower = text.lower()
    return lower in sent or any(len(one) > 2 * _SHORTEST and one in lower for one in sent)


def _path(path: str, sent: frozenset[str]) -> str:
    def segment(number: int, text: str) -> str:
        plain = unquote(text)
        if not text or text == "{id}" or re.fullmatch(r"v\d{1,3}", text) or _is_name(plain, sent):
            return text
        return f"{{segment_{number}}}"

    return "/".join(segment(number, text) for number, text in enumerate(path.split("/")))


def _keys(part: Any, sent: frozenset[str]) -> Any:
    if isinstance(part, dict):
        return {key: _keys(one, sent) for key, one in part.items() if _is_name(str(key), sent)}
    return [_keys(one, sent) for one in part] if isinstance(part, list) else part


def _words(part: Any, sent: frozenset[str]) -> Any:
    """Replaces texts of a response that are no status words: a status is the only value that goes into a draft."""
    if isinstance(part, dict):
        return {key: _words(one, sent) for key, one in part.items()}
    if isinstance(part, list):
        return [_words(one, sent) for one in part]
    if not isinstance(part, str) or isinstance(part, Word):
        return part
    fits = len(part) <= 40 and _STATE.fullmatch(part) and not _RANDOM.search(part) and not _held(part, sent)
    return part if fits or part in {state.value for state in JobStatus} else "text"
