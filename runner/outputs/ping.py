"""Pings in the style of healthchecks.io: the start of the run, and how it ended."""

import threading
from typing import ClassVar
from urllib.parse import urlencode, urlsplit, urlunsplit

from runner.clock import Deadline
from runner.events.observer import Record
from runner.outputs.delivery import MAX_BODY, Message, address, deliver
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.report_model import Report
from runner.outputs.sending import check_address
from runner.outputs.summary import one_line
from runner.outputs.waiting import send_aside, waits_for_person
from runner.settings import PingKind

_PATHS: dict[PingKind, str] = {"start": "/start", "success": "", "failure": "/fail", "log": "/log", "code": "/log"}


class Ping(Output):
    """`notify.ping`: each ping carries the run's id."""

    name: ClassVar[str] = "notification"
    checked: ClassVar[str] = "can be reached; nothing was sent, so only a run shows whether it accepts data"

    def __init__(self, context: OutputContext) -> None:
        """Sends nothing yet."""
        super().__init__(context)
        self._url: str | None = None
        self._ending = threading.Event()
        self._start: threading.Thread | None = None
        self._problem: str | None = None

    def check(self, seconds: float) -> str | None:
        """Checks whether something listens at the address."""
        ping = self.context.settings.notify.ping
        url = address(self.context, "ping", ping.url, ping.url_file)
        return check_address(url, seconds) if url else "its address cannot be read"

    def open(self) -> None:
        """Pings the start, on a thread: neither a name look-up nor a slow response delays the run."""
        ping = self.context.settings.notify.ping
        self._url = address(self.context, "ping", ping.url, ping.url_file)
        if self._url and "start" in ping.when:
            self._start = threading.Thread(target=self._started, args=(self._url,), name="ping", daemon=True)
            self._start.start()

    def _started(self, url: str) -> None:
        try:
            problem = deliver(self._message(url, "start", ""), self.push_seconds or 0.0, self._ending)
            self._problem = problem and f"ping start: {problem}"
        except Exception as error:  # noqa: BLE001 - a thread's own traceback would show the address
            self._problem = f"ping start: unexpected {type(error).__name__}: a defect of the runner"

    def take(self, record: Record) -> None:
        """Pings immediately that a login waits for a person."""
        text = waits_for_person(record)
        if text and self._url and "code" in self.context.settings.notify.ping.when:
            send_aside(self.context, "ping code", self._message(self._url, "code", text))

    @property
    def push_seconds(self) -> float | None:
        """`notify.budget`."""
        return self.context.settings.notify.budget

    def push(self, ended: Ended, seconds: float) -> str | None:
        """Pings how the run ended, after the first ping."""
        deadline = Deadline.after(self.context.clock, seconds, "the budget")
        self._ending.set()
        if self._start:
            self._start.join(seconds)
        problems = [self._problem] if self._problem else []
        kind = _kind(ended.report)
        if self._url and kind in self.context.settings.notify.ping.when:
            problem = deliver(self._message(self._url, kind, _text(ended.report)), deadline.remaining)
            problems += [f"ping {kind}: {problem}"] if problem else []
        return "; ".join(problems) or None

    def _message(self, url: str, kind: PingKind, text: str) -> Message:
        body = text.encode(errors="replace")[:MAX_BODY]
        return Message(ping_url(url, kind, self.context.run_id), body, "text/plain; charset=utf-8")


def _kind(report: Report) -> PingKind:
    return "success" if report.good else "log" if report.exit_code > 128 else "failure"


def ping_url(url: str, kind: PingKind, run_id: str) -> str:
    """Returns the address of one kind of ping: the kind is appended to the path, the run's id to the query."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode({"rid": run_id}))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + _PATHS[kind], query, ""))


def _text(report: Report) -> str:
    """Describes the run for a person who opens the check: one line, then one per sync, failures first."""
    lines = [one_line(report)]
    for sync in (*report.failed, *(one for one in report.syncs if one.completed)):
        error = f": {sync.error}" if sync.error else ""
        lines.append(f"{sync.account} / {sync.name}: {sync.outcome.value} in {sync.duration_seconds:.1f} s{error}")
    return "\n".join(lines)
