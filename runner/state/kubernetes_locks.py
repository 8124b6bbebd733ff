"""The locks of accounts in a Secret: annotations that also say when an account was last used."""

import re
from typing import Any

LOCK = "sync-runner.io/lock-"
RECORD = re.compile(r"[0-9a-f]{32}\.json")
_PRUNED = re.compile(r"(seed-)?[0-9a-f]{32}\.json")  # with what is kept of a seed
_NOBODY = "-"  # Decision 0182.


def lock_of(found: dict[str, Any], annotation: str) -> tuple[str, float]:
    """Who holds the lock, and until when (Unix seconds); nobody where it was never written, or not by a runner.

    Of a lock that was given back, or whose holder was killed, the time is when the account was last used.
    """
    holder, _, until = str(found["metadata"]["annotations"].get(annotation, "")).partition(" ")
    return holder, float(until) if until.isdecimal() and len(until) < 16 else 0.0


def unlocked(now: float) -> str:
    """Nobody's lock, which ended now: an older version reads it as one that ran out."""
    return f"{_NOBODY} {now:.0f}"


def unused(found: dict[str, Any], keep: float, now: float) -> tuple[dict[str, Any], int]:
    """What to change so that accounts go which nobody used for `keep` seconds, and how many go.

    An account without a mark of its last use gets one, and stays.
    """
    data: dict[str, None] = {}
    annotations: dict[str, str | None] = {}
    for name in filter(_PRUNED.fullmatch, found["data"]):
        annotation = f"{LOCK}{name.removesuffix('.json')}"
        used = lock_of(found, annotation)[1]
        if not used:
            annotations[annotation] = unlocked(now)
        elif used < now - keep:
            data[name] = annotations[annotation] = None
    if not annotations:
        return {}, 0
    return {"metadata": {"annotations": annotations}, **({"data": data} if data else {})}, len(data)
