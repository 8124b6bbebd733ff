"""Whole answers that show jobs in another way than the sandbox does: none of them may change how a run ends."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.support.faults.proxy import Exchange, Spoil
from tests.support.faults.table import Class, Kind


def _jobs(change: Callable[[dict[str, Any], int], dict[str, Any]]) -> Spoil:
    """The server's answer with each job in it changed; the change is told the number of the request, from 1."""

    async def spoil(exchange: Exchange) -> None:
        _, body = await exchange.answered()
        told, number = json.loads(body), exchange.proxy.spoiled
        told["jobs"] = [change(job, number) for job in told.get("jobs", ())]
        await exchange.reply(json.dumps(told).encode())

    return spoil


def _requeued(job: dict[str, Any], number: int) -> dict[str, Any]:
    """Running, back in its queue, running."""
    return {**job, "status": "pending" if number == 2 else "running", "end_time": None, "error_message": None}


def _as_number(scale: float, kind: Callable[[float], Any]) -> Callable[[dict[str, Any], int], dict[str, Any]]:
    def change(job: dict[str, Any], _number: int) -> dict[str, Any]:
        told = {name: job[name] for name in ("start_time", "end_time") if job.get(name)}
        return {**job, **{name: kind(datetime.fromisoformat(at).timestamp() * scale) for name, at in told.items()}}

    return change


def _other_types(job: dict[str, Any], _number: int) -> dict[str, Any]:
    odd = {"progress": f"{job.get('progress')}%", "total_items": [1], "processed_items": "12", "user_id": 7.5}
    return {**job, **odd, "error_message": {"code": 0}, "end_time": True}


_ODD_ENTRIES: tuple[Any, ...] = (
    None, 7, "job", [], {}, {"job_id": None}, {"job_id": "old", "status": "archived", "start_time": "2020-01-01T00:00:00Z"},
    {"job_id": "old-2", "status": 12, "progress": 104}, {"job_id": ["a"], "status": "completed"}, {"status": "completed"},
)  # fmt: skip


async def _odd_listing(exchange: Exchange) -> None:
    _, body = await exchange.answered()
    told = json.loads(body)
    entries = [*told.get("jobs", ()), *exchange.rng.sample(_ODD_ENTRIES, 4)]
    exchange.rng.shuffle(entries)
    await exchange.reply(json.dumps({**told, "jobs": entries}).encode())


_SHOWN = ("status", "list")
TOLD = (
    Kind("requeue", Class.HARMLESS, _jobs(_requeued), taken=True, endpoints=("status",)),
    Kind("times as seconds", Class.HARMLESS, _jobs(_as_number(1, float)), taken=True, endpoints=_SHOWN),
    Kind("times as milliseconds", Class.HARMLESS, _jobs(_as_number(1000, int)), taken=True, endpoints=_SHOWN),
    Kind("times as text of digits", Class.HARMLESS, _jobs(_as_number(1, str)), taken=True, endpoints=_SHOWN),
    Kind("other types", Class.HARMLESS, _jobs(_other_types), taken=True, endpoints=_SHOWN),
    Kind("odd listing", Class.HARMLESS, _odd_listing, taken=True, endpoints=("list",)),
)
