"""A live view on a terminal: one line per sync (bar, state, items, rate, time left), with log lines printed above it.

Each line follows from the terminal's current width, so that a resize needs no special handling.
"""
# Decision 0057.

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from runner.events import events
from runner.events.observer import Record
from runner.outputs.interface import Ended, Output, OutputContext

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

FRAMES = 8  # per second
MOST_ROWS = 40  # syncs shown at once; of more, running ones come first
MOST_REASONS = 3  # failed syncs whose reason is shown, the last ones; the summary at the end has more
REASON_LINES = 2
_STYLES = {"completed": "green", "running": "cyan", "pending": "dim", "started": "dim"}
_SIGNS = {"completed": ("✓", "+"), "running": ("▸", ">"), "pending": ("·", "."), "started": ("·", ".")}
# Minimum width of the terminal for each column.
_TIERS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (76, ("name", "bar", "percent", "items", "state", "elapsed", "rate", "left")),
    (56, ("name", "bar", "percent", "state", "elapsed", "left")),
    (30, ("sign", "name", "bar", "percent", "elapsed")),
    (0, ("sign", "name", "percent")),
)


@dataclass(slots=True)
class Row:
    """One sync in the view. Times are Unix seconds, `progress` is in per cent."""

    name: str
    state: str
    began: float
    progress: float | None = None
    done: int | None = None
    total: int | None = None
    ended: float | None = None
    error: str = ""

    def elapsed(self, now: float) -> float:
        """Seconds since it started, or its duration."""
        return max(0.0, (self.ended or now) - self.began)

    def rate(self, now: float) -> float | None:
        """Items per second so far."""
        spent = self.elapsed(now)
        return self.done / spent if self.done and spent > 0 else None

    def left(self, now: float) -> float | None:
        """Estimated seconds until it ends, at a constant rate; None where it is too early for an estimate."""
        if self.ended is not None or self.progress is None or not 1.0 <= self.progress < 100.0:
            return None
        return self.elapsed(now) * (100.0 - self.progress) / self.progress


class Board:
    """All syncs of the run, updated by events; adapts to the available width."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` returns Unix seconds."""
        self._now = now
        self._rows: dict[tuple[str, str], Row] = {}
        self._planned = 0

    def take(self, record: Record) -> None:
        """Updates the sync's line."""
        key = (record.context.get("account", ""), record.context.get("sync", ""))
        match record.event:
            case events.RunStarted(syncs=planned):
                self._planned = planned
            case events.SyncStarted():
                row = self._rows.setdefault(key, Row(key[1], "started", record.time))
                row.state, row.progress, row.done, row.total = "started", None, None, None
            case events.SyncProgress() as seen:
                self._move(key, seen.status, seen.progress, seen.processed_items, seen.total_items)
            case events.SyncEnded() as end:
                row = self._rows.setdefault(key, Row(key[1], end.result, record.time))
                full = 100.0 if end.result == "completed" else row.progress
                self._move(key, end.result, full, end.processed_items, end.total_items)
                row.ended, row.error = record.time, end.error or end.note or ""

    def _move(
        self, key: tuple[str, str], state: str, progress: float | None, done: int | None, total: int | None
    ) -> None:
        row = self._rows.get(key)
        if row is None:
            return
        row.state = state
        row.done = row.done if done is None else done
        row.total = row.total if total is None else total
        if progress is None and row.total and row.done is not None:
            progress = 100.0 * row.done / row.total
        row.progress = row.progress if progress is None else progress

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Returns the lines, for rich."""
        if not self._rows:
            return
        wanted = next(columns for least, columns in _TIERS if options.max_width >= least)
        reasons = list(self._reasons(console, options))
        room = min(MOST_ROWS, max(1, console.height - 2 - REASON_LINES * len(reasons)))
        shown = self._chosen(room)
        yield self._table(shown, wanted, options)
        yield from reasons
        if len(shown) < max(len(self._rows), self._planned):
            yield self._summary()

    def _chosen(self, room: int) -> list[tuple[tuple[str, str], Row]]:
        rows = list(self._rows.items())
        if len(rows) <= room:
            return rows
        rank = {"completed": 2}
        ranked = sorted(rows, key=lambda item: 0 if item[1].ended is None else rank.get(item[1].state, 1))
        chosen = {key for key, _row in ranked[:room]}
        return [item for item in rows if item[0] in chosen]

    def _table(
        self, rows: Iterable[tuple[tuple[str, str], Row]], wanted: tuple[str, ...], options: "ConsoleOptions"
    ) -> Any:
        from rich.table import Table

        room = max(8, options.max_width // (4 if "state" in wanted else 2))
        table = Table.grid(padding=(0, 1, 0, 0), expand="bar" in wanted)
        for column in wanted:
            if column == "bar":
                table.add_column(ratio=1, min_width=4)
            elif column == "name":
                table.add_column(no_wrap=True, max_width=room)
            else:
                left = column in ("state", "sign")
                table.add_column(no_wrap=True, justify="left" if left else "right", overflow="ellipsis")
        now = self._now()
        for (account, _sync), row in rows:
            name = self._named(account, row, room)
            table.add_row(*(_cell(column, name, row, now, ascii_only=options.ascii_only) for column in wanted))
        return table

    def _named(self, account: str, row: Row, room: int) -> str:
        """Returns the sync, with its account where there are several, in at most `room` characters that stay distinguishable."""
        if len({account for account, _sync in self._rows}) == 1 or not account:
            return _cut_inside(row.name, room)
        sync = _cut_inside(row.name, max(room // 2, room - 1 - len(account)))
        return f"{_cut_inside(account, room - 1 - len(sync))}/{sync}"

    def _reasons(self, console: "Console", options: "ConsoleOptions") -> Iterator[Any]:
        """Shows why the last failed syncs did not complete, at most two lines each."""
        from rich.text import Text

        bad = [item for item in self._rows.items() if item[1].error and item[1].state != "completed"]
        for (account, _sync), row in sorted(bad, key=lambda item: item[1].ended or 0.0)[-MOST_REASONS:]:
            name = self._named(account, row, options.max_width // 2)
            text = Text(f"{_sign(row, options.ascii_only)} {name}: {row.error}", style="red")
            lines = text.wrap(console, options.max_width)
            if len(lines) > REASON_LINES:
                lines[REASON_LINES - 1].truncate(options.max_width - 3)
                lines[REASON_LINES - 1].append("...")
            yield from lines[:REASON_LINES]

    def _summary(self) -> Any:
        from rich.text import Text

        rows = self._rows.values()
        ended = [row for row in rows if row.ended is not None]
        good = sum(row.state == "completed" for row in ended)
        total = max(len(rows), self._planned)
        words = f"{good} of {total} completed, {len(rows) - len(ended)} running, {len(ended) - good} not completed"
        return Text(words, style="dim", no_wrap=True, overflow="ellipsis")


def _cell(column: str, name: str, row: Row, now: float, *, ascii_only: bool) -> Any:
    from rich.text import Text

    style = _STYLES.get(row.state, "red")
    rate, left = row.rate(now), row.left(now)
    match column:
        case "bar":
            return _bar(row, style)
        case "sign":
            return Text(_sign(row, ascii_only), style=style)
        case "name":
            return Text(name)
        case "percent":
            return Text("" if row.progress is None else f"{row.progress:.0f}%")
        case "items":
            return Text("" if row.total is None else f"{row.done or 0}/{row.total}")
        case "state":
            return Text(row.state, style=style)
        case "elapsed":
            return Text(_clock(row.elapsed(now)))
        case "rate":
            return Text("" if rate is None else f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        case _:
            return Text("" if left is None else f"-{_clock(left)}")


def _sign(row: Row, ascii_only: bool) -> str:
    return _SIGNS.get(row.state, ("✗", "x"))[ascii_only]


def _cut_inside(text: str, room: int) -> str:
    """Shortens to `room` characters, inside the text: similar names differ at an end more often than in the middle."""
    if len(text) <= room:
        return text
    behind = max(0, room - 1) // 2
    return f"{text[: max(0, room - 1 - behind)]}~{text[len(text) - behind :]}"


def _bar(row: Row, style: str) -> Any:
    from rich.progress_bar import ProgressBar

    waiting = row.progress is None and row.ended is None
    return ProgressBar(
        total=None if waiting else 100.0, completed=row.progress or 0.0, complete_style=style, finished_style=style
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress(Output):
    """Keeps the board on the terminal during the run.

    Frames and log lines come from two threads. rich computes the cursor position before it draws and holds no lock
    until it has drawn (Textualize/rich#1530): so our lock is held, and rich's own thread is not used.
    """

    name: ClassVar[str] = "live view"

    @classmethod
    def wanted(cls, context: OutputContext) -> bool:
        """Enabled by default on a terminal with the readable log."""
        log = context.settings.log
        if log.progress == "auto":
            return log.format != "json" and context.stderr.isatty()
        return log.progress == "always"

    def __init__(self, context: OutputContext) -> None:
        """Draws nothing yet."""
        from rich.console import Console
        from rich.live import Live

        super().__init__(context)
        # Not COLUMNS and LINES: exported values do not change when the terminal is resized.
        variables = {name: value for name, value in context.environment.items() if name not in ("COLUMNS", "LINES")}
        stream: Any = context.stderr
        self.console = Console(file=stream, highlight=False, emoji=False, _environ=variables)
        self._board = Board(context.clock.time)
        # Without redirection: rich would send our standard output, which carries the report, to this console.
        self._live = Live(
            self._board, console=self.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._turn = threading.RLock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)

    def open(self) -> None:
        """Starts drawing."""
        self.context.write_line = self.write_line
        self._live.start()
        self._thread.start()

    def _draw(self) -> None:
        while not self._stopped.wait(1 / FRAMES):
            with self._turn:
                if not self.context.stderr.pending:  # a paused terminal (Ctrl-S) needs no old frames
                    self._live.refresh()

    def end(self, ended: Ended) -> None:
        """Draws the final state: later output may go to the same terminal."""
        self.close()

    def close(self) -> None:
        """Leaves the final state there. A second call does nothing."""
        if self._thread.ident is None:
            return
        self._stopped.set()
        self._thread.join()
        self._live.stop()
        self.context.write_line = None

    def write_line(self, line: str) -> None:
        """Prints a finished log line above the bars."""
        from rich.text import Text

        with self._turn:
            self.console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)

    def take(self, record: Record) -> None:
        """Handles the event."""
        with self._turn:
            self._board.take(record)
