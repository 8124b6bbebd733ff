"""Writes docs/messages.md: sixty mistakes, each made for real against the embedded API, and the message that the runner gives.

Values that differ from run to run (ports, paths, times) stand as placeholders.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import ExitCode
from runner.models import Outcome
from runner.outcomes import MEANINGS
from runner.sandbox.command import write_secrets
from runner.sandbox.faults import parse
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings

PAGE = Path(__file__).parents[1] / "docs" / "messages.md"
HEAD = """# Messages

What the runner says to sixty mistakes: what is wrong, where, and what to do. Each mistake was made for real; the page is written
by `make docs`, and a test makes them again. `code` is the exit code. Under a message stands what the log, the report and the
summary at a terminal add as the next step (`remedy`); with code 2 it is always: {usage}
"""
_USAGE = (ExitCode.USAGE.remedy, MEANINGS[Outcome.CONFIGURATION].remedy)
Change = Callable[["Place"], None]
Run = Callable[[list[str], dict[str, str], Path], tuple[int, str]]


@dataclass
class Place:
    """Where one mistake is made: a folder with secrets, and an API."""

    home: Path
    url: str
    words: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> Path:
        """The folder with the secret files."""
        return self.home / "secrets"

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in the home folder."""
        path = self.home / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


@dataclass(frozen=True)
class Mistake:
    """One mistake: its title, the words after the common ones, and what is changed before."""

    title: str
    words: str = "run health"
    before: Change = lambda _place: None
    variables: dict[str, str] = field(default_factory=dict)
    base_url: str | None = None
    sandbox: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Mistakes of one kind share an API."""
        return repr((self.sandbox, self.faults))

    @property
    def settings(self) -> SandboxSettings:
        """The API of this kind; one without a second factor, where a mistake is not about that."""
        faults = tuple(map(parse, self.faults))
        return SandboxSettings(
            **{"port": 0, "kdf": "fast", "mfa": "none", "job_seconds": 0.0, "faults": faults, **self.sandbox}
        )


def _secret(name: str, content: str | bytes | None) -> Change:
    def change(place: Place) -> None:
        path = place.secrets / name
        path.unlink()
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def _fifo(place: Place) -> None:
    (place.secrets / "password").unlink()
    os.mkfifo(place.secrets / "password")


def _config(text: str | bytes) -> Change:
    def change(place: Place) -> None:
        place.words += ["--config", str(place.write("runner.yaml", text))]

    return change


def _profile(text: str) -> Change:
    def change(place: Place) -> None:
        place.words += ["--profile", str(place.write("profile.yaml", text))]

    return change


def _closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


QUICK = "--set retry.attempts=2 --set retry.wait=10ms --set retry.max_wait=20ms"
MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "Command line": (
        Mistake("a command that does not exist", "rnu"),
        Mistake("an option that does not exist", "run health --strat -7d"),
        Mistake("an option of another program", "run health --dry"),
        Mistake("a value that an option does not know", "--log-format xml run health"),
        Mistake("`--set` without a value", "--set deadline.run run health"),
        Mistake("`--set` of a key that does not exist", "--set dedline.run=5m run health"),
        Mistake("`--set` of a section", "--set deadline=5m run health"),
        Mistake("dates without a sync type", "run --start -7d"),
        Mistake("a parameter without a value", "run health --param days"),
        Mistake("an account that does not exist", "--account nobody run health"),
        Mistake("an impossible limit", "status --limit 0"),
        Mistake("offline without a state directory", "status --offline"),
        Mistake("a login that nothing keeps", "login"),
        Mistake("help for what does not exist", "help rnu"),
    ),
    "Settings": (
        Mistake("no syncs", "run"),
        Mistake("a sync type that does not exist", "run helth"),
        Mistake("a date that is none", "run health --start yesteryear"),
        Mistake("a time zone that does not exist", "--set time_zone=Europe/Nowhere run health --start -7d"),
        Mistake("a duration without a unit that exists", "--set deadline.run=5x run health"),
        Mistake("a number out of bounds", "--set concurrency=0 run health"),
        Mistake("a word where a number belongs", "--set limits.accounts=many run health"),
        Mistake("a word that is not among the known ones", "--set on_failure=retry run health"),
        Mistake("a variable that does not exist", variables={"SYNC_RUNNER_BASEURL": "x"}),
        Mistake("a list that is not JSON", "run", variables={"SYNC_RUNNER_ACCOUNTS": "a,b"}),
        Mistake("a key of the file that does not exist", "run", _config("sync: [health]\n")),
        Mistake("a key that stands twice", "run", _config("syncs: [health]\nsyncs: [workouts]\n")),
        Mistake("a file that is not YAML", "run", _config("syncs: [health\n")),
        Mistake("a file that is not there", "--config nowhere.yaml run"),
        Mistake("a file that is a list", "run", _config("- health\n")),
        Mistake(
            "a sync that comes after an unknown one", "run", _config("syncs: [{type: health, after: [workouts]}]\n")
        ),
        Mistake("a password in the address", base_url="https://me:secret@sync.example.org"),
        Mistake("an address without a scheme", base_url="sync.example.org"),
        Mistake("plain http to another machine", base_url="http://sync.example.org"),
        Mistake(
            "both `accounts` and `accounts_dir`",
            "--set accounts_dir=. run",
            _config("accounts: [{name: a, secrets_dir: .}]\nsyncs: [health]\n"),
        ),
        Mistake("a shard that is none", "run health --shard 4/4"),
    ),
    "Secrets": (
        Mistake("no password file", before=_secret("password", None)),
        Mistake("an empty password file", before=_secret("password", "")),
        Mistake("a password of two lines", before=_secret("password", "one\ntwo\n")),
        Mistake("a password file that is not UTF-8", before=_secret("password", b"\xff\xfe\xfd")),
        Mistake("a password file that is a pipe", before=_fifo),
        Mistake("a wrong password", before=_secret("password", "not-this-one")),
        Mistake("a seed that is not Base32", before=_secret("totp_seed", "not a seed!")),
        Mistake("a code instead of a seed", before=_secret("totp_seed", "123456")),
        Mistake(
            "a counter-based seed", before=_secret("totp_seed", "otpauth://hotp/x?secret=JBSWY3DPEHPK3PXPJBSWY3DP")
        ),
        Mistake("no seed, though the account wants a code", before=_secret("totp_seed", None), sandbox={"mfa": "totp"}),
        Mistake(
            "both the variable and the file of a secret",
            variables={"SYNC_RUNNER_PASSWORD": "a", "SYNC_RUNNER_PASSWORD_FILE": "b"},
        ),
    ),
    "Network": (
        Mistake("nothing listens there", f"{QUICK} run health", base_url="CLOSED"),
        Mistake("a name that does not exist", f"{QUICK} run health", base_url="https://no-such-host.invalid"),
        Mistake("https where the server speaks http", f"{QUICK} run health", base_url="TLS"),
        Mistake(
            "a CA file that is not there", "--set tls.ca_file=nowhere.pem run health", base_url="https://127.0.0.1:1"
        ),
        Mistake(
            "a proxy variable that cannot be read",
            base_url="https://sync.example.org",
            variables={"HTTPS_PROXY": "http://proxy:99999"},
        ),
        Mistake(
            "a server that fails", f"{QUICK} run health", faults=("kind=status,status=503,endpoint=login,times=-1",)
        ),
        Mistake("a deadline that is too short", "--set deadline.run=5s run health", sandbox={"job_seconds": 30.0}),
    ),
    "The API": (
        Mistake("the account is locked", faults=("kind=status,status=423,endpoint=login,times=-1",)),
        Mistake(
            "a login answer that the profile does not know", faults=("kind=status,status=418,endpoint=login,times=-1",)
        ),
        Mistake("a trigger that is refused", faults=("kind=status,status=400,endpoint=trigger,times=-1",)),
        Mistake("a job that fails", faults=("kind=job_fails,times=-1",)),
        Mistake("a job to cancel that does not exist", "cancel nosuch"),
        Mistake("a profile that does not exist", "--profile garmin run health"),
        Mistake("a profile that is not valid", before=_profile("version: 1\ndescription: x\n")),
        Mistake("another API's profile", "--profile awx run health"),
    ),
}


def run(words: list[str], variables: dict[str, str], directory: Path) -> tuple[int, str]:
    """The exit code and the log of a command line, with only these environment variables, in that directory."""
    ended = subprocess.run(
        [sys.executable, "-m", "runner", *words],
        capture_output=True, text=True, check=False, cwd=directory, timeout=120, stdin=subprocess.DEVNULL,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), **variables},
    )  # fmt: skip
    return ended.returncode, ended.stderr


def page(run: Run = run) -> str:
    """The page, with every mistake made anew."""
    flat = [mistake for group in MISTAKES.values() for mistake in group]
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        servers: dict[str, SandboxServer] = {}
        for mistake in flat:
            if mistake.kind not in servers:
                servers[mistake.kind] = stack.enter_context(SandboxServer(mistake.settings))
        made = pool.map(lambda mistake: _made(mistake, servers[mistake.kind], run), flat)
        told = dict(zip([mistake.title for mistake in flat], made, strict=True))
    lines = [HEAD.format(usage=ExitCode.USAGE.remedy)]
    for group, mistakes in MISTAKES.items():
        lines += [f"## {group}", "", "| mistake | code | message |", "| --- | --- | --- |"]
        lines += [
            f"| {mistake.title} | {told[mistake.title][0]} | {_cell(told[mistake.title][1])} |" for mistake in mistakes
        ]
        lines.append("")
    return "\n".join(lines)


def _cell(messages: list[str]) -> str:
    return "<br>".join(message.replace("|", "\\|").replace("<", "&lt;") for message in messages)


def _made(mistake: Mistake, server: SandboxServer, run: Run) -> tuple[int, list[str]]:
    """The exit code and the messages of one mistake."""
    with tempfile.TemporaryDirectory() as home:
        place = Place(Path(home), server.base_url)
        write_secrets(place.secrets, server.credentials)
        mistake.before(place)
        code, log = run(_words(mistake, place), {"PATH": os.environ["PATH"], **mistake.variables}, Path(home))
        return code, [_steady(text, place) for text in _messages(log)]


def _words(mistake: Mistake, place: Place) -> list[str]:
    known = {None: place.url, "CLOSED": _closed_port(), "TLS": place.url.replace("http:", "https:")}
    url = known.get(mistake.base_url, mistake.base_url)
    return ["--base-url", str(url), "--secrets-dir", str(place.secrets), *place.words, *mistake.words.split()]


def _messages(log: str) -> Iterator[str]:
    """The errors of a log, each once, and then what to do next, but for code 2."""
    seen: set[str] = set()
    remedies: dict[str, None] = {}
    for line in log.splitlines():
        told = json.loads(line)
        if told["level"] == "error" and told["event"] in ("run.failed", "sync.ended") and told.get("error"):
            text = str(told["error"])
            if text not in seen:
                seen.add(text)
                remedies[f"Next: {told['remedy']}"] = None
                yield text
    yield from (remedy for remedy in remedies if remedy.removeprefix("Next: ") not in _USAGE)


def _steady(text: str, place: Place) -> str:
    """The text with placeholders for what differs from run to run."""
    text = text.replace(str(place.home), "HOME")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\bjob [0-9a-z-]{6,}", "job ID", text)
    return re.sub(r"\d+(\.\d+)? s\b", "N s", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
