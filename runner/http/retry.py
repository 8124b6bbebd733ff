"""When may a request be sent again, and after how long? One policy, pure, observed through one record.

Full jitter after Amazon's "Exponential Backoff And Jitter"; Retry-After after RFC 9110, 10.2.3.
"""

import random
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from runner.errors import Unreachable
from runner.external import ExternalText, raw
from runner.frozen import Frozen

RATE_LIMITED = frozenset({429})
NOT_TAKEN = frozenset({425, 429, 503})  # the server says it did not take the request up
MAYBE_TAKEN = frozenset({408, *range(500, 600)}) - NOT_TAKEN  # it may have begun
FAILURES = (NOT_TAKEN | MAYBE_TAKEN) - RATE_LIMITED
MAX_RETRY_AFTER = 86_400.0  # a day; more is nonsense, and the deadline ends it sooner anyway


class Safety(Enum):
    """What a repeat of a request could do."""

    IDEMPOTENT = "a repeat changes nothing (reads, idempotency keys)"
    NON_IDEMPOTENT = "a repeat could do the work twice: only again when it was certainly not taken"


class Policy(Frozen):
    """Bounds of retrying one request: tries at most, and random waits in seconds.

    A request that never left costs no try for `connect_patience` seconds.
    """

    attempts: int = 5
    wait: float = 0.5
    max_wait: float = 30.0
    connect_patience: float = 0.0


def reason(failure: Unreachable | int, safety: Safety) -> str | None:
    """Why a request that failed so may be tried again (a metric label), or None when it may not."""
    if isinstance(failure, Unreachable):
        if not failure.sent:
            return "connect"
        return "lost_answer" if safety is Safety.IDEMPOTENT else None
    if failure in NOT_TAKEN:
        return "rate_limited" if failure in RATE_LIMITED else "unavailable"
    if failure in MAYBE_TAKEN and safety is Safety.IDEMPOTENT:
        return "server_error"
    return None


def failure(status: int) -> bool:
    """Whether the status says that the server fails, rather than that the request is wrong or comes too often."""
    return status in FAILURES


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait from a Retry-After header: a number or an HTTP date. None for absent or nonsense.

    `now` is the server's time in Unix seconds (its Date header), so that a skewed clock here does no harm.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER)
    seconds = http_date(value)
    if seconds is None:
        return None
    return min(max(0.0, seconds - now), MAX_RETRY_AFTER)


def retry_after(headers: Mapping[str, ExternalText], received_at: float) -> float | None:
    """Seconds to wait by an answer's Retry-After (lower-case names), counted from its own Date where it has one."""
    if "retry-after" not in headers:
        return None
    return parse_retry_after(raw(headers["retry-after"]), http_date(headers.get("date")) or received_at)


def http_date(value: ExternalText | str | None) -> float | None:
    """Unix seconds of an HTTP date (RFC 9110, 5.6.7); None for absent or nonsense."""
    try:
        moment = parsedate_to_datetime(raw(value or ""))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def wait(
    policy: Policy, attempt: int, retry_after: float | None, rng: Callable[[float, float], float] = random.uniform
) -> float:
    """Seconds before try `attempt` + 1: full jitter, and never before what the server `asked` for (plus up to 10 %)."""
    jitter = rng(0.0, min(policy.max_wait, policy.wait * 2.0 ** min(attempt - 1, 32)))
    if retry_after is None:
        return jitter
    return retry_after + min(jitter, rng(0.0, max(0.25, retry_after * 0.1)))
