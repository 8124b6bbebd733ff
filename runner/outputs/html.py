"""The report as one HTML page: failures with reason and remedy, then the timeline, then every sync. Loads no resources.

The page's own Content-Security-Policy names style and script by their hashes. Under a policy that forbids them it stays
readable: bars are SVG shapes with positions in attributes, and the script only filters the table.
"""

from collections.abc import Iterator
from html import escape
from typing import ClassVar

from runner.errors import ExitCode
from runner.events.observer import Record
from runner.outputs.files import check_file, write_file
from runner.outputs.html_assets import SCRIPT, STYLE
from runner.outputs.html_timeline import timeline_of
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.report_model import Report, SyncReport
from runner.outputs.timeline import Timeline

NAMED = 24  # syncs that one card names before it is expanded
SHORT_NAME = 24  # characters
_COLUMNS = ("account", "sync", "outcome", "items", "seconds", "attempts", "error")
_NUMBERS = ("items", "seconds", "attempts")
_COLOURS = {"info": "good", "warning": "warn", "error": "bad"}


class HtmlPage(Output):
    """`report.html`: a file."""

    name: ClassVar[str] = "html"

    def __init__(self, context: OutputContext) -> None:
        """Starts without spans."""
        super().__init__(context)
        self._timeline = Timeline()

    def take(self, record: Record) -> None:
        """Stores the event's time span."""
        self._timeline(record)

    def check(self, seconds: float) -> str | None:
        """Checks whether the file can be written."""
        path = self.context.settings.report.html
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes the complete file."""
        path = self.context.settings.report.html
        timeline = self._timeline.redacted(self.context.redactor.redact)
        return write_file(path, page(ended.report, timeline), seconds) if path else None


def page(report: Report, timeline: Timeline) -> str:
    """Returns the page. Every text is escaped; `report` and `timeline` contain no secrets."""
    policy = f"default-src 'none'; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'; base-uri 'none'; form-action 'none'"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{'✓' if report.good else '✗'} sync-runner: {escape(report.meaning)}</title>",
        f"<style>{STYLE}</style></head><body>",
        *_head(report),
        "<main>",
        *_failures(report),
        *timeline_of(timeline),
        *_table(report),
        "</main>",
        f"<script>{SCRIPT}</script>" if report.syncs else "",
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _hash(text: str) -> str:
    from base64 import b64encode
    from hashlib import sha256

    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _head(report: Report) -> Iterator[str]:
    good = report.good
    yield "<header>"
    yield f'<h1 class="{"good" if good else "bad"}">{"✓" if good else "✗"} {escape(report.meaning)}</h1>'
    done = f"{report.completed} of {len(report.syncs)} syncs completed in {report.duration_seconds:.1f} s."
    yield f"<p>{done}{' ' + escape(report.remedy) if report.remedy else ''}</p>"
    about = {
        "exit code": f"{int(report.exit_code)}: {ExitCode(report.exit_code).meaning}",
        "run": report.run_id,
        "time": f"{report.started_at} to {report.ended_at}",
        "address": report.base_url,
        "profile": report.profile,
        "sync-runner": report.runner_version,
        **({"shard": report.shard} if report.shard else {}),
    }
    yield "<dl>" + "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in about.items()) + "</dl></header>"


def _failures(report: Report) -> Iterator[str]:
    """Lists the syncs that did not complete, grouped by reason."""
    groups: dict[tuple[str, str, str], list[SyncReport]] = {}
    for sync in report.failed:
        groups.setdefault((sync.outcome.value, sync.reason, sync.remedy or ""), []).append(sync)
    if not groups and not report.errors:
        return
    count = f" ({len(report.failed)})" if report.failed else ""
    yield f'<section aria-labelledby="failed"><h2 id="failed">Did not complete{count}</h2>'
    for error in report.errors:
        remedy = f"<p>Next: {escape(report.remedy)}</p>" if report.remedy else ""
        yield f'<div class="card"><h3 class="bad">run</h3><p>{escape(error)}</p>{remedy}</div>'
    for (outcome, reason, remedy), syncs in groups.items():
        skipped = syncs[0].severity == "warning"
        colour = _COLOURS[syncs[0].severity]
        yield f'<div class="card{" skipped" if skipped else ""}"><h3 class="{colour}">{outcome}: {len(syncs)}</h3>'
        yield f"<p>{escape(reason)}</p>" + (f"<p>Next: {escape(remedy)}</p>" if remedy else "")
        yield _names(report, syncs[:NAMED])
        yield from (_log(report, sync) for sync in syncs[:NAMED] if sync.log)
        if len(syncs) > NAMED:
            yield f"<details><summary>{len(syncs) - NAMED} more</summary>{_names(report, syncs[NAMED:])}</details>"
        yield "</div>"
    yield "</section>"


def _log(report: Report, sync: SyncReport) -> str:
    lines = escape("\n".join(sync.log))
    return f"<details open><summary>The job's log: {escape(report.place(sync))}</summary><pre>{lines}</pre></details>"


def _names(report: Report, syncs: list[SyncReport]) -> str:
    return f'<ul class="names">{"".join(_named(report, sync) for sync in syncs)}</ul>'


def _named(report: Report, sync: SyncReport) -> str:
    job = f", job {escape(sync.job_id)}" if sync.job_id else ""
    more = f'<span class="soft">{_attempts(sync.attempts)}{job}</span>'
    return f"<li><strong>{escape(report.place(sync))}</strong> {more}</li>"


def _attempts(count: int) -> str:
    return "never started" if count == 0 else f"{count} attempt{'s' if count > 1 else ''}"


def _table(report: Report) -> Iterator[str]:
    if not report.syncs:
        return
    yield '<section aria-labelledby="all"><h2 id="all">Syncs</h2>'
    kinds = "".join(f"<option>{kind}</option>" for kind in report.totals)
    yield (
        '<form id="filter" role="search" hidden><label>Search <input id="words" type="search"></label>'
        f'<label>Outcome <select id="kind"><option value="">all</option>{kinds}</select></label>'
        '<output id="shown"></output></form>'
    )
    yield '<div class="scroll" tabindex="0" role="group" aria-labelledby="all"><table id="syncs" role="table">'
    yield f'<thead><tr role="row">{"".join(map(_column, _COLUMNS))}</tr></thead><tbody>'
    for sync in (*report.failed, *(one for one in report.syncs if one.completed)):
        yield _row(sync)
    yield "</tbody></table></div></section>"


def _column(name: str) -> str:
    return f'<th scope="col" role="columnheader"{" class=n" if name in _NUMBERS else ""}>{name}</th>'


def _unbroken(name: str) -> str:
    """Returns the class of a name that fits on one line: a browser breaks `account-1` after its hyphen."""
    return "nowrap" if len(name) <= SHORT_NAME else ""


def _row(sync: SyncReport) -> str:
    colour = _COLOURS[sync.severity]
    cells = (
        ("account", _unbroken(sync.account), sync.account),
        ("outcome", f"nowrap {colour}", sync.outcome.value),
        ("items", "n", sync.items),
        ("seconds", "n", f"{sync.duration_seconds:.1f}"),
        ("attempts", "n", str(sync.attempts)),
        ("error", "why", sync.error or ""),
    )
    made = [
        f'<td role="cell" class="{kind}{"" if text else " none"}" data-of="{name}"><span>{escape(text)}</span></td>'
        for name, kind, text in cells
    ]
    made.insert(1, f'<th scope="row" role="rowheader" class="{_unbroken(sync.name)}">{escape(sync.name)}</th>')
    return f'<tr role="row" data-outcome="{sync.outcome.value}">{"".join(made)}</tr>'
