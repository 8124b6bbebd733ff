"""Long watches keep memory and open files flat: `python -m tests.campaign.jobs watch_fake` and `watch_real`."""

import asyncio
import json
import os
import resource
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from runner.sandbox.command import write_secrets
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.campaign.figures import Figures
from tests.support.clock import LinkedClock
from tests.support.command_line import CommandLine
from tests.support.faults.proxy import end_connections
from tests.support.in_process import RunOutput, run_here

GROWTH_KIB = 2048  # of resident memory, from the first hour (or minute) to the end
HOUR = 3600.0


class SlowApi:
    """An API on a real socket whose one job takes as long as asked, by the clock that it is given."""

    def __init__(self, clock: LinkedClock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self.requests: Counter[str] = Counter()

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started.set()
        self._loop.run_forever()
        server.close()
        end_connections(self._loop)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer_all(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the runner is done
        finally:
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            asked = await reader.readexactly(length[0] if length else 0)
            answer = self.answer(head.split(b" ", 2)[1].decode(), asked)
            if answer is None:
                return
            status, body = answer
            head = b"HTTP/1.1 %d Told\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
                status,
                len(body),
            )
            writer.write(head + body)
            await writer.drain()

    def answer(self, path: str, _asked: bytes) -> tuple[int, bytes] | None:
        """Status and body of the answer to a request for `path` with the body `_asked`; None breaks the connection."""
        return 200, json.dumps(self._answer(path)).encode()

    def _answer(self, path: str) -> dict[str, Any]:
        endpoint = path.split("?")[0].rsplit("/", 1)[-1]
        self.requests[endpoint] += 1
        if endpoint in ("login", "refresh"):
            return {"success": True, "access_token": f"t{self.requests}", "token_type": "bearer", "expires_in": 900,
                    "refresh_token": f"r{self.requests}"}  # fmt: skip
        if endpoint == "trigger":
            self._began = self._clock.monotonic()
            return {"success": True, "job_id": "job-1", "status": "pending"}
        share = min(1.0, (self._clock.monotonic() - self._began) / self._seconds)
        status = "completed" if share >= 1 else "running"
        job = {"job_id": "job-1", "sync_type": "health", "status": status, "progress": round(100 * share, 3)}
        return {"success": True, "jobs": [job]}


class _Sampling(LinkedClock):
    """Notes memory and open files once an hour of its own time."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[tuple[int, int]] = []
        self._next = self.monotonic() + HOUR

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        await super().sleep(seconds)
        self.slept.clear()
        if self.monotonic() >= self._next:
            self._next += HOUR
            self.samples.append((resident_kib(os.getpid()), open_files(os.getpid())))


def resident_kib(process: int) -> int:
    """Resident memory, in KiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def open_files(process: int) -> int:
    """How many descriptors are open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def watch_fake(hours: float = 24.0) -> Figures:
    """A job of so many hours, on a clock that leaps: real requests, no waiting; tokens renewed every quarter of an hour."""
    with tempfile.TemporaryDirectory() as home:
        secrets = write_secrets_of(Path(home) / "secrets")
        clock = _Sampling()
        with SlowApi(clock, hours * HOUR) as api:
            told: RunOutput = run_here(
                api.base_url, secrets, "health", state=Path(home) / "state", clock=clock,
                deadline={"sync": None, "run": None}, poll={"min": 0.25}, keep=("run.ended", "sync.ended"),
            )  # fmt: skip
    assert told.code == 0, told.errors
    memory, files = zip(*clock.samples, strict=True)
    assert max(files) <= files[0], files
    assert memory[-1] - memory[0] <= GROWTH_KIB, memory
    return {
        "hours": hours,
        "requests": dict(api.requests),
        "resident KiB after 1 h": memory[0],
        "at the end": memory[-1],
        "open files after 1 h": files[0],
        "most": max(files),
    }


def write_secrets_of(directory: Path) -> Path:
    """Secrets for an API that takes any."""
    write_secrets(directory, {"username": "somebody", "password": "a pass word", "totp_seed": ""})
    (directory / "totp_seed").unlink()
    return directory


def watch_real(minutes: float = 30.0, every: float = 10.0) -> Figures:
    """The real command line on a job of so many minutes: memory and open files each ten seconds."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = SandboxSettings(port=0, kdf="fast", mfa="none", job_seconds=60 * minutes)
        cli = CommandLine(stack.enter_context(SandboxServer(settings)), home)
        running = cli.start("run", "health", "--set", "poll.min=250ms", "--report", "-")
        job = cli.until("running")
        process = running.process.pid
        samples = []
        until = time.monotonic() + 60 * minutes - every
        time.sleep(min(60.0, 15 * minutes))  # all modules are loaded, the first looks are over
        while time.monotonic() < until:
            samples.append((resident_kib(process), open_files(process)))
            time.sleep(every)
        ended = running.finish()
        requests = Counter(one["endpoint"] for one in cli.record()["requests"])
        assert ended.code == 0, ended.errors
        assert [one["job_id"] for one in cli.jobs("completed")] == [job["job_id"]]
    memory, files = zip(*samples, strict=True)
    assert max(files) <= files[0], files
    assert max(memory) - memory[0] <= GROWTH_KIB, memory
    return {
        "minutes": minutes,
        "requests": dict(requests),
        "samples": len(samples),
        "resident KiB, first": memory[0],
        "most": max(memory),
        "last": memory[-1],
        "open files, first": files[0],
        "most open": max(files),
    }
