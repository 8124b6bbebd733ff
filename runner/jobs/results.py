"""Reads the named values that a job returns, checks their types, and bounds them. An invalid value is left out."""

import json
from collections.abc import Mapping
from typing import Any

from runner.clock import Deadline
from runner.errors import ContractError, RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.http.messages import Response
from runner.http.streaming import SideClient
from runner.jobs.api import JobApi
from runner.models import JSON, SyncJob
from runner.profile.extraction import value
from runner.profile.output_models import Result, Results, ResultType

LONGEST = 32 << 10  # bytes of one value as JSON
_KINDS: dict[ResultType, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
}  # fmt: skip


async def read(
    results: Results, api: JobApi, client: SideClient, job: SyncJob, deadline: Deadline, observer: Observer
) -> dict[str, JSON]:
    """Returns the values by name. A missing value is left out; an invalid one is left out with a warning."""
    try:
        answer, values = await _answer(results, api, client, job, deadline, observer)
    except RunnerError as error:
        observer.emit(events.OutputUnread(job.shown_id, "results", str(error)))
        return {}
    found: dict[str, JSON] = {}
    for name, result in results.values.items():
        try:
            one = fitting(answer, result, values)
        except (ContractError, Misfit):
            observer.emit(events.FieldUnreadable(job.shown_id, f"results.{name}"))
        else:
            found |= {} if one is None else {name: one}
    return found


async def _answer(
    results: Results, api: JobApi, client: SideClient, job: SyncJob, deadline: Deadline, observer: Observer
) -> tuple[Response, Mapping[str, Any]]:
    """Returns the response, and the values for expressions about it."""
    if results.request is None:
        if api.last is None:
            raise ContractError("results: no response showed the job's end")
        return api.last, await api.values(job, deadline, observer)
    call = await api.signed("results", results.request, job, {}, deadline, observer)
    answer = await client.fetch(call, deadline, observer)
    if answer.status not in results.accepted:
        raise ContractError(f"results: the API answered {answer.status}")
    return answer, call.values


class Misfit(ValueError):
    """The value has another type, or is too long."""


def fitting(answer: Response, result: Result, values: Mapping[str, Any] | None = None) -> JSON:
    """Returns the value; None where it is missing. Raises Misfit, or ContractError."""
    found = value(answer, result.at, values)
    if found is None:
        return None
    if isinstance(found, str) and result.type != "string":  # from a header
        found = _from_text(found, result.type)
    if result.type == "integer" and isinstance(found, float) and found.is_integer():
        found = int(found)
    fits = isinstance(found, _KINDS[result.type]) and (result.type == "boolean" or not isinstance(found, bool))
    if not fits:
        raise Misfit
    return _portable(found)


def _portable(found: JSON) -> JSON:
    """Returns the value as every JSON parser reads it: no infinity (1e999), no half of a character. Raises Misfit for a
    long one."""
    try:
        written = json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    except ValueError:
        raise Misfit from None
    if len(written) > LONGEST:
        raise Misfit
    whole: JSON = json.loads(written)
    return whole


def _from_text(text: str, kind: ResultType) -> JSON:
    try:
        return json.loads(text, parse_constant=_refuse) if kind in ("integer", "number", "boolean") else text
    except ValueError:
        raise Misfit from None


def _refuse(_constant: str) -> None:
    raise ValueError
