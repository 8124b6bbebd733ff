"""Reads, follows, shows and stores the logs of one sync's jobs. An unreadable log changes no outcome."""

import codecs
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from runner.clock import Deadline
from runner.errors import RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.http.messages import PreparedRequest
from runner.jobs.context import OutputPolicy, SyncContext
from runner.jobs.log_files import LAST_LINES, LogFile, safe_name
from runner.jobs.log_reading import LogReader
from runner.jobs.log_text import ShownLines, Tail
from runner.models import SyncJob
from runner.profile.output_models import Logs
from runner.profile.parts import Request
from runner.state.file_worker import FileWorker

AT_ONCE = 200  # lines of a followed log shown per read; the file has the others
FOLLOW_SECONDS = 2.0  # between two readings of a followed log; longer where many are followed, or one is slow
FOLLOWS_A_SECOND = 5.0  # of all logs together
SHARE = 0.1  # share of the time that reading a log may take
READ_AT_MOST = 200  # logs of failed jobs per run, where they are not stored


class JobLog:
    """One job's log."""

    def __init__(
        self, logs: Logs, policy: OutputPolicy, shared: SyncContext, sync: str, job: SyncJob, observer: Observer
    ) -> None:
        """Reads nothing yet."""
        self.job, self.path, self.last = job, "", deque[str](maxlen=LAST_LINES)
        self._policy, self._shared, self._sync, self._observer = policy, shared, sync, observer
        self._reader = LogReader(logs, policy.client(), self._sign)
        self._until = Deadline(shared.clock)
        self._tail, self._lines = Tail(), ShownLines()
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._file: LogFile | None = None
        self._worker = FileWorker()
        self._skipped = 0
        self._keeping, self._warned = policy.logs.dir is not None, False

    async def _sign(self, endpoint: str, request: Request, more: Mapping[str, Any]) -> PreparedRequest:
        return await self._shared.api.signed(endpoint, request, self.job, more, self._until, self._observer)

    async def read(self, until: Deadline, most: int, *, last: bool) -> bool:
        """Reads what is new and shows `most` lines of it; `last`: nothing follows. False where that failed."""
        self._until, good = until, True
        try:
            async for chunk in self._chunks(until):
                self._tail.add(chunk)
        except RunnerError as error:
            self.warn(error)
            good = False
        dropped = self._tail.dropped
        lines = self._tail.take(most, whole=last)
        if self._tail.dropped > dropped:
            self._show(f"[... {self._tail.dropped - dropped} lines left out ...]")
        for line in lines:
            self._show(line)
        self.last.extend(lines)
        return good

    async def _chunks(self, until: Deadline) -> AsyncIterator[bytes]:
        """Yields what the reader returns; writes what is stored."""
        async for chunk in self._reader.read(until, self._observer):
            yield chunk
            await self._keep(partial(self._written, chunk), until)
            await self._shared.clock.sleep(0)  # a poll may be due
        await self._keep(self._flushed, until)

    def _show(self, line: str) -> None:
        self._observer.emit(events.SyncLog(self.job.shown_id, line))

    async def _keep(self, work: Callable[[], object], until: Deadline) -> None:
        """Does the file work on its thread. After a failure, the log is still read but no longer stored."""
        if not self._keeping:
            return
        try:
            await self._worker.run(work, until, str(self._policy.logs.dir))
        except RunnerError as error:
            self._keeping = False
            self.warn(error)
        except OSError as error:
            self._keeping = False
            self.warn(f"{self.path}: cannot be written ({error.strerror or type(error).__name__})")

    def _written(self, chunk: bytes) -> None:
        if self._file is None:
            logs = self._policy.logs
            assert logs.dir is not None
            job = safe_name(self.job.shown_id, self.job.job_id.raw)
            name = "--".join((safe_name(self._shared.account), safe_name(self._sync), job)) + ".log"
            self._file = LogFile(logs.dir, name, logs.max_bytes)
            self.path = str(self._file.path)
        if self._file.full:
            self._skipped += len(chunk)
        else:
            self._file.write(self._lines.add(self._decode.decode(chunk)))

    def _flushed(self) -> None:
        if self._file is not None:
            self._file.flush()

    def _ended(self) -> None:
        if self._file is not None:
            self._file.write(self._lines.end())
            self._file.end([*self.last], self._skipped)

    async def close(self, until: Deadline) -> None:
        """Closes the file. Raises nothing foreseen."""
        await self._keep(self._ended, until)
        self._worker.close()

    def warn(self, problem: object) -> None:
        """Reports an error: only the first of a job."""
        if not self._warned:
            self._observer.emit(events.OutputUnread(self.job.shown_id, "log", str(problem)))
        self._warned = True


class SyncLogs:
    """The logs of all jobs of one sync: one, or several where failed jobs are retried."""

    def __init__(self, logs: Logs, policy: OutputPolicy, shared: SyncContext, sync: str, observer: Observer) -> None:
        """Reads nothing yet."""
        self._make = partial(JobLog, logs, policy, shared, sync)
        self._policy, self._clock, self._observer = policy, shared.clock, observer
        self._open: JobLog | None = None

    async def follow(self, now: Callable[[], SyncJob | None], deadline: Deadline) -> None:
        """Reads the log of the job that `now` returns, repeatedly, until the task is cancelled."""
        counts = self._policy.counts
        counts.followed += 1
        pause = FOLLOW_SECONDS
        try:
            while True:
                await self._clock.sleep(max(pause, counts.followed / FOLLOWS_A_SECOND))
                job, began = now(), self._clock.monotonic()
                if job is None:
                    continue
                good = await (await self._of(job, deadline)).read(self._until(deadline), AT_ONCE, last=False)
                spent = self._clock.monotonic() - began
                pause = max(FOLLOW_SECONDS if good else 10 * FOLLOW_SECONDS, spent / SHARE)
        finally:
            counts.followed -= 1

    def _until(self, deadline: Deadline) -> Deadline:
        return Deadline.after(self._clock, self._policy.logs.timeout, "the time to read the log").min(deadline)

    async def _of(self, job: SyncJob, deadline: Deadline) -> JobLog:
        """Returns the job's log; first reads that of the previous job to its end."""
        if self._open is not None and self._open.job.job_id != job.job_id:
            await self._end(self._open, deadline, AT_ONCE)
            self._open = None
        if self._open is None:
            self._open = self._make(job, self._observer)
        return self._open

    async def _end(self, log: JobLog, deadline: Deadline, most: int) -> None:
        until = self._until(deadline)
        try:
            await log.read(until, most, last=True)
        finally:
            await log.close(until)

    async def close(self, deadline: Deadline) -> None:
        """Closes the file of a job that continues, or whose log is not read to its end."""
        if self._open is not None:
            await self._open.close(deadline)

    async def end(self, jobs: list[SyncJob], deadline: Deadline) -> tuple[tuple[str, ...], str | None]:
        """Reads the logs of the ended jobs to their ends. Shows the last lines of the last one, and its file if it is stored."""
        log: JobLog | None = None
        for job in jobs:
            if self._policy.logs.show == "failed" and self._policy.logs.dir is None:
                self._policy.counts.read += 1
                if self._policy.counts.read > READ_AT_MOST:
                    break
            followed = self._open is not None and self._open.job.job_id == job.job_id
            log = await self._of(job, deadline)
            self._open = None
            await self._end(log, deadline, AT_ONCE if followed else LAST_LINES)
        return ((), None) if log is None else (tuple(log.last), log.path or None)
