"""One more of a kind is one file: a toy of each, as another package brings it, found by the real command line."""

import argparse
import json
import sys
import types
from pathlib import Path
from textwrap import dedent

import pytest

from runner import commands, parser
from tests.support.command_line import CommandLine, sync_runner
from tests.support.in_process import command_here

TOYS = {
    "sync_runner.outputs": (
        "toy_output:Toy",
        '''
        """An output: writes the run's exit code into a file. It brings a metric too, among the run's own."""
        from collections import Counter
        from pathlib import Path
        from runner.outputs.interface import Output

        class Toy(Output):
            name = "toy"
            uses_metrics = True

            def open(self):
                self.seen = Counter()

            def take(self, record):
                self.seen[record.event.name] += 1

            def end(self, ended):
                from prometheus_client import Gauge

                events = Gauge("toy_events", "Events of the run.", ("event",), registry=self.context.metrics.load().of_run)
                for name, count in self.seen.items():
                    events.labels(name).set(count)

            def write(self, ended, seconds):
                Path(self.context.settings.outputs["toy"]["path"]).write_text(str(int(ended.report.exit_code)))
        ''',
    ),
    "sync_runner.secret_sources": (
        "toy_secrets:Toy",
        '''
        """A source of secrets: reversed words in one file."""
        import json
        from pathlib import Path

        class Toy:
            def __init__(self, options):
                self._file = Path(options.environment["TOY_VAULT"])

            def place(self, name):
                return f"vault:{name}" if name in json.loads(self._file.read_text()) else None

            def read(self, name):
                found = json.loads(self._file.read_text()).get(name)
                return None if found is None else found[::-1]

            def looked_at(self, name):
                return f"vault:{name}"
        ''',
    ),
    "sync_runner.code_sources": (
        "toy_codes:open_source",
        '''
        """A source of one-time codes: an authenticator of another make."""
        import pyotp
        from runner.auth.code_sources.interface import Code, keep_used

        class Toy:
            once, stale, by_person = False, True, False

            def __init__(self, options):
                self._seed = options.reader.require("totp_seed")

            async def begin(self, deadline):
                pass

            async def next(self, wanted):
                code = pyotp.TOTP(self._seed).now()
                await keep_used(wanted.held, code)
                return Code(code)

            def give_back(self, held, before):
                pass

            async def check(self, deadline):
                return "ready"

        def open_source(options):
            return Toy(options)
        ''',
    ),
    "sync_runner.state": (
        "toy_state:open_state",
        '''
        """A place for the state: one pickle, without a lock."""
        from contextlib import asynccontextmanager
        from pathlib import Path
        from runner.state.interface import LoadedState
        from runner.state.memory import MemoryState
        from runner.state.record import AccountState

        class Store:
            def __init__(self, path, codec):
                self._path, self._codec = path, codec

            async def read(self, deadline):
                return self._codec.decode(self._path.read_bytes()) if self._path.exists() else AccountState()

            @asynccontextmanager
            async def hold(self, deadline):
                async def save(state):
                    self._path.write_bytes(self._codec.encode(state))

                held = LoadedState(await self.read(deadline), float("inf"), save)
                yield held
                await held.keep()

        class State(MemoryState):
            def __init__(self, directory):
                super().__init__()
                self._directory = directory

            def account(self, key, options):
                return Store(self._directory / key, options.codec)

        def open_state(options):
            return State(Path(options.settings.url.removeprefix("toy://")))
        ''',
    ),
}


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A directory for PYTHONPATH in which the toys are installed, as pip would leave them."""
    installed = tmp_path / "site"
    about = installed / "toys-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    points = []
    for group, (place, text) in TOYS.items():
        (installed / f"{place.partition(':')[0]}.py").write_text(dedent(text))
        points += [f"[{group}]", f"toy = {place}"]
    (about / "entry_points.txt").write_text("\n".join(points))
    return installed


def test_an_output_a_metric_a_source_of_secrets_or_codes_and_a_state_are_one_file_each(
    cli: CommandLine, toys: Path
) -> None:
    code, metrics, kept, vault = (cli.home / name for name in ("code", "metrics.prom", "kept", "vault.json"))
    kept.mkdir()
    secrets = {path.name: path.read_text().strip()[::-1] for path in cli.secrets.iterdir() if path.is_file()}
    vault.write_text(json.dumps(secrets))
    given = {"PYTHONPATH": str(toys), "TOY_VAULT": str(vault), "SYNC_RUNNER_SECRET_SOURCES": '["toy"]'}
    words = ["--base-url", cli.server.base_url, "--secrets-dir", str(cli.home / "nothing"), "--set"]
    words += [f"outputs.toy.path={code}", "--set", f"metrics.textfile={metrics}", "--set", f"state.url=toy://{kept}"]
    words += ["--set", "code.source=toy"]
    first = sync_runner(*words, "run", "health", **given)
    assert first.code == 0, first.errors
    assert code.read_text() == "0"
    assert 'toy_events{event="sync.ended"} 1.0' in metrics.read_text()
    assert len(list(kept.iterdir())) == 1
    assert sync_runner(*words, "run", "health", **given).code == 0
    logins = [one["endpoint"] for one in cli.record()["requests"]].count("login")
    assert logins == 2  # password and code: the second run has the first's session


def test_a_command_is_one_module_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_arguments(words: argparse.ArgumentParser) -> None:
        words.add_argument("--louder", action="store_true", help="say it loudly")

    def execute(arguments: argparse.Namespace) -> int:
        print("HELLO" if arguments.louder else "hello")
        return 0

    toy = types.ModuleType("runner.commands.greet")
    toy.add_arguments, toy.execute = add_arguments, execute  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, toy.__name__, toy)
    monkeypatch.setattr(commands, "greet", toy, raising=False)
    monkeypatch.setitem(parser.COMMANDS, "greet", "greet whoever reads this")
    assert command_here(["greet", "--louder"])[:2] == (0, "HELLO\n")
    assert "greet whoever reads this" in command_here(["--help"])[1]
    assert "say it loudly" in command_here(["help", "greet"])[1]
