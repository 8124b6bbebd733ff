"""The timeline of the report page: one lane per sync; of many, the most important, below a chart of running syncs."""

from collections.abc import Iterable, Iterator
from html import escape

from runner.outputs.timeline import Span, Timeline

LANES = 40  # maximum; of more syncs, those that did not complete and those that took longest
BUCKETS = 120  # of the chart
_KINDS = {
    "queued": "queued",
    "login": "logged in",
    "wait": "waited for a code",
    "retry": "waited to retry",
    "sync": "ran",
    "sync bad": "ran, did not complete",
}
Lane = tuple[tuple[str, str], list[Span]]


def timeline_of(timeline: Timeline) -> Iterator[str]:
    """Returns the section; nothing without spans."""
    spans = timeline.spans
    if not spans:
        return
    began, ended = min(span.start for span in spans), max(span.end for span in spans)
    length = max(ended - began, 0.001)
    yield '<section aria-labelledby="timeline"><h2 id="timeline">Timeline</h2><ul class="key">'
    yield "".join(_legend(kind) for kind in _KINDS if any(_look(span) == kind for span in spans)) + "</ul>"
    every = _lanes(spans)
    shown = sorted(every, key=_weight)[:LANES] if len(every) > LANES else every
    if len(every) > LANES:
        yield from _load(spans, began, length)
        yield (
            f'<p class="soft">{len(shown)} of {len(every)} syncs have a lane: those that did not complete, '
            "then those that took longest. The table has all of them.</p>"
        )
    many = len({span.account for span in spans}) > 1
    for (account, sync), mine in shown:
        name = " / ".join(part for part in ((account if many else ""), sync) if part) or "run"
        yield f'<div class="lane"><div>{escape(name)} <span class="soft">{escape(_description(mine))}</span></div>'
        yield f'<svg class="bars" role="img" aria-label="{escape(name)}: {escape(_description(mine))}">'
        yield from _bars(mine, began, length)
        yield "</svg></div>"
    yield f'<div class="axis"><span>0 s</span><span>{length / 2:.1f} s</span><span>{length:.1f} s</span></div>'
    if timeline.dropped:
        yield f'<p class="soft">{timeline.dropped} more are not shown.</p>'
    yield "</section>"


def _lanes(spans: Iterable[Span]) -> list[Lane]:
    found: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        found.setdefault((span.account, span.sync), []).append(span)
    return list(found.items())


def _weight(lane: Lane) -> tuple[bool, float]:
    """Sorts syncs that did not complete first, then the longest."""
    _place, spans = lane
    runs = [span for span in spans if span.kind == "sync"]
    return all(span.detail == "completed" for span in runs), -sum(span.end - span.start for span in runs)


def _load(spans: list[Span], began: float, length: float) -> Iterator[str]:
    """Counts the syncs that ran at each time, and those of them that did not complete."""
    good, bad = [0] * BUCKETS, [0] * BUCKETS
    for span in spans:
        if span.kind == "sync":
            first = int(BUCKETS * (span.start - began) / length)
            last = int(BUCKETS * (span.end - began) / length)
            counted = good if span.detail == "completed" else bad
            for at in range(min(first, BUCKETS - 1), min(last, BUCKETS - 1) + 1):
                counted[at] += 1
    most = max(1, *(one + other for one, other in zip(good, bad, strict=True)))
    about = f"Syncs that ran at each moment, {most} at most; in red those that did not complete"
    yield f'<p>{about}</p><svg class="load" role="img" aria-label="{about}">'
    for at, (completed, failed) in enumerate(zip(good, bad, strict=True)):
        low = 100.0 * failed / most
        high = 100.0 * completed / most
        place = f'x="{100.0 * at / BUCKETS:.2f}%" width="{100.0 / BUCKETS:.2f}%"'
        if failed:
            yield f'<rect class="sync bad" {place} y="{100.0 - low:.1f}%" height="{low:.1f}%"/>'
        if completed:
            yield f'<rect class="sync" {place} y="{100.0 - low - high:.1f}%" height="{high:.1f}%"/>'
    yield f'</svg><div class="axis"><span>0 s</span><span>{length / 2:.1f} s</span><span>{length:.1f} s</span></div>'


def _look(span: Span) -> str:
    return "sync bad" if span.kind == "sync" and span.detail != "completed" else span.kind


def _legend(kind: str) -> str:
    return f'<li><svg aria-hidden="true"><rect class="{kind}" width="100%" height="100%"/></svg>{_KINDS[kind]}</li>'


def _description(spans: Iterable[Span]) -> str:
    """Describes the lane in words: the colours' meaning must be available without them."""
    totals: dict[str, float] = {}
    ends = ""
    for span in spans:
        totals[span.kind] = totals.get(span.kind, 0.0) + span.end - span.start
        ends = span.detail if span.kind == "sync" else ends
    parts = [f"{_KINDS[kind]} {totals[kind]:.1f} s" for kind in _KINDS if kind in totals]
    return ", ".join([ends, *parts] if ends else parts)


def _bars(spans: list[Span], began: float, length: float) -> Iterator[str]:
    """Draws work above and waiting below: no mark covers another, so that each keeps its contrast."""
    for span in spans:
        left = 100.0 * (span.start - began) / length
        width = max(100.0 * (span.end - span.start) / length, 0.25)
        place = 'y="10%" height="50%"' if span.kind in ("queued", "sync") else 'y="66%" height="28%"'
        about = f"{_KINDS[span.kind]}: {span.detail}, {span.end - span.start:.2f} s"
        yield (
            f'<rect class="{_look(span)}" x="{left:.2f}%" width="{min(width, 100.0 - left):.2f}%" {place}>'
            f"<title>{escape(about)}</title></rect>"
        )
