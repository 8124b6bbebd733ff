"""The retry policy: decides whether a request may be sent again, and when. Pure, observed through one record.

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
NOT_TAKEN = frozenset({425, 429, 503})  # the server says that it did not process the request
MAYBE_TAKEN = frozenset({408, *range(500, 600)}) - NOT_TAKEN  # the server may have processed it
FAILURES = (NOT_TAKEN | MAYBE_TAKEN) - RATE_LIMITED
MAX_RETRY_AFTER = 86_400.0  # a day; more is implausible, and the deadline comes first anyway


class Safety(Enum):
    """The effect of repeating a request."""

    IDEMPOTENT = "a repeat has no further effect (reads, idempotency keys)"
    NON_IDEMPOTENT = "a repeat may have its effect twice: retried only when it was certainly not accepted"


class Policy(Frozen):
    """Limits of retrying one request: maximum tries, and random waits in seconds.

    For `connect_patience` seconds, a request that was never sent costs no try.
    """

    attempts: int = 5
    wait: float = 0.5
    max_wait: float = 30.0
    connect_patience: float = 0.0


def reason(failure: Unreachable | int, safety: Safety) -> str | None:
    """Returns why a request that failed in this way may be retried (a metric label), or None when it may not."""
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
    """Whether the status means that the server fails, not that the request is wrong or too frequent."""
    return status in FAILURES


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Returns the seconds of a Retry-After header: a number or an HTTP date. None where absent or invalid.

    `now` is the server's time in Unix seconds (its Date header), so that a skewed local clock has no effect.
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
    """Returns the seconds of a response's Retry-After (lower-case names), counted from its own Date where it has one."""
    if "retry-after" not in headers:
        return None
    return parse_retry_after(raw(headers["retry-after"]), http_date(headers.get("date")) or received_at)


def http_date(value: ExternalText | str | None) -> float | None:
    """Returns the Unix seconds of an HTTP date (RFC 9110, 5.6.7); None where absent or invalid."""
    try:
        moment = parsedate_to_datetime(raw(value or ""))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def wait(
    policy: Policy, attempt: int, retry_after: float | None, rng: Callable[[float, float], float] = random.uniform
) -> float:
    """Returns the seconds before try `attempt` + 1: full jitter, and at least what the server `asked` for (plus up to 10 %)."""
    jitter = rng(0.0, min(policy.max_wait, policy.wait * 2.0 ** min(attempt - 1, 32)))
    if retry_after is None:
        return jitter
    return retry_after + min(jitter, rng(0.0, max(0.25, retry_after * 0.1)))
