"""Manages a command's outputs: opens them, passes events on, and at the end writes, pushes and closes them."""

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from runner.clock import Clock, Deadline
from runner.errors import RunnerError
from runner.events.observer import Listener, Observer, Record
from runner.events.redaction import RedactedStream, Redactor
from runner.external import redacting_with
from runner.hardening import seal_process
from runner.models import RunResult
from runner.outputs import kinds
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.sending import Emit, begun
from runner.outputs.stream import QueuedStream
from runner.settings import Settings

LEAST_SECONDS = 0.1  # for writing and for sending, when the run's deadline has passed
WRITE_SECONDS = 5.0  # for all files; less after a signal, which leaves 8 s in total
SIGNALLED_SECONDS = 1.5
SLOW_DISK_SECONDS = 1.0  # more than that for a regular file: losing the report is worse than being late
STDERR_PATIENCE, STDOUT_PATIENCE = 1.0, 5.0  # seconds without a read byte, at the end: then there is no reader
LAST_WORDS_SECONDS = 0.1
SLACK_SECONDS = 0.05


@dataclass(slots=True)
class Outputs:
    """The outputs of one command. `deadline` limits its end too."""

    context: OutputContext
    deadline: Deadline
    outputs: list[Output] = field(default_factory=list)
    signalled: bool = False

    @property
    def observer(self) -> Observer:
        """The observer for events."""
        return self.context.observer

    @property
    def run_id(self) -> str:
        """The id of this run."""
        return self.context.run_id

    @property
    def redactor(self) -> Redactor:
        """The redactor with the run's secrets."""
        return self.context.redactor

    def add_secret(self, secret: str, /, *, parts: bool = True) -> None:
        """Redacts `secret` from now on, in every encoding."""
        self.context.redactor.add(secret, parts=parts)

    def load(self) -> None:
        """Loads what the outputs need and the first request does not: called while its response is pending."""
        for one in self.outputs:
            self.attempt(one.name, one.load)

    def listener(self, one: Output) -> Listener | None:
        """Returns the listener of the output. One that fails receives no more events: no listener may stop the run."""
        take = one.listener
        if take is None or type(one).__module__.startswith("runner."):
            return take
        broken: list[str] = []

        def guarded(record: Record) -> None:
            if not broken:
                try:
                    take(record)
                except Exception as error:  # noqa: BLE001 - another package's
                    broken.append(one.name)
                    self.context.failed(one.name, f"unexpected {type(error).__name__}: it receives no more events")

        return guarded

    def last_words(self) -> None:
        """Flushes the log for a moment before the process exits. A signal handler may call it."""
        self.context.stderr.last_words(LAST_WORDS_SECONDS)

    def finish(self, result: RunResult) -> Ended:
        """Writes the run's files, then pushes; a failure of one is logged and changes nothing else.

        Network outputs run in parallel: after a SIGTERM there are only a few seconds.
        """
        from runner.outputs.report_model import build_report

        self.signalled = result.exit_code > 128
        self.load()
        ended = Ended(result, build_report(result, self.redactor.redact))
        if any(one.uses_metrics for one in self.outputs):
            self.attempt("metrics", lambda: self.context.metrics.load().finish(result))
        for one in self.outputs:
            self.attempt(one.name, partial(one.end, ended))
        self._wait(self._writing(ended))
        self._wait(self._pushing(ended))
        return ended

    def _writing(self, ended: Ended) -> Iterator[tuple[str, Emit]]:
        seconds = self._within(SIGNALLED_SECONDS if self.signalled else WRITE_SECONDS)
        for one in self.outputs:
            if type(one).write is not Output.write:
                yield one.name, begun(seconds, partial(one.write, ended, seconds), "not written", SLOW_DISK_SECONDS)

    def _pushing(self, ended: Ended) -> Iterator[tuple[str, Emit]]:
        for one in self.outputs:
            if one.push_seconds is not None:
                seconds = self._within(one.push_seconds)
                yield (
                    one.name,
                    _named(one, begun(seconds, partial(one.push, ended, seconds), slack=SLACK_SECONDS)),
                )

    def _within(self, seconds: float) -> float:
        """Returns the seconds, limited by the run's deadline."""
        return min(seconds, max(LEAST_SECONDS, self.deadline.remaining))

    def _wait(self, sent: Iterator[tuple[str, Emit]]) -> None:
        for name, wait in list(sent):
            self.attempt(name, wait)

    def attempt(self, target: str, emit: Callable[[], str | None]) -> None:
        """Emits an event and logs errors. Even a defect there must not change how the run ends."""
        try:
            problem = emit()
        except Exception as error:  # noqa: BLE001
            problem = f"unexpected {type(error).__name__}: a defect of the runner"
        if problem:
            self.context.failed(target, problem)

    def close(self) -> None:
        """Closes every output; waits for the readers of both streams, but not for one that does not read."""
        self.load()
        for one in reversed(self.outputs):
            self.attempt(one.name, one.close)
        sys.stdout.flush()
        sys.stderr.flush()
        patience = 0.2 if self.signalled or self.deadline.expired else 1.0
        out, err = self.context.stdout, self.context.stderr
        if out.pending and not out.drain(self._within(STDOUT_PATIENCE * patience * 2), STDOUT_PATIENCE * patience):
            self.context.failed("standard output", "it has no reader: the output is incomplete")
        err.drain(self._within(STDERR_PATIENCE * patience * 10), STDERR_PATIENCE * patience)


def _named(one: Output, wait: Emit) -> Emit:
    """Returns the error with its destination in front."""

    def named() -> str | None:
        problem = wait()
        return problem and (f"{one.where}: {problem}" if one.where else problem)

    return named


@contextmanager
def open_outputs(settings: Settings, clock: Clock, *, with_metrics: bool = False) -> Iterator[Outputs]:
    """Sets up the command's outputs; closes them at the end. Raises UsageError."""
    seal_process()
    redactor = Redactor()
    plain = sys.stdout, sys.stderr
    stdout, stderr = QueuedStream(plain[0]), QueuedStream(plain[1])
    # A command that prints for a person or a pipe waits for its reader, as usual; a run never does.
    sys.stdout = RedactedStream(stdout if with_metrics else plain[0], redactor)  # type: ignore[arg-type]
    sys.stderr = RedactedStream(stderr, redactor)  # type: ignore[arg-type]
    listeners: list[Listener] = []
    run_id = str(uuid.uuid4())
    observer = Observer(clock, listeners, {"run_id": run_id})
    context = OutputContext(
        settings, clock, run_id, os.environ, observer, redactor, stdout, stderr, whole_run=with_metrics
    )
    made = Outputs(context, Deadline(clock))
    try:
        with redacting_with(redactor.redact):
            made.outputs = kinds.wanted(context)
            if any(one.uses_metrics for one in made.outputs):
                listeners.append(context.metrics)
            listeners += filter(None, map(made.listener, made.outputs))
            for one in made.outputs:
                made.attempt(one.name, one.open)
            yield made
    except RunnerError as error:  # it is shown after this, by code that knows no secrets
        error.args = (redactor.redact(str(error)),)
        raise
    finally:
        try:
            made.close()
        finally:
            sys.stdout, sys.stderr = plain
