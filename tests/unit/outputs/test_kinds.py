"""One more output is one class: here a toy in one file, found by its entry point, and what a broken one may not do."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from runner.clock import SystemClock
from runner.errors import UsageError
from runner.events import events
from runner.events.observer import Record
from runner.models import RunResult
from runner.outputs.assembly import open_outputs
from runner.outputs.interface import Ended, Output
from runner.outputs.kinds import GROUP
from runner.settings import Settings
from tests.support.outputs import RUN_ID


class Toy(Output):
    """Keeps what it is told."""

    name = "toy"
    told: ClassVar[list[str]] = []

    def open(self) -> None:
        self.told.append(f"open {self.context.settings.outputs['toy']['colour']}")

    def take(self, record: Record) -> None:
        self.told.append(record.event.name)

    def write(self, ended: Ended, seconds: float) -> str | None:
        self.told.append(f"write {int(ended.report.exit_code)}")
        return None

    @property
    def push_seconds(self) -> float | None:
        return 30.0

    def push(self, ended: Ended, seconds: float) -> str | None:
        self.told.append("push")
        return "nobody is there"

    def close(self) -> None:
        self.told.append("close")


class Broken(Toy):
    """Raises whenever it can."""

    def take(self, record: Record) -> None:
        raise RuntimeError("secret words")

    def write(self, ended: Ended, seconds: float) -> str | None:
        raise RuntimeError("secret words")


@pytest.fixture(autouse=True)
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def found(*, group: str) -> list[EntryPoint]:
        assert group == GROUP
        place = "tests.unit.outputs.test_kinds"
        values = {
            "toy": f"{place}:Toy",
            "broken": f"{place}:Broken",
            "gone": "no.such:Thing",
            "none": f"{place}:points",
        }
        return [EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr("importlib.metadata.entry_points", found)
    Toy.told.clear()
    yield


def run(capsys: pytest.CaptureFixture[str], **outputs: dict[str, Any]) -> str:
    """A run that does nothing, with these outputs; its log."""
    settings = Settings(base_url="https://x.example", outputs=outputs, report={"termination_log": None})  # type: ignore[arg-type]
    with open_outputs(settings, SystemClock(), with_metrics=True) as made:
        made.observer.emit(events.SecretsRotated())
        made.observer.emit(events.SecretsRotated())
        made.finish(RunResult(RUN_ID, 0, 1.0, 2.0, "https://x.example", "p"))
    return capsys.readouterr().err


def test_an_output_of_another_package_is_opened_told_written_pushed_and_closed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = run(capsys, toy={"colour": "red"})
    assert Toy.told == [
        "open red", "login.secrets_rotated", "login.secrets_rotated", "write 0", "push", "emit.failed", "close",
    ]  # fmt: skip
    assert '"target": "toy", "error": "nobody is there"' in log


def test_a_broken_output_is_told_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    log = run(capsys, broken={"colour": "red"}, toy={"colour": "blue"})
    assert log.count("it receives no more events") == 1 and "secret words" not in log
    assert "write 0" in Toy.told  # the other one


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("unknown", "no installed package provides this output"),
        ("gone", "cannot be loaded"),
        ("none", "is not a class derived"),
    ],
)
def test_an_output_that_nobody_brings_is_a_usage_error(name: str, problem: str) -> None:
    settings = Settings(base_url="https://x.example", outputs={name: {}})
    with pytest.raises(UsageError, match=problem), open_outputs(settings, SystemClock(), with_metrics=True):
        pass


def test_entry_points_are_looked_up_only_where_a_setting_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_words: object) -> None:
        raise AssertionError("looked up")

    monkeypatch.setattr("importlib.metadata.entry_points", never)
    with open_outputs(Settings(base_url="https://x.example"), SystemClock(), with_metrics=True):
        pass


def test_an_error_that_ends_a_command_is_redacted_before_who_knows_no_secrets_shows_it() -> None:
    """The database's words, say: they come when the outputs are closed."""
    with (
        pytest.raises(UsageError) as raised,
        open_outputs(Settings(base_url="https://x.example"), SystemClock()) as made,
    ):
        made.add_secret("hunter2-Sekr3t!")
        raise UsageError("PostgreSQL refuses (no such user aHVudGVyMi1TZWtyM3Qh, hunter2-Sekr3t!)")
    assert str(raised.value) == "PostgreSQL refuses (no such user ***, ***)"
