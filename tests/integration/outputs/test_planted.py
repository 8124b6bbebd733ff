"""A secret and terminal escapes, planted in each place where others give text, come out harmless by every way out."""

import contextlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.outputs.conftest import Runner
from tests.integration.outputs.test_ci_commands import assert_harmless
from tests.integration.outputs.test_terminal import AUTO, at
from tests.support.in_process import command_here
from tests.support.leak_scanner import Listening

PASSWORD = "Vq7-mango-Tz19-lantern"
ESCAPES = "\x1b]52;c;QUFB\x07\x9b2J\u202e\u2028[/x][link=http://evil.example]##vso[task.complete]"
PLANTED = f"{PASSWORD} {ESCAPES}\n::set-output name=a::{PASSWORD}"
LATIN = PLANTED.encode("ascii", "ignore").decode().replace("\n", " ")  # what a header can hold

Spoil = Callable[[str, dict[str, str], Any], tuple[int, dict[str, str], Any]]


class HostileApi:
    """A server of the `garminsync` contract, a Pushgateway, a collector, a hook and a Kubernetes API, whose answers `spoil` changes."""

    def __init__(self, spoil: Spoil) -> None:
        self.got: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                if "/api/" not in path:  # to the outputs
                    api.got.append(f"{self.path}\n{raw.decode(errors='replace')}")
                status, headers, body = spoil(path, {}, _honest(path, raw))
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                lines = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
                head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
                self.wfile.write(f"HTTP/1.1 {status} {LATIN}\r\n{head}\r\n".encode("latin-1") + content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

            def log_message(self, *values: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def _honest(path: str, raw: bytes) -> Any:
    asked = json.loads(raw) if raw[:1] == b"{" else {}
    if path.endswith("/login"):
        return {"success": True, "session_id": "s", "access_token": "ACCESS-0123456789", "refresh_token": "REFRESH-0123456789",
                "token_type": "Bearer", "expires_in": 900, "user": {"id": "u1"}}  # fmt: skip
    job = {"job_id": "job-1", "sync_type": asked.get("sync_type", "health"), "status": "pending"}
    if path.endswith("/trigger"):
        return {"success": True, **job}
    if path.endswith("/status"):
        ended = {"status": "failed", "error_message": "no", "user_id": "u1", "progress": 50}
        return {"success": True, "jobs": [{**job, **ended}]}
    return {"success": True, "error": "no", "job_id": "job-1", "status": "cancelled"}


def header(name: str, at: str, status: int = 200) -> Spoil:
    """That header of the answers at paths that end so."""
    return lambda path, headers, body: (
        (status, {**headers, name: LATIN}, body) if path.endswith(at) else (200, headers, body)
    )


def field(name: str, at: str, status: int = 200) -> Spoil:
    """That field of the answers at paths that end so, wherever it stands."""

    def spoil(path: str, headers: dict[str, str], body: Any) -> tuple[int, dict[str, str], Any]:
        if not path.endswith(at):
            return 200, headers, body
        for one in (body, *body.get("jobs", ())):
            one[name] = PLANTED
        return status, headers, body

    return spoil


def whole(at: str, status: int, kind: str = "application/json") -> Spoil:
    """The whole body of the answers at paths that end so."""
    return lambda path, headers, body: (
        (status, {**headers, "Content-Type": kind}, PLANTED.encode()) if path.endswith(at) else (200, headers, body)
    )


ENDS = ("/login", "/trigger", "/status")
HEADERS = (
    "Content-Type", "Content-Encoding", "Retry-After", "Location", "Date", "Link", "Set-Cookie", "WWW-Authenticate",
    "X-Request-Id", "Server", "Age", "ETag",
)  # fmt: skip
FIELDS = ("job_id", "status", "sync_type", "error_message", "user_id", "message", "started_at", "progress", PLANTED)


def outputs(status: int) -> Spoil:
    """The words of Pushgateway, collector and hooks."""
    headers = {"Content-Type": "text/plain", "Retry-After": LATIN, "Location": f"http://127.0.0.1:1/{LATIN}"}
    return lambda path, given, body: (200, given, body) if "/api/" in path else (status, headers, PLANTED.encode())


PLACES: dict[str, Spoil] = {
    **{f"{name} of {at}": header(name, at) for name in HEADERS[:6] for at in ENDS[:2]},
    **{f"{name} of /status": header(name, "/status") for name in HEADERS},
    **{f"Retry-After of {at}, 429": header("Retry-After", at, 429) for at in ENDS},
    **{f"Location of {at}, 302": header("Location", at, 302) for at in ENDS},
    **{f"field {name} of {at}": field(name, at) for name in FIELDS for at in ENDS[1:]},
    **{f"error of {at}, {status}": field("error", at, status) for at in ENDS for status in (401, 403, 409, 500)},
    **{f"page of {at}": whole(at, 403, "text/html") for at in ENDS},
    **{f"words of outputs, {status}": outputs(status) for status in (200, 302, 400, 503)},
}


@dataclass
class Outlets:
    """Every way out of a run, below one directory."""

    home: Path

    FILES = ("report.json", "junit.xml", "page.html", "metrics.prom", "termination", "dotenv", "xcom/return.json")

    def words(self, url: str) -> list[str]:
        (self.home / "xcom").mkdir()
        (self.home / "termination").touch()
        chosen: dict[str, Any] = {
            "report.file": self.home / "report.json", "report.junit": self.home / "junit.xml",
            "report.html": self.home / "page.html", "metrics.textfile": self.home / "metrics.prom",
            "report.termination_log": self.home / "termination", "report.dotenv": self.home / "dotenv",
            "report.xcom": self.home / "xcom" / "return.json", "report.github": "always",
            "metrics.pushgateway.url": f"{url}/push", "notify.ping.url": f"{url}/ping",
            "metrics.otlp.endpoint": f"{url}/otlp",
            "notify.webhook.url": f"{url}/hook", "notify.webhook.when": "success,failure",
            "notify.webhook.body": '{"text": "${text}", "error": "${error}"}', "notify.budget": "500ms",
            "metrics.pushgateway.timeout": "500ms", "metrics.otlp.timeout": "500ms",
            "retry.attempts": 2, "retry.wait": "5ms", "retry.max_wait": "10ms", "poll.min": "5ms", "poll.patience": "300ms",
            "deadline.run": "3s", "retry.connect_patience": 0,
        }  # fmt: skip
        return [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]

    def places(self) -> dict[str, str]:
        return {
            name: (self.home / name).read_text()
            for name in (*self.FILES, "summary", "output")
            if (self.home / name).exists()
        }


def leaves(value: Any) -> Iterator[str]:
    """Each text within decoded JSON, keys too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    elif isinstance(value, str):
        yield value


def texts_of(name: str, text: str) -> Iterator[str]:
    """What a reader of that place sees: of JSON its texts, one by one."""
    yield text
    lines = text.splitlines() if name.startswith(("stderr", "pushed")) else [text]
    for line in lines:
        with contextlib.suppress(ValueError):
            yield from leaves(json.loads(line))


def assert_fit(places: Mapping[str, str]) -> None:
    """No secret in any writing, no control character, nothing that steers a terminal, no command of a CI."""
    assert Listening([PASSWORD]).leaks(places) == set()
    for name, text in places.items():
        for seen in texts_of(name, text):
            odd = {
                one for one in seen if one not in "\n\t" and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs")
            }
            assert not odd, (name, odd, seen[:2000])
        if name in ("stdout", "stderr", "console"):
            assert_harmless(text)
        assert not re.search(r"^::set-output", text, re.MULTILINE), name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    secrets = tmp_path / "planted" / "secrets"
    secrets.mkdir(parents=True)
    for name, value in (("username", "u"), ("password", PASSWORD), ("totp_seed", "JBSWY3DPEHPK3PXP")):
        (secrets / name).write_text(value)
        (secrets / name).chmod(0o600)
    return secrets.parent


@pytest.fixture
def serve() -> Iterator[Callable[[Spoil], HostileApi]]:
    """Makes servers that are gone afterwards."""
    with contextlib.ExitStack() as stack:

        def made(spoil: Spoil) -> HostileApi:
            api = HostileApi(spoil)
            stack.callback(api.close)
            return api

        yield made


@pytest.mark.parametrize("place", PLACES)
def test_what_is_planted_in_an_answer_comes_out_harmless_by_every_way(
    place: str, home: Path, serve: Callable[[Spoil], HostileApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, outlets = serve(PLACES[place]), Outlets(home)
    for name, value in {"ACTIONS": "true", "OUTPUT": home / "output", "STEP_SUMMARY": home / "summary"}.items():
        monkeypatch.setenv(f"GITHUB_{name}", str(value))
    common = ["--base-url", api.url, "--secrets-dir", str(home / "secrets"), "--state-dir", str(home / "state")]
    bounds = ["--set", "deadline.run=2s", "--set", "retry.attempts=1", "--set", "retry.connect_patience=0"]
    found: dict[str, str] = {}
    words = [*common, "--log-level", "debug", "--log-format", "json", "run", "health", *outlets.words(api.url)]
    code, found["stdout"], found["stderr"] = command_here([*words, "--report", "-"])
    assert code != 1, found["stderr"]
    found |= outlets.places()
    for command in (["run", "health", *bounds], ["status", *bounds], ["status", "--offline"]):
        code, out, err = command_here([*common, "--log-format", "console", *command])
        assert code != 1, err
        found["console"] = found.get("console", "") + out + err
    found["pushed"] = "\n".join(said for said in api.got if not said.startswith("/otlp"))
    assert_fit(found)
    binary = "".join(one if one.isprintable() else "\n" for said in api.got for one in said)
    assert Listening([PASSWORD]).leaks({"OTLP": binary}) == set()


@pytest.mark.parametrize("name", ["status", "error_message", "job_id"])
def test_what_is_planted_in_a_job_steers_no_terminal(
    name: str, runner: Runner, home: Path, serve: Callable[[Spoil], HostileApi]
) -> None:
    api = serve(field(name, "/status"))
    bounds = [word for value in ("deadline.run=3s", "poll.min=20ms", "poll.patience=1s") for word in ("--set", value)]
    places = ["--base-url", api.url, "--secrets-dir", str(home / "secrets")]
    with at(runner, 120, *places, *AUTO, "run", "health", *bounds) as (terminal, process):
        process.wait(30)
    assert Listening([PASSWORD]).leaks({"terminal": terminal.raw}) == set()
    assert not re.search("\x1b\\]52|\x07|\x9b|\u202e|\u2028|\x1b\\]8;;", terminal.raw)


@pytest.mark.parametrize("before", ["", "  ", "a" * 90 + " ", *("b" * length for length in (80, 120, 150))])
def test_a_table_in_a_pipe_forms_no_command_of_a_ci(
    before: str, home: Path, serve: Callable[[Spoil], HostileApi]
) -> None:
    def spoil(path: str, headers: dict[str, str], body: Any) -> tuple[int, dict[str, str], Any]:
        for job in body.get("jobs", ()):
            job |= {"job_id": "::add-mask::a", "error_message": f"{before}::stop-commands::" * 4}
        return 200, headers, body

    common = ["--base-url", serve(spoil).url, "--secrets-dir", str(home / "secrets")]
    code, out, err = command_here([*common, "--log-format", "console", "status"])
    assert code == 0 and "stop-commands" in out, err
    assert_harmless(out + err)


def test_the_judge_sees_what_is_planted() -> None:
    for text in (PASSWORD, ESCAPES[:10], "\u202e", "\n::set-output name=a::b", json.dumps({"error": "\x1b[2J"})):
        with pytest.raises(AssertionError):
            assert_fit({"stderr": text})
