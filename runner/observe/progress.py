"""Live bars on a terminal: one a sync, from items or per cent, with log lines printed above them."""

from typing import TYPE_CHECKING, Any, TextIO

from runner.observe import events
from runner.observe.interface import Record

if TYPE_CHECKING:
    from rich.console import Console


class ProgressListener:
    """Draws the syncs' bars from events."""

    def __init__(self, stream: TextIO, console: "Console | None" = None) -> None:
        """Bars go to `stream`, or to `console` where one is given."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.console = console or Console(file=stream)
        narrow = self.console.width < 60
        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=10 if narrow else 30)]
        columns += [TextColumn("{task.percentage:>3.0f}%")]
        if not narrow:
            columns += [TextColumn("{task.fields[items]}"), TextColumn("{task.fields[state]}")]
        columns += [TimeElapsedColumn()]
        self._progress = Progress(*columns, console=self.console, refresh_per_second=8)
        self._tasks: dict[tuple[str, str], Any] = {}

    def start(self) -> None:
        """Begin to draw."""
        self._progress.start()

    def stop(self) -> None:
        """Draw the last state and leave it."""
        self._progress.stop()

    def write(self, line: str) -> None:
        """Print a finished log line above the bars."""
        from rich.text import Text

        self.console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)

    def __call__(self, record: Record) -> None:
        """Move the sync's bar."""
        key = (record.context.get("account", ""), record.context.get("sync", ""))
        match record.event:
            case events.SyncStarted():
                if key not in self._tasks:
                    self._tasks[key] = self._progress.add_task(key[1], total=100, items="", state="started")
            case events.SyncProgress() as seen:
                self._move(key, seen.progress, seen.processed_items, seen.total_items, seen.status)
            case events.SyncEnded() as end:
                full = 100.0 if end.result == "completed" else None
                self._move(key, full, end.processed_items, end.total_items, end.result)

    def _move(
        self, key: tuple[str, str], progress: float | None, done: int | None, total: int | None, state: str
    ) -> None:
        task = self._tasks.get(key)
        if task is None:
            return
        values: dict[str, Any] = {"state": state}
        if total is not None and done is not None:
            values["items"] = f"{done}/{total}"
            if total and progress is None:
                progress = 100.0 * done / total
        if progress is not None:
            values["completed"] = progress
        self._progress.update(task, **values)
