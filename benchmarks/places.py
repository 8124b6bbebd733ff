"""What is measured, and against what: environments of their own under build/bench, and the sandbox as a process."""

import functools
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process import measured

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
BEFORE = "a4c3905"  # the last commit before the work on speed
UV = [str(Path(sys.executable).with_name("uv"))]
PEERS = {"prefect": ["prefect"], "airflow": ["apache-airflow", "apache-airflow-providers-http"]}


@functools.cache
def interpreter() -> str:
    """The distribution's Python where that is recent enough, for that is what users have; else the one that runs this."""
    system = shutil.which("python3", path="/usr/bin")
    recent = [system, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"] if system else ["false"]
    return system if system and subprocess.run(recent, check=False).returncode == 0 else sys.executable


def environment(name: str, *packages: str, python: str | None = None) -> Path:
    """The Python of an environment with these packages, their byte-code compiled; made where it is not there."""
    made = BUILD / name / "bin" / "python"
    if not made.exists():
        subprocess.run([*UV, "venv", "-q", "-p", python or interpreter(), str(BUILD / name)], check=True)
    subprocess.run([*UV, "pip", "install", "-q", "--compile-bytecode", "--python", str(made), *packages], check=True)
    return made


@functools.cache
def runner() -> Path:
    """The runner as users install it: a wheel of this tree and its locked requirements."""
    return installed(interpreter())


@functools.cache
def installed(python: str) -> Path:
    """The same with an interpreter given by its path or version."""
    name = f"runner-{python.strip('/').replace('/', '-')}"
    tree = ("-r", str(ROOT / "requirements.lock"), "--reinstall-package", "sync-runner", str(ROOT))
    return environment(name, *tree, python=python)


@functools.cache
def before() -> Path:
    """The runner as it was, with the same libraries."""
    tree = BUILD / "tree"
    subprocess.run(["git", "-C", str(ROOT), "worktree", "prune"], check=True)
    if not tree.exists():
        subprocess.run(["git", "clone", "-q", "--no-checkout", str(ROOT), str(tree)], check=True)
        subprocess.run(["git", "-C", str(tree), "checkout", "-q", BEFORE], check=True)
    return environment("before", "-r", str(ROOT / "requirements.lock"), str(tree))


def command_of(python: Path) -> str:
    """The environment's `sync-runner`; `python -m runner` would take this tree instead."""
    return str(python.with_name("sync-runner"))


@dataclass(frozen=True, slots=True)
class Place:
    """A sandbox that is up, the secrets of its user, and room for state."""

    base_url: str
    admin: str
    home: Path
    pid: int

    def options(self, state: str) -> list[str]:
        """What each command line of the runner begins with."""
        common = ["--base-url", self.base_url, "--secrets-dir", str(self.home / "secrets")]
        return [*common, "--state-dir", str(self.home / state), "--log-format", "json"]

    def record(self) -> Any:
        """What the server saw and did."""
        request = urllib.request.Request(
            f"{self.base_url}/admin/record", headers={"Authorization": f"Bearer {self.admin}"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def token(self, state: str) -> str:
        """The token that the runner keeps in that state directory."""
        kept = next((self.home / state / "sessions").glob("*.json"))
        found: str = json.loads(kept.read_text())["session"]["access_token"]
        return found

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the sandbox has taken so far."""
        parts = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def sandbox(home: Path, *options: str) -> Iterator[Place]:
    """A sandbox on a free port of the loopback, gone with the block."""
    command = [sys.executable, "-m", "runner", "sandbox", "--port", "0", "--kdf", "fast", "--print-credentials"]
    command += ["--access-token-lifetime", "86400", "--write-secrets", str(home / "secrets"), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield Place(told["base_url"], told["admin_token"], home, process.pid)
    finally:
        process.terminate()
        process.wait()


def log_in(python: Path, place: Place, state: str) -> None:
    """Have the runner of `python` keep a token."""
    measured([command_of(python), *place.options(state), "login"])
