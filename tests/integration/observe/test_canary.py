"""Random secrets never come out, whatever goes wrong and even where the API repeats them; every log line fits its schema."""

import base64
import html
import json
import os
import random
import secrets as randomness
import string
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

import jsonschema
import pytest

from runner import cli
from runner.observe.events import ALL
from runner.observe.interface import Record
from runner.observe.logs import LogListener, _json
from runner.observe.reference import schema
from runner.observe.report import schema as report_schema
from runner.sandbox.accounts import Refusal
from runner.settings import LogSettings
from tests.integration.observe.conftest import Runner, sandbox_runner, settings

ODD = "\"'<>&%+/\\ é$€#{}"


class Eavesdropper:
    """Takes whatever is sent to it, and keeps every byte: paths, headers and bodies. A Pushgateway, a check, a webhook."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                heard.append(f"{self.path}\n{self.headers}\n{body}")
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def eavesdropper() -> Iterator[Eavesdropper]:
    made = Eavesdropper()
    yield made
    made.server.shutdown()
    made.server.server_close()


def forms(secret: str) -> set[str]:
    """The secret as it stands, and as any writer between it and a reader may have put it down."""
    raw = secret.encode()
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret), repr(secret)[1:-1]}
    found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], raw.hex()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(raw).decode().rstrip("="))
        for shift in (1, 2):  # behind `user:`, say; the characters at the edges mix with their neighbours
            found.add(encode(b"x" * shift + raw).decode().rstrip("=")[2:-1])
    return {form for form in found if len(form) >= 8}


class Listening:
    """Everything the runner has been given or has got that must not come out."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    def leaks(self, where: str, text: str) -> list[str]:
        """What came out, and where."""
        return [f"{where}: {form}" for secret in self.secrets for form in forms(secret) if form in text]


def gossip(runner: Runner, listening: Listening) -> None:
    """Let the API repeat in its messages what it was told, in several forms, and note the tokens it gives."""
    accounts, jobs = runner.server.sandbox.accounts, runner.server.sandbox.jobs
    tokens, login, end = accounts._tokens, accounts.login, jobs._end
    said: list[str] = []

    def noted(*args: Any) -> dict[str, Any]:
        given = tokens(*args)
        for name in ("access_token", "refresh_token"):
            listening.secrets.add(given[name])
            said.append(given[name])
        return given

    def repeated(body: dict[str, Any]) -> dict[str, Any]:
        said.append(body["password"])
        try:
            return login(body)
        except Refusal as refusal:
            refusal.error = refusal.more["message"] = f"no: {body['password']} {quote(body['password'])} {body}"
            raise

    def loose(job_id: str, status: str, reason: str | None) -> None:
        spread = " ".join([*said, *map(quote_plus, said), *(base64.b64encode(one.encode()).decode() for one in said)])
        end(job_id, status, f"{reason}: {spread} {json.dumps(said)}")

    accounts._tokens, accounts.login, jobs._end = noted, repeated, loose  # type: ignore[method-assign, assignment]


def wrong_password(runner: Runner, listening: Listening) -> None:
    wrong = randomness.token_urlsafe(16) + ODD
    (runner.secrets / "password").write_text(wrong + "\n")
    listening.secrets.add(wrong)


def wrong_seed(runner: Runner, listening: Listening) -> None:
    wrong = base64.b32encode(randomness.token_bytes(20)).decode()
    (runner.secrets / "totp_seed").write_text(f"otpauth://totp/x?secret={wrong}&issuer=y")
    listening.secrets.add(wrong)


def bad_seed(runner: Runner, listening: Listening) -> None:
    wrong = randomness.token_urlsafe(20) + "!not-base32"
    (runner.secrets / "totp_seed").write_text(wrong)
    listening.secrets.add(wrong)


def from_environment(runner: Runner, _listening: Listening) -> None:
    for name in ("username", "password", "totp_seed"):
        file = runner.secrets / name
        runner.environment[f"SYNC_RUNNER_{name.upper()}"] = file.read_text().removesuffix("\n")
        file.unlink()


def fault(**values: Any) -> Callable[[Runner, Listening], None]:
    return lambda runner, _listening: runner.fault(**values)


CASES: dict[str, Callable[[Runner, Listening], None]] = {
    "well": lambda _runner, _listening: None,
    "environment": from_environment,
    "wrong password": wrong_password,
    "wrong seed": wrong_seed,
    "seed that is none": bad_seed,
    "job fails": fault(kind="job_fails", times=-1),
    "one job fails": fault(kind="job_fails", sync_type="health"),
    "API down at login": fault(kind="status", endpoint="login", times=-1),
    "API down at status": fault(kind="status", endpoint="status", times=-1),
    "trigger's answer lost": fault(kind="reset_after", endpoint="trigger"),
    "login's answer lost": fault(kind="reset_after", endpoint="login", times=-1),
    "tokens expire": fault(kind="expire_tokens", endpoint="status"),
    "answer that is no contract": fault(kind="status", endpoint="trigger", status=418),
    "job stalls": fault(kind="job_stalls", times=-1),
}
EXPECTED = {
    "wrong password": {3}, "wrong seed": {3}, "seed that is none": {3}, "job fails": {4}, "one job fails": {5},
    "API down at login": {7}, "API down at status": {7}, "trigger's answer lost": {0}, "login's answer lost": {7},
    "answer that is no contract": {5, 9}, "job stalls": {6},
}  # fmt: skip
LEVELS = [("debug", "json"), ("debug", "console")]
VALIDATORS = {
    name: jsonschema.Draft202012Validator(definition, format_checker=jsonschema.FormatChecker())
    for name, definition in schema()["$defs"].items()
}


def check_lines(text: str) -> Counter[str]:
    """Every line fits the schema of its event. Returns how many there were of each."""
    count: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("::"):  # annotations of the GitHub step
            continue
        read = json.loads(line)
        VALIDATORS[read["event"]].validate(read)
        count[read["event"]] += 1
    return count


def outlets_of(directory: Path, eavesdropper: Eavesdropper) -> list[str]:
    """Every way out there is."""
    (directory / "termination").touch()
    for name, text in (("push_password", "push"), ("hook_url", f"{eavesdropper.url}/hook")):
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(text)
    return settings(
        report__file=directory / "report.json", report__junit=directory / "junit.xml", report__html=directory / "page.html",
        report__github="always", report__termination_log=directory / "termination", metrics__textfile=directory / "out.prom",
        metrics__pushgateway__url=eavesdropper.url, notify__ping__url=f"{eavesdropper.url}/ping",
        notify__webhook__url=f"{eavesdropper.url}/hook", notify__webhook__when="success,failure",
        notify__webhook__body='{"text": "${text}", "error": "${error}"}', retry__attempts=2, retry__wait="10ms",
        poll__min="5ms", poll__max="20ms", deadline__run="30s", deadline__sync="20s", concurrency=3, log__progress_step=1,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_secret_comes_out_by_any_way(
    case: str, tmp_path: Path, year: Path, eavesdropper: Eavesdropper,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    leaks: list[str] = []
    codes = set()
    for number, (level, form) in enumerate(LEVELS):
        listening = Listening()
        odd = "".join(random.choices(ODD + string.ascii_letters, k=8))
        password = f"{randomness.token_urlsafe(12)}{odd}x"
        directory = tmp_path / str(number)
        directory.mkdir()
        mfa = "totp" if "seed" in case or number % 2 else "none"
        with sandbox_runner(
            directory, data=year, password=password, mfa=mfa, username=f"user-{odd}-{randomness.token_hex(8)}"
        ) as runner:
            listening.secrets |= set(runner.server.credentials.values())
            gossip(runner, listening)
            CASES[case](runner, listening)
            for variable in [name for name in os.environ if name.startswith(("SYNC_RUNNER_", "GITHUB_"))]:
                monkeypatch.delenv(variable)
            github = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
            for variable, value in {**runner.environment, **{k: str(directory / v) for k, v in github.items()}}.items():
                monkeypatch.setenv(variable, value)
            common = runner.command()[3:][:-2]
            codes.add(
                cli.run(
                    [
                        *common,
                        "--log-format",
                        form,
                        "--log-level",
                        level,
                        "run",
                        "activities",
                        "health",
                        *outlets_of(directory, eavesdropper),
                        *(settings(deadline__sync="1s") if case == "job stalls" else []),
                    ]
                )
            )
        out, err = capfd.readouterr()
        if form == "json":
            check_lines(err)
        written = {path.name: path.read_text() for path in directory.iterdir() if path.is_file()}
        assert {
            "report.json",
            "junit.xml",
            "page.html",
            "out.prom",
            "summary",
            "output",
            "termination",
        } <= written.keys()
        for where, text in {**written, "out": out, "err": err, "net": "\n".join(eavesdropper.heard)}.items():
            leaks += listening.leaks(f"{case}, {level} {form}, {where}", text)
        assert len(eavesdropper.heard) >= 4 * (number + 1)
    assert leaks == []
    assert codes <= EXPECTED.get(case, {0}), codes


@pytest.mark.parametrize("password", ["level", "error", "event", "info", "default", "2026", "1"])
def test_a_password_that_is_one_of_our_words_breaks_no_line_no_report_and_no_annotation(
    password: str, tmp_path: Path, year: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with sandbox_runner(tmp_path, data=year, password=password, mfa="totp") as runner:
        gossip(runner, Listening())
        runner.fault(kind="job_fails", times=-1)
        words = settings(report__github="always", log__level="debug")
        assert cli.run([*runner.command()[3:], "run", "health", *words, "--report", "-"]) == 4
    out, err = capfd.readouterr()
    assert check_lines(err)["sync.ended"] == 1
    report = json.loads(out)
    jsonschema.validate(report, report_schema())
    [sync] = report["syncs"]
    assert (sync["account"], sync["outcome"]) == ("default", "failed")
    told = sync["error"].partition(": ")[2]
    assert password == "1" or (password not in told and "***" in told), told
    [annotation] = [line for line in err.splitlines() if line.startswith("::")]
    assert annotation.startswith("::error title=default%3A health failed::")


def test_the_lines_of_a_busy_run_with_faults_fit_their_schemas(
    tmp_path: Path, year: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    syncs = [{"type": kind, "name": f"{kind}-{number}"} for number in range(20) for kind in ("activities", "health")]
    with sandbox_runner(tmp_path, data=year) as runner:
        runner.fault(kind="status", endpoint="status", times=2, skip=20)
        runner.fault(kind="reset_after", endpoint="trigger", times=2, skip=5)
        runner.fault(kind="job_fails", times=3, skip=7)
        runner.fault(kind="expire_tokens", endpoint="trigger", skip=9)
        words = settings(
            syncs=json.dumps(syncs), log__level="debug", concurrency=2, poll__min="1ms", retry__wait="10ms"
        )
        assert cli.run([*runner.command()[3:], "run", *words]) == 5
        lines = check_lines(capfd.readouterr().err)
    assert lines.total() > 200 and lines["http.retry"] >= 2 and lines["sync.trigger_doubt"] == 2, lines


def test_ten_thousand_lines_of_events_with_any_values_fit_their_schemas() -> None:
    chance = random.Random(7)
    values: dict[str, Callable[[], Any]] = {
        "str": lambda: "".join(chance.choices(ODD + "\0\n\ud800\u2028" + string.printable, k=12)),
        "int": lambda: chance.randrange(-5, 10**12),
        "float": lambda: chance.choice([0.0, -1.5, 1e-9, 1 / 3, 1e15]),
        "bool": lambda: chance.random() < 0.5,
        "None": lambda: None,
    }
    written: list[str] = []
    log = LogListener(_json(), LogSettings(level="debug", progress_every=1e-9), written.append)
    for number in range(10_000):
        kind = chance.choice(ALL)
        kinds = {field.name: getattr(field.type, "__name__", None) or str(field.type) for field in fields(kind)}
        event = kind(**{name: values[chance.choice(of.replace(" ", "").split("|"))]() for name, of in kinds.items()})
        log(Record(1_700_000_000.0 + number, event, {"run_id": values["str"](), "sync": values["str"]()}))
    assert check_lines("".join(written)).total() == 10_000
