"""Runs over success and every error path, each with secrets of its own that must not come out. `python -m tests.campaign.canary`.

Everything of the command line is real but the clock, which nobody waits for. The API repeats all it is told, in every
answer and many writings. The scanner is shown to find a leak in each of the places before it is believed.
"""

import argparse
import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

from runner import cli
from runner.commands import each_account, run as run_command
from runner.observe.metrics import MetricsListener
from runner.observe.redact import Redactor
from runner.sandbox import data
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.campaign.canary_cases import CASES, QuickClock, Stage
from tests.canary import Eavesdropper, Listening, canary
from tests.gossip import Gossip, gossiping

LEVEL = ("--log-level", "debug")
FILES = ("report", "junit", "page", "textfile", "termination", "summary", "output")
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


class Bench:
    """A worker's sandbox, eavesdropper and clock, for one run after the other."""

    def __init__(self, server: SandboxServer, gossip: Gossip, ear: Eavesdropper) -> None:
        self.server, self.gossip, self.ear = server, gossip, ear
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
        out, err = io.StringIO(), io.StringIO()
        _children.clear()
        self.ear.heard.clear()
        with stage.stack, _environment({**stage.environment, **_github(directory)}), redirect_stdout(out), redirect_stderr(err):
            codes = []
            for index, command in enumerate(stage.commands):
                if index:
                    stage.between()
                    self.gossip.next_command()
                codes.append(cli.run([*_common(stage, form), *command, *self._outlets(stage)]))
        if form == "json":
            for line in err.getvalue().splitlines():
                assert line.startswith("::") or isinstance(json.loads(line), dict), line
        places = self._places(directory, out.getvalue(), err.getvalue())
        sandbox.faults.clear()
        sandbox.record.clear()
        return places, stage.listening, codes

    def _stage(self, directory: Path) -> Stage:
        listening = Listening()
        self.gossip.begin(listening)
        seed = base64.b32encode(os.urandom(20)).decode()
        stage = Stage(directory, self.server, self.gossip, listening, self.clock, canary(), canary(), seed)
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
        pushed = "\n".join(heard for heard in self.ear.heard if heard.startswith("/metrics"))
        notified = "\n".join(heard for heard in self.ear.heard if not heard.startswith("/metrics"))
        files = {name: _text(directory / name) for name in FILES if name != "textfile"}
        files["textfile"] = _text(directory / "textfile.prom")
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


def _github(directory: Path) -> dict[str, str]:
    return {"GITHUB_OUTPUT": str(directory / "output"), "GITHUB_STEP_SUMMARY": str(directory / "summary")}


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SYNC_RUNNER_", "GITHUB_"))}
    with mock.patch.dict(os.environ, {**clean, **values}, clear=True):
        yield


@contextmanager
def bench() -> Iterator[Bench]:
    """A place to run at."""
    sys.addaudithook(_watch)
    with tempfile.TemporaryDirectory() as home:
        data.generate(Path(home) / "data", 7, date(2026, 6, 30))
        ear = Eavesdropper()
        with gossiping(SandboxSettings(port=0, kdf="fast", data=Path(home) / "data")) as (server, gossip):
            made = Bench(server, gossip, ear)
            with (
                mock.patch.object(run_command, "SystemClock", lambda: made.clock),
                mock.patch.object(each_account, "SystemClock", lambda: made.clock),
            ):
                yield made
        ear.close()


def runs(numbers: range) -> dict[str, Any]:
    """These runs of the campaign, one case after the other. Fails where a case ends with a code that it must not."""
    cases = list(CASES)
    codes: Counter[int] = Counter()
    leaks: Counter[tuple[str, str, str]] = Counter()
    with bench() as place, tempfile.TemporaryDirectory() as home:
        for number in numbers:
            case = cases[number % len(cases)]
            directory = Path(home) / str(number)
            directory.mkdir()
            places, listening, ended = place.run(case, number, directory)
            assert set(ended) <= CASES[case][1] | {0} and set(ended) & CASES[case][1], (case, ended, places["stderr"][-3000:])
            codes.update(ended)
            leaks.update((case, *leak) for leak in listening.leaks(places))
            shutil.rmtree(directory)
    return {"codes": codes, "leaks": leaks}


def main() -> None:
    """Run the campaign and print its figures as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    began = time.monotonic()
    parts = [range(first, asked.runs, asked.processes) for first in range(asked.processes)]
    codes: Counter[int] = Counter()
    leaks: Counter[tuple[str, str, str]] = Counter()
    with ProcessPoolExecutor(asked.processes) as pool:
        for part in pool.map(runs, parts):
            codes.update(part["codes"])
            leaks.update(part["leaks"])
    told = {"cases": len(CASES), "runs": asked.runs, "codes": dict(sorted(codes.items())), "leaks": leaks.total()}
    print(json.dumps({"campaign": "canary", **told, "seconds": round(time.monotonic() - began, 1)}))
    sys.exit("\n".join(map(str, leaks.most_common(50))) if leaks else 0)


if __name__ == "__main__":
    main()
