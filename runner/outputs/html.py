"""The report as one HTML page with a timeline of the run. No script, no network, nothing a strict policy would block.

Bars are SVG shapes with their places in attributes, so that the page needs no inline style; the one style sheet is named by
its hash in the page's own Content-Security-Policy. Under a policy that forbids even that, it is still readable.
"""

from collections.abc import Iterable, Iterator
from html import escape
from typing import ClassVar

from runner.events.observer import Record
from runner.outputs.files import check_file, write_file
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.report_model import Report, SyncReport
from runner.outputs.timeline import Span, Timeline

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;
--good:#1a7f37;--bad:#cf222e;--sync:#2f81f7;--queued:#afb8c1;--login:#8250df;--wait:#bf8700;--retry:#fb8f44}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--paper:#0d1117;--good:#3fb950;
--bad:#f85149;--queued:#4b535d}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;padding:1rem;max-width:60rem;
overflow-wrap:anywhere}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.good{color:var(--good)}.bad{color:var(--bad)}
p,dl{margin:.2rem 0}.soft,dt,.axis{color:var(--soft);font-size:.85rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;align-items:baseline}dd{margin:0}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem .35rem 0;
border-bottom:1px solid var(--line);vertical-align:top}
th{font-size:.85rem;color:var(--soft)}.n{text-align:right;padding-right:1.5rem}
.lane{margin:.6rem 0}svg{display:block;width:100%;height:1.4rem;background:color-mix(in srgb,var(--line) 35%,transparent)}
.sync{fill:var(--sync)}.sync.bad{fill:var(--bad)}.queued{fill:var(--queued)}.login{fill:var(--login)}
.wait{fill:var(--wait)}.retry{fill:var(--retry)}
.axis{display:flex;justify-content:space-between}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;list-style:none}
.key svg{display:inline-block;width:.9rem;height:.9rem;vertical-align:-.1rem;margin-right:.3rem}
@media(max-width:40rem){thead{position:absolute;clip-path:inset(50%)}tr{display:block;padding:.5rem 0;
border-bottom:1px solid var(--line)}td,td.n{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.1rem 0;
text-align:right}td::before{content:attr(data-of);color:var(--soft);font-size:.85rem;text-align:left}td.none{display:none}}
"""
_KINDS = {
    "queued": "queued",
    "login": "logged in",
    "wait": "waited for a code",
    "retry": "waited to retry",
    "sync": "ran",
    "sync bad": "ran, did not complete",
}
_COLUMNS = ("account", "sync", "outcome", "items", "seconds", "attempts", "error")
_NUMBERS = ("items", "seconds", "attempts")


class HtmlPage(Output):
    """`report.html`: a file."""

    name: ClassVar[str] = "html"

    def __init__(self, context: OutputContext) -> None:
        """Nothing has happened yet."""
        super().__init__(context)
        self._timeline = Timeline()

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Where `report.html` is set."""
        return context.settings.report.html is not None

    def take(self, record: Record) -> None:
        """Keep what happened when."""
        self._timeline(record)

    def check(self, seconds: float) -> str | None:
        """Whether the file can be written."""
        path = self.context.settings.report.html
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Write it whole."""
        path = self.context.settings.report.html
        timeline = self._timeline.redacted(self.context.redactor.redact)
        return write_file(path, page(ended.report, timeline), seconds) if path else None


def page(report: Report, timeline: Timeline) -> str:
    """The page. Every text is escaped; `report` and `timeline` hold no secret any more."""
    from base64 import b64encode
    from hashlib import sha256

    digest = b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    good = report.good
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>sync-runner: {escape(report.meaning)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f'<h1 class="{"good" if good else "bad"}">{"✓" if good else "✗"} {escape(report.meaning)}</h1>',
        f"<p>{_sentence(report)}</p>",
        *(f'<p class="bad">{escape(error)}</p>' for error in report.errors),
        *_timeline(timeline),
        *_table(report.syncs),
        *_facts(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _sentence(report: Report) -> str:
    done, all_ = report.completed, len(report.syncs)
    return f"Exit code {int(report.exit_code)}; {done} of {all_} syncs completed in {report.duration_seconds:.1f} s."


def _facts(report: Report) -> Iterator[str]:
    yield "<h2>Run</h2><dl>"
    for key in ("run_id", "started_at", "ended_at", "base_url", "profile", "runner_version"):
        yield f"<dt>{key.replace('_', ' ')}</dt><dd>{escape(str(getattr(report, key)))}</dd>"
    yield "</dl>"


def _table(syncs: tuple[SyncReport, ...]) -> Iterator[str]:
    if not syncs:
        return
    yield "<h2>Syncs</h2><table><thead><tr>" + "".join(map(_head, _COLUMNS)) + "</tr></thead><tbody>"
    for sync in syncs:
        cells = (
            sync.account, sync.name, sync.outcome.value, sync.items, f"{sync.duration_seconds:.1f}", sync.attempts,
            sync.error or "",
        )  # fmt: skip
        yield "<tr>" + "".join(_cell(name, str(cell)) for name, cell in zip(_COLUMNS, cells, strict=True)) + "</tr>"
    yield "</tbody></table>"


def _head(name: str) -> str:
    return f'<th class="n">{name}</th>' if name in _NUMBERS else f"<th>{name}</th>"


def _cell(name: str, text: str) -> str:
    kinds = [
        "n" if name in _NUMBERS else "",
        ("good" if text == "completed" else "bad") if name == "outcome" else "",
        "" if text else "none",
    ]
    return f'<td class="{" ".join(kind for kind in kinds if kind)}" data-of="{name}"><span>{escape(text)}</span></td>'


def _timeline(timeline: Timeline) -> Iterator[str]:
    spans = timeline.spans
    if not spans:
        return
    began, ended = min(span.start for span in spans), max(span.end for span in spans)
    length = max(ended - began, 0.001)
    yield "<h2>Timeline</h2>"
    yield (
        '<ul class="key">' + "".join(_legend(kind) for kind in _KINDS if any(_look(s) == kind for s in spans)) + "</ul>"
    )
    many = len({span.account for span in spans}) > 1
    for account, sync in dict.fromkeys((span.account, span.sync) for span in spans):
        mine = [span for span in spans if (span.account, span.sync) == (account, sync)]
        name = " / ".join(part for part in ((account if many else ""), sync) if part) or "run"
        yield f'<div class="lane"><div>{escape(name)} <span class="soft">{escape(_told(mine))}</span></div>'
        yield f'<svg role="img" aria-label="{escape(name)}: {escape(_told(mine))}">'
        yield from _bars(mine, began, length)
        yield "</svg></div>"
    yield f'<div class="axis"><span>0 s</span><span>{length / 2:.1f} s</span><span>{length:.1f} s</span></div>'
    if timeline.dropped:
        yield f'<p class="soft">{timeline.dropped} more are not shown.</p>'


def _look(span: Span) -> str:
    return "sync bad" if span.kind == "sync" and span.detail != "completed" else span.kind


def _legend(kind: str) -> str:
    return f'<li><svg aria-hidden="true"><rect class="{kind}" width="100%" height="100%"/></svg>{_KINDS[kind]}</li>'


def _told(spans: Iterable[Span]) -> str:
    """The lane in words: what came after the bar's colours must be there without them too."""
    totals: dict[str, float] = {}
    ends = ""
    for span in spans:
        totals[span.kind] = totals.get(span.kind, 0.0) + span.end - span.start
        ends = span.detail if span.kind == "sync" else ends
    told = [f"{_KINDS[kind]} {totals[kind]:.1f} s" for kind in _KINDS if kind in totals]
    return ", ".join([ends, *told] if ends else told)


def _bars(spans: list[Span], began: float, length: float) -> Iterator[str]:
    order = {"queued": 0, "sync": 1, "login": 2, "wait": 2, "retry": 2}
    for span in sorted(spans, key=lambda span: order[span.kind]):
        left = 100.0 * (span.start - began) / length
        width = max(100.0 * (span.end - span.start) / length, 0.25)
        small = span.kind not in ("queued", "sync")
        place = 'y="55%" height="45%"' if small else 'y="0" height="100%"'
        about = f"{_KINDS[span.kind]}: {span.detail}, {span.end - span.start:.2f} s"
        yield (
            f'<rect class="{_look(span)}" x="{left:.2f}%" width="{min(width, 100.0 - left):.2f}%" {place}>'
            f"<title>{escape(about)}</title></rect>"
        )
