"""The sandbox over HTTP: contract and admin endpoints, validation, faults. Starlette (decision 0009). Logs no secret."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from email.utils import formatdate
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runner.sandbox import transports
from runner.sandbox.accounts import Accounts, Refusal
from runner.sandbox.faults import Fault, Faults
from runner.sandbox.jobs import TYPES, Jobs
from runner.sandbox.settings import SandboxSettings, User
from runner.sandbox.state import State

CONTRACT = Path(__file__).with_name("contract.yaml")
_ENDPOINTS = {
    "/api/auth/cli/login": "login",
    "/api/auth/cli/refresh": "refresh",
    "/api/sync/cli/trigger": "trigger",
    "/api/sync/cli/status": "status",
    "/api/sync/cli/cancel": "cancel",
    "/api/v1/garmin/sync/status": "status",
    **{f"/api/v1/garmin/{kind}": "trigger" for kind in TYPES},
}
# The contract has no 400 for these: a malformed token or job id counts as one that does not exist.
_UNFIT = {"/api/auth/cli/refresh": 401, "/api/sync/cli/cancel": 404}
_SINGLE_WORDS = {
    "pending": "in_progress",
    "running": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "failed",
}

Answerer = Callable[[Request], Awaitable[Response]]


class Sandbox:
    """The parts of one sandbox, and its endpoints."""

    def __init__(self, settings: SandboxSettings, state_dir: Path, data_dir: Path) -> None:
        """State in `state_dir`, data to sync in `data_dir`."""
        import time

        self._offset = settings.clock_offset
        self.clock = time.time
        self.settings = settings
        self.faults = Faults(settings.faults)
        self.state = State(state_dir / "sandbox.sqlite3")
        self.accounts = Accounts(settings, self.state, self.now)
        first = User(settings.username, settings.password, settings.totp_seed)
        for user in (first, *settings.users):
            self.accounts.put(user.username, user.password, user.totp_seed, settings.mfa)
        self.jobs = Jobs(self.state, self.faults, data_dir, settings.job_seconds)
        self.record: list[dict[str, Any]] = []
        contract = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
        self._validators = {
            path: jsonschema.Draft202012Validator(
                {**body["content"]["application/json"]["schema"], "components": contract["components"]},
                format_checker=jsonschema.FormatChecker(["date"]),
            )
            for path, operations in contract["paths"].items()
            if (body := operations.get("post", {}).get("requestBody"))
        }

    def now(self) -> float:
        """The server's time, in Unix seconds."""
        return self.clock() + self._offset

    def app(self) -> ASGIApp:
        """The ASGI application."""

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> Any:
            yield
            await self.jobs.stop()

        routes = [
            Route("/api/auth/cli/login", self.login, methods=["POST"]),
            Route("/api/auth/cli/refresh", self.refresh, methods=["POST"]),
            Route("/api/sync/cli/trigger", self.trigger, methods=["POST"]),
            Route("/api/sync/cli/status", self.status, methods=["GET"]),
            Route("/api/sync/cli/cancel", self.cancel, methods=["POST"]),
            Route("/api/v1/garmin/sync/status", self.single_status, methods=["GET"]),
            Route("/api/v1/garmin/{kind}", self.single_trigger, methods=["POST"]),
            Route("/sandbox/jobs/{job_id}/{what}", self.left, methods=["GET"]),
            Route("/admin/faults", self.admin_faults, methods=["GET", "POST", "DELETE"]),
            Route("/admin/record", self.admin_record, methods=["GET"]),
            Route("/admin/users", self.admin_users, methods=["POST"]),
            Route("/admin/expire", self.admin_expire, methods=["POST"]),
        ]
        app = Starlette(routes=routes, lifespan=lifespan)
        app.add_exception_handler(Refusal, _refused)
        app.add_exception_handler(HTTPException, _http_error)
        return Faulty(app, self)

    async def login(self, request: Request) -> Response:
        """Exchanges password and one-time code for tokens."""
        body = await self._body(request)
        return JSONResponse(await asyncio.to_thread(self.accounts.login, body))

    async def refresh(self, request: Request) -> Response:
        """Exchanges a refresh token for new tokens."""
        body = await self._body(request)
        return JSONResponse(self.accounts.refresh(body["refresh_token"]))

    async def trigger(self, request: Request) -> Response:
        """Starts a job."""
        user = self._user(request)
        body = await self._body(request)
        return JSONResponse(self.jobs.trigger(user, body, request.headers.get("idempotency-key")))

    async def status(self, request: Request) -> Response:
        """Returns the newest jobs, or one."""
        user = self._user(request)
        query = request.query_params
        limit = query.get("limit", "10")
        if not limit.isascii() or not limit.isdigit() or len(limit) > 3 or not 1 <= int(limit) <= 100:
            raise Refusal(404, "limit must be 1 to 100")
        if query.get("status", "pending") not in _SINGLE_WORDS:
            raise Refusal(404, "there are no jobs of such a status")
        jobs = self.jobs.show(user, query.get("job_id"), query.get("status"), int(limit))
        return JSONResponse({"success": True, "jobs": jobs})

    async def cancel(self, request: Request) -> Response:
        """Cancels a job."""
        user = self._user(request)
        body = await self._body(request)
        return JSONResponse(self.jobs.cancel(user, body["job_id"]))

    async def left(self, request: Request) -> Response:
        """Returns a job's log as text, or its results. The contract has neither."""
        user, job_id = self._user(request), request.path_params["job_id"]
        if request.path_params["what"] == "log":
            return PlainTextResponse(self.jobs.log(user, job_id))
        return JSONResponse(self.jobs.results(user, job_id))

    async def single_trigger(self, request: Request) -> Response:
        """GarminSync's older form: one job at a time, no job id."""
        user = self._user(request)
        kind = request.path_params["kind"]
        if kind not in TYPES:
            raise Refusal(404, "no such sync")
        newest = self.jobs.show(user, None, None, 1)
        if newest and _SINGLE_WORDS[newest[0]["status"]] == "in_progress":
            raise Refusal(409, "a sync is running")
        self.jobs.trigger(user, {"sync_type": kind}, None)
        return JSONResponse({"success": True, "status": "in_progress"})

    async def single_status(self, request: Request) -> Response:
        """Returns the one job's state, progress from 0 to 1."""
        newest = self.jobs.show(self._user(request), None, None, 1)
        if not newest:
            return JSONResponse({"status": "idle", "progress": 0})
        job = newest[0]
        return JSONResponse(
            {
                "status": _SINGLE_WORDS[job["status"]],
                "progress": job["progress"] / 100,
                "sync_type": job["sync_type"],
                "error": job["error_message"],
            }
        )

    async def admin_faults(self, request: Request) -> Response:
        """Sets, shows or clears faults."""
        self._admin(request)
        if request.method == "DELETE":
            self.faults.clear()
        if request.method == "POST":
            try:
                fault = Fault(**json.loads(await request.body()))
            except (ValueError, TypeError) as error:
                raise Refusal(400, f"no such fault: {error}") from None
            if fault.kind == "clock_offset":
                self._offset = fault.seconds
            else:
                self.faults.add(fault)
        return JSONResponse({"success": True, "faults": [asdict(fault) for fault in self.faults.all()]})

    async def admin_record(self, request: Request) -> Response:
        """Returns what the server received and did: tests judge by it."""
        self._admin(request)
        tables = {
            "jobs": "SELECT * FROM jobs",
            "items": "SELECT user_id, sync_type, name, error FROM items",
            "users": "SELECT id, username, last_step, failures, locked_until FROM users",
            "sessions": "SELECT * FROM sessions",
        }
        found = {name: [dict(row) for row in self.state.all(sql)] for name, sql in tables.items()}
        most = transports.most_connections(request.scope)
        return JSONResponse({"requests": self.record, "most_connections": most, **found})

    async def admin_users(self, request: Request) -> Response:
        """Adds or changes a user."""
        self._admin(request)
        try:
            body = json.loads(await request.body())
            user = body["username"], body["password"], body.get("totp_seed", ""), body.get("mfa", "totp")
        except (ValueError, TypeError, KeyError):
            raise Refusal(400, "give username, password and perhaps totp_seed and mfa as JSON") from None
        await asyncio.to_thread(self.accounts.put, *user)
        return JSONResponse({"success": True})

    async def admin_expire(self, request: Request) -> Response:
        """Ends every access token."""
        self._admin(request)
        self.accounts.expire_all()
        return JSONResponse({"success": True})

    def _admin(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self.settings.admin_token}":
            raise Refusal(401, "the admin token is wanted")

    def _user(self, request: Request) -> str:
        return self.accounts.user_of(request.headers.get("authorization", ""))

    async def _body(self, request: Request) -> dict[str, Any]:
        """Returns the body, valid by the contract. An invalid one gets the endpoint's refusal in the contract."""
        endpoint = request.url.path
        status = _UNFIT.get(endpoint, 400)
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise Refusal(status, "the body must be application/json")
        try:
            body = json.loads(await request.body(), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refusal(status, "the body is not JSON") from None
        fault = next(self._validators[endpoint].iter_errors(body), None)
        if fault is not None:
            place = ".".join(map(str, fault.path)) or "."
            raise Refusal(status, f"the body does not fit at `{place}` ({fault.validator})")
        found: dict[str, Any] = _storable(body)
        return found


def _no_constant(_name: str) -> None:
    raise ValueError


def _storable(value: Any) -> Any:
    """Escapes lone surrogates, which JSON allows but no database accepts."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(part) for key, part in value.items()}
    return [_storable(part) for part in value] if isinstance(value, list) else value


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse({"success": False, "error": error.error, **error.more}, error.status)


def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"success": False, "error": str(error.detail)}, error.status_code, error.headers)


class Faulty:
    """Wraps the application: keeps the record, sets Date, and applies the faults."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app, self._sandbox = app, sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        endpoint = _ENDPOINTS.get(scope["path"], "admin" if scope["path"].startswith("/admin") else "other")
        seen: dict[str, Any] = {
            "endpoint": endpoint,
            "method": scope["method"],
            "at": self._sandbox.now(),
            "status": None,
            **{
                name.decode(): value.decode("latin-1")
                for name, value in scope["headers"]
                if name in (b"x-request-id", b"traceparent")
            },
        }
        if endpoint == "admin":
            await self._app(scope, receive, self._dated(send, {}))
            return
        self._sandbox.record.append(seen)
        await self._spoiled(endpoint, scope, receive, self._dated(send, seen))

    def _dated(self, send: Send, seen: dict[str, Any]) -> Send:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                date = formatdate(self._sandbox.now(), usegmt=True).encode()
                message = {**message, "headers": [*message.get("headers", []), (b"date", date)]}
            await send(message)

        return dated

    async def _spoiled(self, endpoint: str, scope: Scope, receive: Receive, send: Send) -> None:
        strike = self._sandbox.faults.strike
        if strike("expire_tokens", endpoint=endpoint):
            self._sandbox.accounts.expire_all()
        latency = strike("latency", endpoint=endpoint)
        if latency:
            await asyncio.sleep(latency.seconds)
        if strike("reset_before", endpoint=endpoint):
            transports.reset(scope)
            return
        refusal = strike("status", endpoint=endpoint)
        if refusal:
            headers = {"Retry-After": refusal.retry_after} if refusal.retry_after else None
            body = {"success": False, "error": "a fault was asked for"}
            await JSONResponse(body, refusal.status, headers)(scope, receive, send)
            return
        drip = strike("drip", endpoint=endpoint)
        if strike("reset_after", endpoint=endpoint):
            await self._app(scope, receive, _swallow)
            transports.reset(scope)
            return
        await self._app(scope, receive, _dripping(send, drip.seconds) if drip else send)


async def _swallow(_message: Message) -> None:
    return None


def _dripping(send: Send, pause: float) -> Send:
    async def drip(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        body = message.get("body", b"")
        for index in range(len(body)):
            await send({"type": "http.response.body", "body": body[index : index + 1], "more_body": True})
            await asyncio.sleep(pause)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return drip
