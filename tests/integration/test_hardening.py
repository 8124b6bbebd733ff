"""What a running process gives away of its secrets: no core dump, no arguments, nothing in /proc for its own user."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

MakeCommandLine = Callable[..., CommandLine]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="core dumps and /proc are looked at as Linux has them")


def test_a_running_process_dumps_no_core_and_shows_no_secret_to_others(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    running = cli.start("run", "health", SYNC_RUNNER_TOTP_SEED="JBSWY3DPEHPK3PXP")
    cli.until("running")
    proc = Path(f"/proc/{running.process.pid}")
    limits = (proc / "limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4:6] == [
        "0",
        "0",
    ]
    command = (proc / "cmdline").read_bytes().decode()
    for secret in (cli.server.settings.password, cli.server.settings.totp_seed):
        assert secret not in command
    running.signal(signal.SIGTERM)
    assert running.finish().code == 143


def test_a_run_may_open_as_many_files_as_the_hard_limit_allows(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    limited = ["sh", "-c", 'ulimit -S -n 700; ulimit -H -n 800; exec "$@"', "sh", sys.executable, "-m", "runner"]
    with subprocess.Popen([*limited, *cli.options(), "run", "health"], stderr=subprocess.DEVNULL) as running:
        cli.until("running")
        limits = Path(f"/proc/{running.pid}/limits").read_text()
        running.terminate()
        assert running.wait(30) == 143
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["800", "800"]


def test_the_process_is_not_dumpable() -> None:
    script = (
        "import ctypes, runner.hardening as hygiene; libc = ctypes.CDLL(None);"
        "before = libc.prctl(3, 0, 0, 0, 0); hygiene.seal_process(); print(before, libc.prctl(3, 0, 0, 0, 0))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert told == ["1", "0"]
