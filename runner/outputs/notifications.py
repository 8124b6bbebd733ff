"""Tells others of the run: pings in the style of healthchecks.io, and a webhook with a body of the user's own.

All is sent from a thread, in order, each tried again within a small budget. A failure is a sentence, never an exception.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from string import Template
from typing import Any
from urllib.parse import urlsplit

from runner.frozen import Frozen
from runner.outputs.report import termination_line
from runner.outputs.sending import trusted
from runner.settings import NotifySettings, PingKind

FIRST_WAIT = 0.2  # seconds before the second try; doubles
MAX_BODY = 100_000  # bytes; healthchecks.io keeps 100 kB of a ping
_INTERRUPTED = (130, 143)
_PATHS: dict[PingKind, str] = {"start": "/start", "success": "", "failure": "/fail", "log": "/log"}


class Message(Frozen):
    """One POST. `name` is what a fault is told under; the address may hold a token and is never told."""

    name: str
    url: str
    body: bytes
    content_type: str


class Notifier:
    """Sends what the settings ask for. `ping_url` and `webhook_url` are where to, None for nowhere."""

    def __init__(
        self,
        settings: NotifySettings,
        run_id: str,
        *,
        ping_url: str | None,
        webhook_url: str | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is sent before `started`."""
        self._settings, self._run_id, self._now = settings, run_id, monotonic
        self._ping_url, self._webhook_url = ping_url, webhook_url
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._seconds, self._until = settings.budget, float("inf")
        self._ending = threading.Event()
        self._problems: list[str] = []
        self._waiting: list[str] = []

    def started(self) -> None:
        """Ping that the run began. Returns at once."""
        self._ping("start", "")

    def ended(self, report: dict[str, Any], seconds: float) -> None:
        """Send what a run with this report asks for, within so many seconds. Returns at once; `wait` ends it."""
        self._seconds, self._until = seconds, self._now() + seconds
        self._ending.set()
        code = report["exit_code"]
        kind: PingKind = "success" if code == 0 else "log" if code in _INTERRUPTED else "failure"
        self._ping(kind, _lines(report))
        result = "success" if code == 0 else "failure"
        if self._webhook_url and result in self._settings.webhook.when:
            hook = self._settings.webhook
            body = fill(hook.body, webhook_values(report), as_json="json" in hook.content_type)
            self._put(
                Message("webhook", self._webhook_url, body.encode(errors="replace")[:MAX_BODY], hook.content_type)
            )

    def wait(self) -> list[str]:
        """Wait for what is still to be sent, no longer than `ended` allowed. Returns what went wrong."""
        if self._worker is None:
            return self._problems
        self._messages.put(None)
        self._worker.join(max(0.0, self._until - self._now()))
        late = list(self._waiting) if self._worker.is_alive() else []
        return [*self._problems, *(f"{name}: no answer within {self._seconds:.2g} s" for name in late)]

    def _ping(self, kind: PingKind, text: str) -> None:
        if not self._ping_url or kind not in self._settings.ping.when:
            return
        url = f"{self._ping_url.rstrip('/')}{_PATHS[kind]}?rid={self._run_id}"
        self._put(Message(f"ping {kind}", url, text.encode(errors="replace")[:MAX_BODY], "text/plain; charset=utf-8"))

    def _put(self, message: Message) -> None:
        self._waiting.append(message.name)
        self._messages.put(message)
        if self._worker is None:
            # A daemon: neither a hanging name look-up nor a dripping answer keeps the process.
            self._worker = threading.Thread(target=self._work, name="notify", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while (message := self._messages.get()) is not None:
            problem = self._deliver(message)
            self._waiting.remove(message.name)
            if problem:
                self._problems.append(f"{message.name}: {problem}")

    def _deliver(self, message: Message) -> str | None:
        """Try until it is taken or the budget is spent. Returns what went wrong last, or None."""
        import httpx

        began = self._now()
        pause = FIRST_WAIT
        problem: str | None = "no time was left for it"
        with httpx.Client(follow_redirects=False, verify=trusted(message.url)) as client:
            while (remaining := min(self._until, began + self._settings.budget) - self._now()) > 0:
                problem, again = _post(client, message, remaining)
                if problem is None or not again or pause >= remaining:
                    break
                if message.name == "ping start" and self._ending.wait(pause):
                    break  # the run is over: its end is what matters now
                if message.name != "ping start":
                    time.sleep(pause)
                pause *= 2
        return problem


def _post(client: Any, message: Message, seconds: float) -> tuple[str | None, bool]:
    """One try: what went wrong or None, and whether another may help."""
    import httpx

    host = urlsplit(message.url).hostname
    try:
        with client.stream(
            "POST",
            message.url,
            content=message.body,
            headers={"Content-Type": message.content_type},
            timeout=seconds,
        ) as answer:
            if answer.status_code < 300:
                return None, False
            again = answer.status_code >= 500 or answer.status_code == 429
            return f"{host} answered {answer.status_code}", again
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{host} can not be reached ({type(error).__name__})", True


def webhook_values(report: dict[str, Any]) -> dict[str, Any]:
    """What a body can hold."""
    completed = report["totals"].get("completed", 0)
    failed = [sync["error"] for sync in report["syncs"] if sync["outcome"] != "completed" and sync["error"]]
    return {
        "text": f"sync-runner: {termination_line(report)}",
        "run_id": report["run_id"],
        "exit_code": report["exit_code"],
        "meaning": report["meaning"],
        "result": "success" if report["exit_code"] == 0 else "failure",
        "completed": completed,
        "failed": len(report["syncs"]) - completed,
        "total": len(report["syncs"]),
        "duration_seconds": report["duration_seconds"],
        "base_url": report["base_url"],
        "error": next(iter([*failed, *report["errors"]]), ""),
    }


def fill(body: str, values: Mapping[str, Any], *, as_json: bool) -> str:
    """The body with each `${name}` filled in, escaped for JSON where it is that. The settings checked the names."""
    import json

    def shown(value: Any) -> str:
        return json.dumps(str(value))[1:-1] if as_json else str(value)

    return Template(body).substitute({name: shown(value) for name, value in values.items()})


def _lines(report: dict[str, Any]) -> str:
    """The run for a person who opens the check: one line, then one a sync."""
    lines = [termination_line(report)]
    for sync in report["syncs"]:
        error = f": {sync['error']}" if sync["error"] else ""
        lines.append(
            f"{sync['account']} / {sync['name']}: {sync['outcome']} in {sync['duration_seconds']:.1f} s{error}"
        )
    return "\n".join(lines)
