"""Writes a draft: known parts in place, unknown ones marked with their meaning."""
# Decision 0174.

import re
from typing import Any

from runner.profile import suggestions
from runner.profile.drafts.exchanges import MARK, NAMES, SYNC, Api, Exchange, Word, known_as, plain, snake
from runner.profile.drafts.roles import Roles, list_at, roles
from runner.profile.models import JobFields

STATES = {
    "pending": "pending queued created scheduled waiting new accepted submitted not_started requested preparing starting "
    "received enqueued initializing init idle rising todo",
    "running": "running in_progress started processing active executing working building canceling cancelling stopping "
    "terminating retry retrying baking busy ongoing",
    "completed": "completed complete success succeeded successful done finished ok passed ready ended",
    "failed": "failed failure error errored crashed timed_out timeout rejected skipped invalid burnt unhealthy expired "
    "startup_failure",
    "cancelled": "cancelled canceled aborted stopped terminated killed revoked binned",
}
_PARAMETER = re.compile(r"\{([^}]+)\}")


def written(api: Api) -> str:
    """Returns the draft's text, as YAML with a comment at its head."""
    import yaml

    found = roles(api.exchanges)
    parameters: dict[str, Any] = {}
    jobs = _jobs(found, parameters)
    profile: dict[str, Any] = {"version": 1, "description": f"{api.title}, jobs"[:100]}
    if parameters:
        profile["parameters"] = parameters
    profile |= {"auth": _auth(api, found), "jobs": jobs}
    text = yaml.safe_dump(_bare(profile), sort_keys=False, width=110, allow_unicode=True)
    return "\n".join([*_head(api, found), text])


def _head(api: Api, found: Roles) -> list[str]:
    lines = ["# A draft by `sync-runner profiles new`: guesses by names and shapes. Read every line.",
             f"# What is marked {MARK}... is unknown; `sync-runner profiles validate` lists it."]  # fmt: skip
    if api.base_path:
        lines.append(f"# The paths are below the address: base_url ends with {_one_line(api.base_path)}.")
    lines += [f"# May also be the trigger: {one.method} {_one_line(one.path)}" for one in found.others]
    lines.append(
        "# Set `idempotent: true` at the trigger only if a repeat with the same ${idempotency_key} returns the first response."
    )
    return lines


def _one_line(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text)


def _bare(value: Any) -> Any:
    """Converts our own text types, which YAML does not support."""
    if isinstance(value, dict):
        return {_bare(key): _bare(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_bare(one) for one in value]
    return str(value) if isinstance(value, str) else value


def _auth(api: Api, found: Roles) -> dict[str, Any]:
    if found.login is None:
        return api.auth or _recorded(api)
    login = found.login
    body = _filled_secrets(login)
    secrets = [name[2:-1].removesuffix("?") for name in dict.fromkeys(body.values()) if name.startswith("${")]
    secrets = ["totp_seed" if name == "code" else name for name in secrets if name != "refresh_token"]
    refused = list(login.refusals or (400, 401, 403))
    request = {"method": login.method, "path": login.path, "form" if login.form else "json": body}
    answers = [{"status": login.status, "then": "done"}, {"status": refused, "then": "refused"}]
    session = {
        name: at
        for name in ("access_token", "refresh_token", "expires_in")
        if (at := suggestions.named(name, login.answer))
    }
    session.setdefault("access_token", f"{MARK}_where_the_token_stands")
    auth: dict[str, Any] = {
        "secrets": secrets,
        "steps": {"password": {"request": request, "answers": answers}},
        "session": session,
    }
    if found.refresh is not None and "refresh_token" in session:
        refresh = found.refresh
        sent = "form" if refresh.form else "json"
        auth["refresh"] = {"request": {"method": refresh.method, "path": refresh.path, sent: _filled_secrets(refresh)}}
        if refresh.status != 200:
            auth["refresh"]["accepted"] = refresh.status
    return auth


def _filled_secrets(exchange: Exchange) -> dict[str, str]:
    keys = exchange.asks if isinstance(exchange.asks, dict) else {}
    return {str(key): known_as(str(key), NAMES) or _grant(str(key), exchange) for key in keys}


def _grant(key: str, exchange: Exchange) -> str:
    sends = {known_as(str(one), NAMES) for one in exchange.asks}
    if snake(key).replace("-", "_") == "grant_type":
        return (
            "refresh_token"
            if "${refresh_token}" in sends
            else "password"
            if "${password}" in sends
            else "client_credentials"
        )
    return f"{MARK}_{plain(key)}"


def _recorded(api: Api) -> dict[str, Any]:
    """Returns how requests carry the token, by the names of recorded headers; open where there is none."""
    names = [name for one in api.exchanges for name in one.headers]
    for name in names:
        if snake(name) == "authorization":
            return {"secrets": ["api_token"], "headers": {"Authorization": "Bearer ${api_token}"}}
        if snake(name).replace("-", "_") in ("x_api_key", "api_key", "x_token", "x_auth_token", "private_token"):
            return {"secrets": ["api_token"], "headers": {name: "${api_token}"}}
    return {"secrets": [], "headers": {"Authorization": f"{MARK}_how_the_token_goes_along"}}


def _jobs(found: Roles, parameters: dict[str, Any]) -> dict[str, Any]:
    shown = found.status or found.trigger
    trigger = _trigger(found.trigger, parameters)
    status: dict[str, Any] = {"request": {"path": f"/{MARK}/${{job_id}}"}}
    if found.status is not None:
        status = {"request": {"path": _path(found.status.path, parameters, of_job=True)}}
        status |= _where(found.status.answer)
    jobs: dict[str, Any] = {"trigger": trigger, "status": status}
    if found.listing is not None:
        jobs["recent"] = {
            "request": {"path": _path(found.listing.path, parameters)},
            "jobs": list_at(found.listing.answer) or "@",
        }
    if found.cancel is not None:
        cancel = found.cancel
        request: dict[str, Any] = {"method": cancel.method, "path": _path(cancel.path, parameters, of_job=True)}
        jobs["cancel"] = {"request": request, "job": None}
        if cancel.status not in (200, 202, 204):
            jobs["cancel"]["accepted"] = cancel.status
    sample = _inner(shown.answer) if shown else {}
    jobs["fields"] = _fields(sample)
    begun = _inner(found.trigger.answer) if found.trigger else None
    if isinstance(begun, dict) and jobs["fields"]["job_id"] not in begun:
        own = suggestions.named("job_id", begun, deep=2) or _other_id(begun)
        trigger |= {"job_id": own} if own else {}
    jobs["words"] = _words(sample, jobs["fields"]["status"])
    return jobs


def _trigger(trigger: Exchange | None, parameters: dict[str, Any]) -> dict[str, Any]:
    if trigger is None:
        return {"request": {"method": "POST", "path": f"/{MARK}_the_trigger"}}
    request: dict[str, Any] = {"method": trigger.method, "path": _path(trigger.path, parameters)}
    if isinstance(trigger.asks, dict) and trigger.asks:
        request["form" if trigger.form else "json"] = {
            str(key): known_as(str(key), SYNC) or _parameter(str(key), value, trigger, parameters)
            for key, value in trigger.asks.items()
        }
    keys = [name for name in trigger.headers if "idempotency" in name.lower()]
    if keys:
        request["headers"] = {keys[0]: "${idempotency_key}"}
    made: dict[str, Any] = {"request": request}
    if trigger.status not in (200, 201, 202):
        made["accepted"] = trigger.status
    return made | _where(trigger.answer)


def _parameter(key: str, value: Any, trigger: Exchange, parameters: dict[str, Any]) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}
    required = key in trigger.needs
    made: dict[str, Any] = {"type": kinds.get(type(value), "string")}
    if required:
        made["required"] = True
    if isinstance(value, Word) and len(value.choices) > 1:
        made["description"] = "One of " + ", ".join(map(str, value.choices[:12]))
    parameters[plain(key)] = made
    return f"${{params.{plain(key)}{'' if required else '?'}}}"


def _path(path: str, parameters: dict[str, Any], *, of_job: bool = False) -> str:
    """Returns the path with its variable segments as templates; the last one is the job's where it is about one."""
    names = _PARAMETER.findall(path)
    filled = path.replace("$", "$$")
    for number, name in enumerate(names):
        if of_job and number == len(names) - 1:
            value = "${job_id}"
        elif known_as(name, SYNC) == "${sync_type}":
            value = "${sync_type}"
        else:
            value = f"${{params.{plain(name)}}}"
            parameters.setdefault(plain(name), {"type": "string", "required": True})
        filled = filled.replace("{" + name + "}", value, 1)
    return filled


def _inner(answer: Any) -> Any:
    """Returns the job's own object in a response."""
    at = _where(answer).get("job")
    return answer[at] if at else answer


def _where(answer: Any) -> dict[str, str]:
    """Returns the place of the job, if not at the top: `{job: data}`."""
    if not isinstance(answer, dict) or suggestions.named("status", answer, deep=1):
        return {}
    inner = [
        str(key) for key, one in answer.items() if isinstance(one, dict) and suggestions.named("status", one, deep=1)
    ]
    return {"job": inner[0]} if inner and inner[0].isidentifier() else {}


def _fields(sample: Any) -> dict[str, str | None]:
    found: dict[str, str | None] = {name: suggestions.named(name, sample, deep=1) for name in JobFields.model_fields}
    found["job_id"] = found["job_id"] or _other_id(sample)
    found["status"] = found["status"] or suggestions.named("status", sample, deep=2)
    taken = {found["job_id"], found["status"]}
    for name in ("sync_type", "error_message", "total_items", "processed_items"):
        if found[name] in taken:
            found[name] = None
    found["user_id"] = None  # a guess would drop other users' jobs from the listings
    if found["job_id"] is None:
        found["job_id"] = f"{MARK}_where_the_id_stands"
    if found["status"] is None:
        found["status"] = f"{MARK}_where_the_status_stands"
    return found


def _other_id(sample: Any) -> str | None:
    """Returns the only key that ends like an id."""
    ids = [key for key in sample if snake(str(key)).endswith("_id")] if isinstance(sample, dict) else []
    return ids[0] if len(ids) == 1 and str(ids[0]).isidentifier() else None


def _words(sample: Any, place: str | None) -> dict[str, Any]:
    from runner.profile.expressions import find

    word = find(sample, place) if place and MARK not in place else None
    choices = list(getattr(word, "choices", ())) or ([word] if isinstance(word, str) else [])
    choices = [one for one in choices if one != "text"]  # a sample, or a recorded text that is no status word
    words: dict[str, list[Any]] = {state: [] for state in STATES}
    for one in choices:
        plainly = re.sub(r"[^a-z0-9]+", "_", snake(str(one)) if not str(one).isupper() else str(one).lower())
        state = next((state for state, known in STATES.items() if plainly in known.split()), None)
        if state is not None:
            words[state].append(one)
        else:
            words["pending"].append(f"{MARK}: the state of `{one}`, under its name")
    for state in ("running", "completed", "failed"):
        if not words[state]:
            words[state] = [f"{MARK}: the words for {state}"]
    return {state: listed for state, listed in words.items() if listed}
