"""Suggests corrections for a profile: where in a response a missing value may be. These are guesses and are shown as such."""

import json
from collections.abc import Iterator

from runner.errors import nearest
from runner.models import JSON

# Names that other APIs use. The nearest name in the response wins; none of these is ever used automatically.
ALSO = {
    "access_token": ("access_token", "token", "accessToken", "session_token", "jwt", "id_token", "key"),
    "refresh_token": ("refresh_token", "refreshToken"),
    "expires_in": ("expires_in", "expiresIn", "expires", "ttl", "lifetime", "expires_at", "expiration"),
    "job_id": ("job_id", "jobId", "id", "run_id", "runId", "uuid", "name"),
    "status": ("status", "state", "phase", "state_type", "type"),
    "progress": ("progress", "percent", "percentage", "percent_complete", "completion"),
    "processed_items": ("processed_items", "processed", "done", "completed_items", "rowsSynced"),
    "total_items": ("total_items", "total", "count"),
    "error_message": ("error_message", "error", "message", "failure_reason", "job_explanation", "status_message"),
    "start_time": (
        "start_time",
        "started_at",
        "start_date",
        "started",
        "startTime",
        "startedAt",
        "created_at",
        "createdAt",
    ),
    "end_time": ("end_time", "ended_at", "finished_at", "finished", "end_date", "endTime", "stoppedAt", "finishedAt"),
    "sync_type": ("sync_type", "type", "kind", "jobType", "name"),
}


def paths(body: JSON, *, deep: int = 4) -> Iterator[tuple[str, JSON]]:
    """Yields each value that is not an object, with its JMESPath; of a list, only the first item."""
    yield from _below(body, "", deep)


def _below(body: JSON, place: str, deep: int) -> Iterator[tuple[str, JSON]]:
    if isinstance(body, dict) and deep:
        for key, value in body.items():
            name = key if str(key).isidentifier() else json.dumps(str(key))
            yield from _below(value, f"{place}.{name}" if place else name, deep - 1)
    elif isinstance(body, list) and body and deep:
        yield place or "@", body
        yield from _below(body[0], f"{place}[0]", deep - 1)
    else:
        yield place or "@", body


def named(field: str, body: JSON, *, deep: int = 4) -> str | None:
    """Returns the shallowest path in `body` whose last name is one that APIs use for the `field` of a profile; or None."""
    found: dict[str, str] = {}
    for path, _value in sorted(paths(body, deep=deep), key=lambda one: one[0].count(".")):
        found.setdefault(path.rpartition(".")[2], path)
    return next((found[name] for name in ALSO.get(field, (field,)) if name in found and "[" not in found[name]), None)


def where(field: str, body: JSON) -> str | None:
    """Returns the path in `body` whose last name is most similar to the `field` of a profile, or None."""
    found = {path.rpartition(".")[2]: path for path, value in reversed(list(paths(body))) if value is not None}
    for name in ALSO.get(field, (field,)):
        if name in found:
            return found[name]
    near = nearest(field, found)
    return found[near] if near else None
