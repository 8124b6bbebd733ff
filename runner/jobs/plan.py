"""Builds the plan: the syncs of one account in order, with real dates. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runner.errors import UsageError
from runner.frozen import Frozen
from runner.settings import SyncSettings


class PlannedSync(Frozen):
    """One sync to run. Dates are ISO days or None: the API's own choice.

    `nothing` says why no work is needed, `error` why it cannot be planned; the other syncs continue.
    """

    name: str
    sync_type: str
    start_date: str | None = None
    end_date: str | None = None
    force_full: bool = False
    after: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    nothing: str | None = None
    error: str | None = None


def zone(name: str) -> ZoneInfo:
    """Returns the IANA zone. Raises UsageError naming the setting."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"time_zone: unknown zone `{name}`; give an IANA name such as Europe/Berlin") from None


def plan(
    syncs: Sequence[SyncSettings], *, today: date, time_zone: ZoneInfo, last_success: Callable[[str], float | None]
) -> tuple[PlannedSync, ...]:
    """Returns the syncs with their dates, each after those it names. `last_success` maps a sync name to Unix seconds.

    A sync with invalid dates gets an `error` and fails alone. Raises UsageError for unknown or circular `after`,
    and for duplicate names.
    """
    planned = [_plan_one(sync, today, time_zone, last_success) for sync in syncs]
    return _ordered(planned)


def _plan_one(
    sync: SyncSettings, today: date, time_zone: ZoneInfo, last_success: Callable[[str], float | None]
) -> PlannedSync:
    def since() -> date | None:
        at = last_success(sync.name)
        return None if at is None else datetime.fromtimestamp(at, UTC).astimezone(time_zone).date()

    start = end = nothing = error = None
    try:
        start = _day(sync.start, f"syncs.{sync.name}.start", today, since)
        end = _day(sync.end, f"syncs.{sync.name}.end", today, since)
    except UsageError as problem:
        error = str(problem)
    if start and end and start > end:
        nothing = f"nothing to do: start ({start}) is after end ({end})"
    return PlannedSync(
        name=sync.name,
        sync_type=sync.type,
        start_date=start.isoformat() if start else None,
        end_date=end.isoformat() if end else None,
        force_full=sync.force_full,
        after=sync.after,
        params=sync.params,
        nothing=nothing,
        error=error,
    )


def _day(text: str | None, key: str, today: date, since: Callable[[], date | None]) -> date | None:
    if text is None:
        return None
    word = text.strip().lower()
    if word == "last-success":
        return since()
    named = {"today": 0, "yesterday": -1}
    relative = re.fullmatch(r"([+-]\d{1,5})([dw])", word)
    try:
        if word in named:
            return today + timedelta(days=named[word])
        if relative:
            return today + timedelta(days=int(relative[1]) * (7 if relative[2] == "w" else 1))
        return date.fromisoformat(word)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{key}: invalid date `{text[:40]}`; give 2026-01-31, today, yesterday, -7d, -2w or last-success"
        ) from None


def _ordered(planned: Sequence[PlannedSync]) -> tuple[PlannedSync, ...]:
    """Sorts in the given order, but each after those it names."""
    names = [sync.name for sync in planned]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise UsageError(f"syncs: the name `{double}` is used twice; give each sync its own `name`")
    for sync in planned:
        unknown = next((name for name in sync.after if name not in names), None)
        if unknown:
            raise UsageError(f"syncs.{sync.name}.after: no sync named `{unknown}`; known: {', '.join(names)}")
    done: list[PlannedSync] = []
    waiting = list(planned)
    while waiting:
        ready = next((sync for sync in waiting if {*sync.after} <= {one.name for one in done}), None)
        if ready is None:
            raise UsageError(f"syncs: {', '.join(sync.name for sync in waiting)} wait for each other in `after`")
        done.append(ready)
        waiting.remove(ready)
    return tuple(done)
