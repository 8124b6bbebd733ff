"""A whole run, or command line, in this process, for the many cases where starting one each would cost more than it shows."""

import contextlib
import io
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import cli
from runner import profile as profiles
from runner.clock import Clock, SystemClock
from runner.engine.account import RunContext
from runner.engine.event_loop import complete
from runner.engine.run import deadline_of, run
from runner.events.observer import Event, Observer, Record
from runner.models import RunResult
from runner.settings import load


@dataclass
class RunOutput:
    """What a run was told to do, how it ended, and every event on the way."""

    result: RunResult
    events: list[Event] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code."""
        return self.result.exit_code

    @property
    def outcomes(self) -> list[str]:
        """How each sync ended."""
        return [one.outcome.value for one in self.result.results]

    @property
    def errors(self) -> str:
        """Every sync's error."""
        return "\n".join(one.error or "" for one in self.result.results)

    def named(self, name: str) -> list[Any]:
        """The events of that name."""
        return [event for event in self.events if event.name == name]


def _forget(_secret: str, /, *, parts: bool = True) -> None:
    """For runs whose output nobody reads."""


def run_here(
    base_url: str,
    secrets: Path,
    syncs: Any,
    *,
    state: Path | None = None,
    secret: str | None = None,
    profile: str = "garminsync",
    clock: Clock | None = None,
    run_id: str = "run",
    keep: Sequence[str] | None = None,
    interrupt: signal.Signals | None = None,
    **settings: Any,
) -> RunOutput:
    """Run `syncs` to their end; settings as nested dictionaries. Only events named in `keep` are kept, where it is given.

    `interrupt` is sent to this process when the run has read the state of a job for the first time.
    """
    clock = clock or SystemClock()
    given: dict[str, Any] = {
        "base_url": base_url,
        "secrets_dir": str(secrets),
        "syncs": syncs,
        "state": {"dir": str(state) if state else None},
        "retry": {"wait": 0.005, "max_wait": 0.02, "connect_patience": 0.0, **settings.pop("retry", {})},
        "poll": {"min": 0.01, "patience": 3.0, **settings.pop("poll", {})},
        **settings,
    }
    if state is None:
        del given["state"]
    if secret is not None:
        given["state"] = {"kubernetes_secret": secret}
    loaded = load(given).settings
    events: list[Event] = []
    interrupts = [interrupt] if interrupt else []

    def note(record: Record) -> None:
        if record.event.name == "sync.progress" and interrupts:
            os.kill(os.getpid(), interrupts.pop())
        if keep is None or record.event.name in keep:
            events.append(record.event)

    context = RunContext.of(loaded, profiles.load(profile), clock, _forget, run_id)
    observer = Observer(clock, [note])
    return RunOutput(complete(run(context, observer, run_id, deadline_of(loaded, clock))), events)


def command_here(words: list[str]) -> tuple[int, str, str]:
    """The whole command line: its exit code, what it wrote to standard output, and to standard error.

    Both streams are as a process has them: text that UTF-8 cannot write is an error there.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(words)
    written = []
    for stream in (out, err):
        stream.flush()
        written.append(stream.buffer.getvalue().decode())
    return code, written[0], written[1]
