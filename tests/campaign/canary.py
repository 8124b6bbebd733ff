"""Runs over success and every error path, each with secrets of its own that must not come out.

`python -m tests.campaign.canary runs=50000 [seed=N] [first=N] [processes=N]` is the campaign.

Everything of the command line is real but the clock, which nobody waits for. The API repeats all it is told, in every
answer and many writings. The scanner is shown to find a leak in each of the places before it is believed.
"""
# Decision 0021.

import base64
import html
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from runner import cli
from runner.events.redaction import Redactor
from runner.http.client import Client
from runner.sandbox import data
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.campaign.canary_cases import CASES, RUN, QuickClock, Stage
from tests.campaign.figures import BROKEN, Figures, cpu_minutes, in_parts, main
from tests.campaign.made_once import quick_runs
from tests.support.echoing_sandbox import EchoingSandbox, echoing
from tests.support.leak_scanner import Eavesdropper, Listening, canary

LEVEL = ("--log-level", "debug")
FILES = ("report", "junit", "page", "textfile", "termination", "summary")
PLACES = frozenset({"stdout", "stderr", "pushgateway", "notifications", "arguments", "environment", *FILES})
_children: list[tuple[str, str]] = []  # arguments and environment of each process that was started here


def _watch(event: str, values: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        _, arguments, _, environment = values
        _children.append((str(arguments), str(dict(os.environ) if environment is None else environment)))
    elif event in ("os.exec", "os.posix_spawn"):
        _children.append((str(values[1]), str(values[2])))
    elif event == "os.system":
        _children.append((str(values[0]), str(dict(os.environ))))


@cache
def _watch_children() -> None:
    sys.addaudithook(_watch)


class Bench:
    """A worker's sandbox, eavesdropper and clock, for one run after the other."""

    def __init__(self, server: SandboxServer, echo: EchoingSandbox, ear: Eavesdropper) -> None:
        self.server, self.echo, self.ear = server, echo, ear
        self.clock = QuickClock()
        server.sandbox.clock = self.clock.time

    def run(self, case: str, number: int, directory: Path) -> tuple[dict[str, str], Listening, list[int]]:
        """Run the case with new secrets. Returns what came out by each way, the secrets, and the exit codes."""
        stage = self._stage(directory)
        arrange, _ = CASES[case]
        arrange(stage)
        sandbox = self.server.sandbox
        sandbox.accounts.put(stage.username, stage.password, stage.seed, stage.mfa)
        form = ("json", "console")[number // len(CASES) % 2]
        _children.clear()
        self.ear.on_response.clear()
        out, err = io.StringIO(), io.StringIO()
        with stage.stack, self._surroundings(stage), redirect_stdout(out), redirect_stderr(err):
            codes = [cli.run(words) for words in self._command_lines(stage, form)]
        if form == "json":
            for line in err.getvalue().splitlines():
                assert line.startswith("::") or isinstance(json.loads(line), dict), line
        places = self._places(directory, out.getvalue(), err.getvalue())
        sandbox.faults.clear()
        sandbox.record.clear()
        self.echo.spoils.clear()
        return places, stage.listening, codes

    def _command_lines(self, stage: Stage, form: str) -> Iterator[list[str]]:
        for index, command in enumerate(stage.commands):
            if index:
                stage.between()
                self.echo.next_command()
            yield [*_common(stage, form), *command, *self._outlets(stage)]

    @contextmanager
    def _surroundings(self, stage: Stage) -> Iterator[None]:
        """The clock that nobody waits for, and a clean environment with what the case and GitHub put there."""
        github = {"GITHUB_OUTPUT": stage.directory / "output", "GITHUB_STEP_SUMMARY": stage.directory / "summary"}
        given = {**stage.environment, **{name: str(path) for name, path in github.items()}, "LC_ALL": "C"}
        redact = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_RUNNER_", "GITHUB_"))}
        with (
            mock.patch.dict(os.environ, {**redact, **given}, clear=True),
            quick_runs(self.clock),
        ):
            yield

    def _stage(self, directory: Path) -> Stage:
        listening = Listening()
        self.echo.begin(listening)
        seed = base64.b32encode(random.randbytes(20)).decode()
        stage = Stage(directory, self.server, self.echo, listening, self.clock, canary(), canary(), seed)
        stage.secrets.mkdir()
        for name, value in (("username", stage.username), ("password", stage.password), ("totp_seed", seed)):
            stage.secret(name, value + "\n")
        return stage

    def _outlets(self, stage: Stage) -> list[str]:
        """Every way out there is."""
        directory = stage.directory
        (directory / "termination").touch()
        for name, text in (("push_password", "push"), ("hook_url", f"{self.ear.url}/hook")):
            (directory / name).touch(mode=0o600)
            (directory / name).write_text(text)
        chosen = {
            "report.file": directory / "report", "report.junit": directory / "junit", "report.html": directory / "page",
            "report.github": "always", "report.termination_log": directory / "termination",
            "metrics.textfile": directory / "textfile.prom", "metrics.pushgateway.url": self.ear.url,
            "metrics.pushgateway.username": "pusher", "metrics.pushgateway.password_file": directory / "push_password",
            "notify.ping.url": f"{self.ear.url}/ping", "notify.webhook.url_file": directory / "hook_url",
            "notify.webhook.when": "success,failure", "notify.webhook.body": '{"text": "${text}", "error": "${error}"}',
            "retry.attempts": 2, "retry.wait": "10ms", "poll.min": "5ms", "poll.max": "20ms", "deadline.run": "1h",
            "deadline.sync": "30m", "concurrency": 2, "log.progress_step": 1, **stage.settings,
        }  # fmt: skip
        return [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]

    def _places(self, directory: Path, out: str, err: str) -> dict[str, str]:
        pushed = "\n".join(on_response for on_response in self.ear.on_response if on_response.startswith("/metrics"))
        notified = "\n".join(
            on_response for on_response in self.ear.on_response if not on_response.startswith("/metrics")
        )
        files = {name: _text(directory / name) for name in FILES if name != "textfile"}
        files["textfile"] = _text(directory / "textfile.prom")
        # Also as a reader of the Markdown sees it.
        files["summary"] += html.unescape(re.sub(r"\\(.)", r"\1", files["summary"]))
        own = Path("/proc/self/cmdline").read_text()
        arguments = "\n".join([own, *(arguments for arguments, _ in _children)])
        environment = "\n".join(environment for _, environment in _children)
        kept = {"pushgateway": pushed, "notifications": notified, "arguments": arguments, "environment": environment}
        return {"stdout": out, "stderr": err, **kept, **files}


def _common(stage: Stage, form: str) -> list[str]:
    base_url = stage.base_url or stage.server.base_url
    return [
        "--base-url", base_url, "--secrets-dir", str(stage.secrets), "--state-dir", str(stage.state), "--log-format", form,
        *LEVEL,
    ]  # fmt: skip


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@contextmanager
def bench(year: Path) -> Iterator[Bench]:
    """A place to run at; `year` is data to sync, with days up to 2026-06-30."""
    _watch_children()
    ear = Eavesdropper()
    with echoing(SandboxSettings(port=0, kdf="fast", data=year)) as (server, echo):
        yield Bench(server, echo, ear)
    ear.close()


def planted(place: Bench, home: Path) -> set[tuple[str, str]]:
    """What the scanner finds when the runner is broken: a blind redactor, a secret as a label, a child that is told one."""
    found: set[tuple[str, str]] = set()

    def broken(name: str, number: int, arrange: Callable[[Stage], None]) -> None:
        directory = home / name
        directory.mkdir()
        with mock.patch.dict(CASES, {name: (arrange, set())}):
            places, listening, _ = place.run(name, number, directory)
        found.update(listening.leaks(places))

    def blind(stage: Stage) -> None:
        stage.stack.enter_context(mock.patch.object(Redactor, "add", lambda *_arguments, **_named: None))
        stage.fault(kind="job_fails", times=-1)
        stage.commands = [RUN, ["status"]]

    def labelled(stage: Stage) -> None:
        stage.settings["account"] = stage.password

    def told(stage: Stage) -> None:
        def exchange(*_arguments: Any) -> None:
            subprocess.run(["true", stage.password], env={"PASSWORD": stage.password})
            raise KeyError

        stage.stack.enter_context(mock.patch.object(Client, "exchange", exchange))

    broken("blind", 0, blind)
    broken("blind on a terminal", len(CASES) + 1, blind)
    broken("labelled", 0, labelled)
    broken("told", 0, told)
    return found


def part(seed: int, numbers: range) -> dict[str, Any]:
    """These runs of the campaign, one case after the other: codes, leaks, and the cases that ended with another code."""
    cases = list(CASES)
    codes: Counter[int] = Counter()
    leaks: Counter[str] = Counter()
    wrong: list[str] = []
    memory = Path("/dev/shm")  # fsync costs nothing there
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home, ExitStack() as stack:
        data.generate(Path(home) / "data", 7, date(2026, 6, 30))
        place = stack.enter_context(bench(Path(home) / "data"))
        missed = PLACES - {where for where, _ in planted(place, Path(home))}
        assert not missed, f"the scanner misses leaks in {missed}"
        for number in numbers:
            case = cases[number % len(cases)]
            directory = Path(home) / str(number)
            directory.mkdir()
            random.seed(f"{seed} {number}")
            place.echo.filler = random.choice((0, random.randrange(220)))
            places, listening, ended = place.run(case, number, directory)
            if not set(ended) <= CASES[case][1] | {0} or not set(ended) & CASES[case][1]:
                wrong.append(f"{number} {case}: {ended} {places['stderr'][-1000:]}")
            codes.update(ended)
            leaks.update(f"{number} {case}: {kind} in {where}" for where, kind in listening.leaks(places))
            shutil.rmtree(directory)
    return {"codes": codes, "leaks": leaks, "wrong": wrong}


def campaign(runs: int = 20_000, seed: int = 0, first: int = 0, processes: int = 2) -> Figures:
    """So many runs, and what came out in them. A campaign that was ended goes on with `first`."""
    codes: Counter[int] = Counter()
    leaks: Counter[str] = Counter()
    wrong: list[str] = []
    for made in in_parts(part, runs=runs, seed=seed, first=first, processes=processes):
        for found in (*made["leaks"], *made["wrong"]):
            print(found, file=sys.stderr, flush=True)
        codes.update(made["codes"])
        leaks.update(made["leaks"])
        wrong += made["wrong"]
    return {
        "cases": len(CASES), "seed": seed, "first": first, "runs": runs, "planted and found": len(PLACES),
        "codes": dict(sorted(codes.items())), "leaks": leaks.total(), "other codes": len(wrong),
        "cpu_minutes": cpu_minutes(), BROKEN: [*leaks, *wrong][:20],
    }  # fmt: skip


if __name__ == "__main__":
    main({"canary": campaign}, __doc__)
