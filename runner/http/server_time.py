"""Measures the server's clock minus ours from the `Date` of its responses. Pure.

Servers cache that header for seconds (uvicorn was seen 3.5 and 7.9 s late on a busy machine), so one response proves
nothing: two responses with different dates must agree. A cached date is late and never early, so the latest one counts.
"""

from dataclasses import dataclass, field

from runner.http import retry
from runner.http.messages import Response

AGREE_SECONDS = 2.0
KEPT = 16  # responses


@dataclass(slots=True)
class ServerTime:
    """The clock readings from one server's responses."""

    offsets: dict[float, float] = field(default_factory=dict)  # by the reported date

    def note(self, answer: Response) -> None:
        """Adds one response; one from a shared cache is ignored."""
        date = retry.http_date(answer.headers.get("date"))
        if date is None or "age" in answer.headers:
            return
        offset = date + 0.5 - (answer.sent_at + answer.received_at) / 2  # Date is truncated to the second
        self.offsets[date] = max(offset, self.offsets.get(date, offset))
        if len(self.offsets) > KEPT:
            del self.offsets[min(self.offsets)]

    @property
    def skew(self) -> float | None:
        """Seconds that the server's clock is ahead of ours; None until two responses agree."""
        offsets = sorted(self.offsets.values(), reverse=True)
        agreed = len(offsets) > 1 and offsets[0] - offsets[1] <= AGREE_SECONDS
        return (offsets[0] + offsets[1]) / 2 if agreed else None
