"""An API of the runner's contract for pods: many cases at once, each below a path of its own, and each with its own record.

It shares no code with the runner, nor with the sandbox: what it says happened is what the tests go by.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD, SEED = (
    "demo",
    "demo-password-of-the-sandbox",
    "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
)  # as in k8s/overlays/dev
LOCKED_AFTER = 5  # refusals in a row
Answer = tuple[int, Any]
CUT: Answer = (0, None)  # the connection is closed instead


@dataclass
class Job:
    """A triggered job. Times are Unix seconds."""

    user: str
    type: str
    key: str | None
    start: float
    seconds: float
    fails: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    end: float | None = None
    status: str = "running"

    def look(self) -> "Job":
        """The job as it is at this moment."""
        if self.end is None and time.time() >= self.start + self.seconds:
            self.end, self.status = self.start + self.seconds, "failed" if self.fails else "completed"
        return self

    def shown(self) -> dict[str, Any]:
        """As the contract has it."""
        done = min(1.0, ((self.end or time.time()) - self.start) / max(self.seconds, 0.01))
        return {
            "job_id": self.id, "user_id": self.user, "sync_type": self.type, "status": self.status,
            "progress": round(100 * done, 1), "start_time": _iso(self.start), "end_time": self.end and _iso(self.end),
            "error_message": "the source is not available" if self.status == "failed" else None,
            "total_items": 100, "processed_items": int(100 * done),
        }  # fmt: skip


@dataclass
class Login:
    """One try to log in, and what was answered."""

    user: str
    address: str
    result: str  # good, password, locked, code, used or cut


@dataclass
class Case:
    """One API among many. The first fields say how it behaves."""

    url: str
    seconds: float = 0.5  # how long a job takes
    second_jobs: bool = False  # no 409: a second job of a type may start beside the first
    fail: str = ""  # jobs of this type fail, or `all` do
    fail_times: int = 1_000_000  # so many of them
    down: bool = False  # 503 always
    strange_status: bool = False  # a status word that nobody knows
    lose_triggers: bool = False  # triggers are taken, their answers cut, and nothing is listed
    token_seconds: int = 900
    jobs: list[Job] = field(default_factory=list)
    logins: list[Login] = field(default_factory=list)
    cancelled: list[float] = field(default_factory=list)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    refreshes: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def twice(self) -> list[tuple[str, str]]:
        """Pairs of jobs of one user and type that ran at the same time."""
        return [
            (one.id, other.id)
            for number, one in enumerate(self.jobs)
            for other in self.jobs[:number]
            if (one.user, one.type) == (other.user, other.type) and (other.look().end or one.start + 1) > one.start
        ]

    def running(self) -> list[Job]:
        """The jobs that have not ended."""
        return [job for job in self.jobs if job.look().end is None]

    def ended(self) -> list[tuple[str, str]]:
        """Type and status of every job, in the order of their triggers."""
        return [(job.type, job.look().status) for job in self.jobs]

    def results(self) -> list[str]:
        """What was answered to each try to log in."""
        return [login.result for login in self.logins]

    def answer(self, what: str, body: dict[str, Any], query: dict[str, str], headers: Any, address: str) -> Answer:
        """One request of the contract, by the last part of its path."""
        if self.down:
            return 503, {"error": "down"}
        if what == "login":
            return self._login(body, address)
        if what == "refresh":
            user = self.refreshes.pop(str(body.get("refresh_token")), None)
            return (200, self._session(user)) if user else (401, {"success": False, "error": "unknown refresh token"})
        found, until = self.tokens.get(headers.get("authorization", "")[7:], ("", 0.0))
        if not found or until < time.time():
            return 401, {"error": "no valid access token"}
        if what == "trigger":
            return self._trigger(found, body, headers.get("idempotency-key"))
        if what == "status":
            return self._status(found, query)
        return self._cancel(found, body) if what == "cancel" else (404, {"error": "not found"})

    def _login(self, body: dict[str, Any], address: str) -> Answer:
        user = str(body.get("username"))
        result = self._judged(user, body)
        if result:
            self.logins.append(Login(user, address, result))
        if result == "good":
            self.refused[user] = 0
            return 200, self._session(user)
        if result == "locked":
            return 423, {"success": False, "error": "account locked after repeated failures"}
        self.refused[user] = self.refused.get(user, 0) + bool(result)
        wanted = {} if result == "password" else {"mfa_required": True, "mfa_type": "totp"}
        return 401, {
            "success": False,
            "error": "wrong username or password" if result == "password" else "wrong or used one-time code",
            **wanted,
        }

    def _judged(self, user: str, body: dict[str, Any]) -> str:
        """What comes of a login; empty where only the code is asked for."""
        if self.refused.get(user, 0) >= LOCKED_AFTER:
            return "locked"
        if body.get("password") != PASSWORD:
            return "password"
        if not body.get("mfa_code"):
            return ""
        now = int(time.time()) // 30
        step = next((now + by for by in (0, -1, 1) if code_of(user, now + by) == body["mfa_code"]), None)
        if step is None:
            return "code"
        if step <= self.steps.get(user, 0):
            return "used"
        self.steps[user] = step
        return "good"

    def _session(self, user: str) -> dict[str, Any]:
        access, refresh = f"ACCESS-{uuid.uuid4().hex}", f"REFRESH-{uuid.uuid4().hex}"
        self.tokens[access], self.refreshes[refresh] = (user, time.time() + self.token_seconds), user
        return {
            "success": True, "session_id": "s", "access_token": access, "refresh_token": refresh, "scope": "sync",
            "token_type": "Bearer", "expires_in": self.token_seconds, "mfa_required": True,
            "user": {"id": user, "username": user},
        }  # fmt: skip

    def _trigger(self, user: str, body: dict[str, Any], key: str | None) -> Answer:
        kind = str(body.get("sync_type"))
        mine = [job.look() for job in self.jobs if job.user == user]
        job = next((job for job in mine if key and job.key == key), None)
        active = next((job for job in mine if job.type == kind and job.end is None), None)
        if job is None and active and not self.second_jobs:
            return 409, {"success": False, "error": f"a sync of type {kind} is running", "job_id": active.id}
        if job is None:
            fails = self.fail in (kind, "all") and sum(job.fails for job in self.jobs) < self.fail_times
            job = Job(user, kind, key, time.time(), self.seconds, fails)
            self.jobs.append(job)
        return (
            CUT
            if self.lose_triggers
            else (200, {"success": True, "job_id": job.id, "status": "pending", "message": "accepted"})
        )

    def _status(self, user: str, query: dict[str, str]) -> Answer:
        wanted = query.get("job_id")
        mine = [job.look() for job in self.jobs if job.user == user and wanted in (None, job.id)]
        if wanted and not mine:
            return 404, {"error": "no such job"}
        shown = [job.shown() for job in reversed(mine) if not self.lose_triggers]
        if self.strange_status:
            shown = [{**job, "status": "perhaps"} for job in shown]
        return 200, {"success": True, "jobs": shown[: int(query.get("limit", 10))]}

    def _cancel(self, user: str, body: dict[str, Any]) -> Answer:
        for job in self.jobs:
            if (job.id, job.user) == (body.get("job_id"), user):
                if job.look().end is None:
                    job.end, job.status = time.time(), "cancelled"
                    self.cancelled.append(job.end)
                return 200, job.shown()
        return 404, {"error": "no such job"}


def seed_of(user: str) -> str:
    """Each user has a seed of its own, as each wants a time step of its own."""
    return SEED if user == USER else base64.b32encode(hashlib.sha1(user.encode()).digest()).decode()


def code_of(user: str, step: int) -> str:
    """The one-time code of a time step (RFC 6238, SHA-1, six digits)."""
    mac = hmac.new(base64.b32decode(seed_of(user)), step.to_bytes(8, "big"), hashlib.sha1).digest()
    at = mac[-1] & 15
    return f"{(int.from_bytes(mac[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


class Judge:
    """Serves cases at `http://HOST:PORT/NAME` for as long as the block lasts."""

    def __init__(self, host: str, port: int) -> None:
        self.cases: dict[str, Case] = {}
        self._lock = threading.Lock()
        judge = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16

            def log_message(self, *_: object) -> None:
                """Quiet."""

            def _any(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, body = judge.answer(self.path, raw, self.headers, self.client_address[0])
                if status == 0:
                    self.close_connection = True
                    return
                said = json.dumps(body).encode()
                self.send_response_only(status)
                for name, value in (
                    ("Date", formatdate(usegmt=True)),
                    ("Content-Type", "application/json"),
                    ("Content-Length", str(len(said))),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _any

        class Server(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

            def handle_error(self, *_: object) -> None:
                """A client that went away is no news here."""

        self.address = f"{host}:{port}"
        self._server = Server((host, port), Answering)

    def __enter__(self) -> "Judge":
        """Serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def case(self, name: str, **how: Any) -> Case:
        """A new API that behaves as told."""
        self.cases[name] = Case(f"http://{self.address}/{name}", **how)
        return self.cases[name]

    def answer(self, path: str, raw: bytes, headers: Any, address: str) -> Answer:
        """One request's answer, from the case that its path names."""
        url = urlsplit(path)
        parts = url.path.split("/")
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        with self._lock:
            case = self.cases.get(parts[1])
            return case.answer(parts[-1], body, query, headers, address) if case else (404, {"error": "no such case"})


def none_twice(cases: Iterable[Case]) -> None:
    """No job ran beside another of its user and type, and none is left running."""
    for case in cases:
        assert case.twice() == [], (case.url, case.jobs)
        assert case.running() == [], (case.url, case.jobs)
