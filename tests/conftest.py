"""Places to test at: a sandbox on a real socket with its user's secrets."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from runner.sandbox import data
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.support.command_line import CommandLine
from tests.support.ledgers import close_ledgers

settings.register_profile("steady", deadline=None)  # a busy machine is no broken promise
settings.load_profile("steady")


LAST_DAY = date(2026, 6, 30)


def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: most tests wait, for a process, a timer or an answer, half of their time."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="session")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated year of data, shared by all sandboxes of this process: they only read it."""
    directory = tmp_path_factory.mktemp("year") / "data"
    data.generate(directory, 7, LAST_DAY)
    return directory


@pytest.fixture(autouse=True)
def _ledgers() -> Iterator[None]:
    """Every ledger that the test opened is closed."""
    yield
    close_ledgers()


@pytest.fixture
def profile() -> str:
    """The profile by which the sandbox is spoken to; tests of job control run over both that fit it."""
    return "garminsync"


@pytest.fixture
def cli_with(year: Path, tmp_path: Path, profile: str) -> Iterator[Callable[..., CommandLine]]:
    """Makes a command line with a sandbox of its own, set up as asked."""
    with ExitStack() as stack:

        def make(**settings: Any) -> CommandLine:
            server = stack.enter_context(
                SandboxServer(SandboxSettings(**{"port": 0, "data": year, "kdf": "fast", **settings}))
            )
            home = tmp_path / f"home-{server.settings.port}-{len(list(tmp_path.iterdir()))}"
            home.mkdir()
            return CommandLine(server, home, profile)

        yield make


@pytest.fixture
def cli(cli_with: Callable[..., CommandLine]) -> CommandLine:
    """A command line with a sandbox that wants a one-time code and whose jobs take no longer than their work."""
    return cli_with()


@pytest.fixture
def dispositions_kept() -> Iterator[None]:
    """Runs in this process leave handlers of signals behind."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, disposition in before.items():
        signal.signal(number, disposition)
