"""One-time codes from a program or a person, at the sandbox over a real socket: which codes arrive, and how it ends."""

import os
import pty
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.auth import totp
from tests.support.command_line import PATIENCE, CommandLine, Finished, sync_runner
from tests.support.scripted_api import Answers, ScriptedApi

PERSON = ("--set", "code.source=person")


def _code(cli: CommandLine, steps: int = 0) -> str:
    """The code that the authenticator app shows now, or so many steps from now."""
    seed = totp.parse_seed(cli.server.credentials["totp_seed"])
    return totp.code(seed, totp.step_at(seed, time.time()) + steps)


def _hand_over(cli: CommandLine, code: Callable[[], str], *words: str) -> Finished:
    """`submit-code`, as soon as a run waits."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        ended = cli.run(*PERSON, *words, "submit-code", code())
        if ended.code == 0:
            return ended
        assert ended.code == 2, ended.stderr
    raise AssertionError("no run waits")


def _logins(cli: CommandLine) -> list[int]:
    return [request["status"] for request in cli.record()["requests"] if request["endpoint"] == "login"]


def test_a_code_that_is_handed_over_lets_the_waiting_run_go_on(cli: CommandLine) -> None:
    run = cli.start(*PERSON, "run", "health")
    used: list[str] = []

    def code() -> str:
        used.append(_code(cli))
        return used[-1]

    handed = _hand_over(cli, code)
    ended = run.finish()
    assert ended.code == 0, ended.stderr
    assert handed.stdout == "default: code passed on; the run's log shows the API's response\n"
    assert [line["timeout_seconds"] for line in ended.events("login.code_wanted")] == [300]
    assert [line["received"] for line in ended.events("login.code_wait_ended")] == [True]
    assert ended.events("session.started")[0]["mfa"] is True
    assert used[-1] not in ended.stderr + handed.stderr
    kept = b"".join(path.read_bytes() for path in cli.state.rglob("*.json"))
    assert used[-1].encode() not in kept
    again = cli.run(*PERSON, "run", "health")
    assert again.code == 0
    assert again.events("session.reused")
    assert not again.events("login.code_wanted")


def test_a_slip_of_the_fingers_is_asked_for_once_more_and_no_code_goes_twice(cli: CommandLine) -> None:
    run = cli.start(*PERSON, "run", "health")
    wrong = f"{(int(_code(cli)) + 1) % 1_000_000:06}"
    _hand_over(cli, lambda: wrong)
    _hand_over(cli, lambda: _code(cli))
    ended = run.finish()
    assert ended.code == 0, ended.stderr
    assert len(ended.events("login.code_wanted")) == 2


def test_a_run_that_nobody_gives_a_code_gives_up_with_code_3_and_has_sent_none(cli: CommandLine) -> None:
    ended = cli.run(*PERSON, "--set", "code.timeout=1s", "run", "health")
    assert ended.code == 3
    assert "no one-time code was given within 1 s (code.timeout)" in ended.errors
    assert [line["received"] for line in ended.events("login.code_wait_ended")] == [False]
    late = cli.run(*PERSON, "submit-code", "123456")
    assert late.code == 2
    assert "no run waits" in late.errors


def test_a_waiting_run_tells_ping_webhook_and_metrics_at_once(cli: CommandLine) -> None:
    with ScriptedApi({"POST /hook": Answers(), "POST /ping/log": Answers(), "POST /ping/fail": Answers()}) as told:
        ended = cli.run(
            *PERSON, "--set", f"notify.webhook.url={told.base_url}/hook", "--set", "notify.webhook.when=code",
            "--set", f"notify.ping.url={told.base_url}/ping", "--set", "notify.ping.when=code,failure",
            "--set", f"metrics.textfile={cli.home / 'run.prom'}", "--set", "code.timeout=2s", "run", "health",
        )  # fmt: skip
    assert ended.code == 3, ended.stderr
    text = "account default waits for a one-time code for 2 s; submit it with `sync-runner submit-code CODE --account default`"
    assert [one.json for one in told.at("/hook")] == [{"text": f"sync-runner: {text}"}]
    assert [one.raw.decode() for one in told.at("/ping/log")] == [text]
    assert told.asked[-1].path == "/ping/fail"
    metrics = (cli.home / "run.prom").read_text(encoding="utf-8")
    assert 'sync_runner_code_wanted{account="default"} 0.0' in metrics


def test_the_deadline_of_the_run_ends_the_wait_with_code_6(cli: CommandLine) -> None:
    ended = cli.run(*PERSON, "--set", "deadline.run=1s", "run", "health")
    assert ended.code == 6, ended.stderr


def test_a_code_that_lay_there_before_the_run_waited_is_not_used(cli: CommandLine) -> None:
    """A killed run leaves its mark that it waits; what is submitted to it is of no later login."""
    run = cli.start(*PERSON, "login")
    end = time.monotonic() + PATIENCE
    while not any(path.stat().st_size for path in cli.state.glob("sessions/*.json")) and time.monotonic() < end:
        time.sleep(0.02)
    run.process.kill()
    run.process.communicate()
    assert cli.run(*PERSON, "submit-code", "111111").code == 2
    ended = cli.run(*PERSON, "--set", "code.timeout=1s", "login")
    assert ended.code == 3
    assert "no one-time code was given" in ended.errors


@pytest.mark.parametrize(
    "text", ["", "12", "12345678901234567890123456789012345", "12\x1b[31m34", "code!", "../../etc"]
)
def test_what_is_no_code_is_refused_before_anything_is_read(cli: CommandLine, text: str) -> None:
    ended = cli.run(*PERSON, "submit-code", text)
    assert ended.code == 2
    assert "not a one-time code" in ended.errors


def test_a_person_needs_a_state_that_is_kept(cli: CommandLine) -> None:
    options = [word for word in cli.options() if word not in ("--state-dir", str(cli.state))]
    for words in (("run", "health"), ("check",), ("submit-code", "123456")):
        ended = sync_runner(*options, *PERSON, *words)
        assert ended.code == 2
        assert "state.dir" in ended.errors + ended.stdout


def test_login_at_a_terminal_asks(cli: CommandLine) -> None:
    words = [sys.executable, "-m", "runner", *cli.options(), *PERSON, "login"]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, words)
    seen = b""
    while b"One-time code of default: " not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, f"{_code(cli)[:3]} {_code(cli)[3:]}\n".encode())
    with pytest.raises(OSError, match="Input/output"):  # the terminal's end
        while True:
            seen += os.read(terminal, 4096)
    _child, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, seen
    assert cli.run("run", "health").events("session.reused")


def _program(home: Path, body: str) -> tuple[str, ...]:
    path = home / "give-code"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o700)
    return ("--set", "code.source=command", "--set", f"code.command={path}")


def test_the_code_that_a_program_prints_is_used(cli: CommandLine) -> None:
    words = _program(cli.home, f"echo 'Your code:'; echo 'code {_code(cli)}'; env >{cli.home}/environment")
    ended = cli.run(*words, "run", "health", SYNC_RUNNER_REPORT__GITHUB="never", HERE="yes")
    assert ended.code == 0, ended.stderr
    assert _code(cli) not in ended.stderr
    environment = (cli.home / "environment").read_text(encoding="utf-8")
    assert "HERE=yes" in environment
    assert "SYNC_RUNNER_" not in environment


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("exit 4", "code.command ended with exit code 4"),
        ("echo the seed 123456 is locked >&2; exit 1", "the seed *** is locked"),
        ("true", "printed nothing that matches code.pattern"),
        ("echo no code here", "printed nothing that matches code.pattern"),
        ("head -c 300000 /dev/zero", "printed more than"),
        ("while :; do echo 11; done", "printed more than"),
        ("while :; do echo 123456 >&2; done", "printed more than 16384 bytes"),
        ("sleep 100 & sleep 100", "did not end within 1 s"),
        ("kill -9 $$", "code.command was killed by signal 9"),
        ("printf '\\377\\376\\000'", "printed nothing that matches code.pattern"),
    ],
)
def test_a_program_without_a_code_ends_with_code_3(cli: CommandLine, body: str, told: str) -> None:
    timeout = "1s" if "did not end" in told else "30s"
    ended = cli.run(*_program(cli.home, body), "--set", f"code.timeout={timeout}", "run", "health")
    assert ended.code == 3, ended.stderr
    assert told in ended.errors
    assert "123456" not in ended.stderr


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd", "/"])
def test_a_program_that_cannot_be_started_ends_with_code_3_and_check_says_so(cli: CommandLine, program: str) -> None:
    words = ("--set", "code.source=command", "--set", f"code.command={program}")
    ended = cli.run(*words, "run", "health")
    assert ended.code == 3
    assert "cannot be started" in ended.errors
    assert cli.run(*words, "check").code == 3


def test_a_code_that_a_program_prints_twice_is_sent_once(cli: CommandLine) -> None:
    words = _program(cli.home, f"echo {_code(cli)}")
    assert cli.run(*words, "login").code == 0
    before = len(cli.record()["requests"])
    ended = cli.run(*words, "--set", "code.timeout=2s", "login", "--force")
    assert ended.code == 3
    assert "a code is never sent twice" in ended.errors
    assert len(_logins(cli)) <= before + 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("code.source=command",), "code.command: name the program"),
        (("code.source=carrier-pigeon",), "unknown source `carrier-pigeon`"),
        (("code.source=imap",), "code.imap.host"),
        (("code.source=hotp",), "hotp_seed"),
        (("code.pattern=(a+)+",), "may take unlimited time"),
        (("code.pattern=(",), "not a regular expression"),
        (("code.timeout=0",), "code.timeout"),
    ],
)
def test_settings_that_cannot_be_used_name_their_key(cli: CommandLine, words: tuple[str, ...], told: str) -> None:
    ended = cli.run(*(word for one in words for word in ("--set", one)), "run", "health")
    assert ended.code in (2, 3)
    assert told in ended.errors
    assert cli.record()["requests"] == []
