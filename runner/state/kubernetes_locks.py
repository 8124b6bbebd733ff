"""The locks of accounts in a Secret: annotations that also record when an account was last used."""

import re
from typing import Any

from runner.state.interface import SEED

LOCK = "sync-runner.io/lock-"
RECORD = re.compile(r"[0-9a-f]{32}\.json")
_PRUNED = re.compile(rf"({SEED})?[0-9a-f]{{32}}\.json")  # with what is kept of a seed
_NOBODY = "-"  # Decision 0182.


def lock_of(found: dict[str, Any], annotation: str) -> tuple[str, float]:
    """Returns the lock holder and the expiry time (Unix seconds); no holder where no runner wrote it.

    Where the lock was released, or its holder was killed, the time is when the account was last used.
    """
    holder, _, until = str(found["metadata"]["annotations"].get(annotation, "")).partition(" ")
    return holder, float(until) if until.isdecimal() and len(until) < 16 else 0.0


def unlocked(now: float) -> str:
    """Returns a released lock that ended now: an older version reads it as expired."""
    return f"{_NOBODY} {now:.0f}"


def unused(found: dict[str, Any], keep: float, now: float) -> tuple[dict[str, Any], int]:
    """Returns the change that deletes accounts unused for `keep` seconds, and their number.

    An account without a record of its last use gets one, and stays.
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
    return {"metadata": {"annotations": annotations}, **({"data": data} if data else {})}, sum(
        not name.startswith(SEED) for name in data
    )
