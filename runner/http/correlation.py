"""Headers that link the API's log to the runner's: the run's id on every request, and its trace, if any."""

import re
from collections.abc import Mapping

# W3C Trace Context, 3.2.2: version 00, no all-zero trace or parent id.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def headers(run_id: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns `X-Request-ID`, and `traceparent` from the variable TRACEPARENT; a malformed one is not passed on."""
    found = {"X-Request-ID": run_id} if run_id else {}
    trace = environment.get("TRACEPARENT", "")
    return {**found, "traceparent": trace} if _TRACEPARENT.fullmatch(trace) else found
