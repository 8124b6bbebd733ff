"""Settings: one meaning each, clear errors that name key and place, and never a value."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.settings import load, parse_duration

BASE = {"base_url": "https://sync.example.org"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("SYNC_RUNNER_"):
            monkeypatch.delenv(name)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "runner.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1d", 86400),
        ("7", 7),
        (" 1.5S ", 1.5),
    ],
)
def test_a_duration_has_a_unit_or_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "m5", "-5s", "1h 30m", "5y"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="deadline.run: give a duration such as 250ms, 30s, 5m"):
        load({**BASE, "deadline": {"run": text}})


@pytest.mark.parametrize("value", ["9" * 400, f"{'9' * 400}s", "11575d", "1000000001", float("inf"), 1e9 + 1, 10**400])
def test_a_duration_beyond_what_a_clock_can_wait_is_refused(value: Any) -> None:
    for name in ("run", "sync"):
        with pytest.raises(UsageError, match=f"deadline.{name}: give a"):
            load({**BASE, "deadline": {name: value}})


@pytest.mark.parametrize(
    "address",
    ["//me:mango-7@db/x", "//me:@db/x", "//me@db/x?password=mango-7", "//me@db/x?a=b&pass%77ord=mango-7", "//me@db/x?sslpassword=mango-7"],
)  # fmt: skip
def test_a_password_in_the_address_of_a_database_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UsageError, match="state.url: contains a password; mount it as the secret") as refused:
        load({**BASE, "state": {"url": f"postgresql:{address}"}})
    assert "mango" not in str(refused.value)


def test_an_address_of_a_database_without_sense_is_refused() -> None:
    with pytest.raises(UsageError, match=r"state\.url: invalid address; write postgresql://user@host/database"):
        load({**BASE, "state": {"url": "postgresql://[x/db"}})


def test_the_address_of_a_database_may_hold_its_other_parameters() -> None:
    address = "postgresql://me@one,two:5433/x?sslmode=verify-full&passfile=/run/secrets/pgpass"
    assert load({**BASE, "state": {"url": address}}).settings.state.url == address


@given(st.integers(0, 10**4), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_every_whole_duration_is_read_back(number: int, unit: str) -> None:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * units[unit])


def test_the_command_line_is_stronger_than_the_environment_and_that_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _file(tmp_path, "base_url: https://file.example\nconcurrency: 2\nretry:\n  attempts: 3\n  wait: 2s\n")
    monkeypatch.setenv("SYNC_RUNNER_CONCURRENCY", "4")
    monkeypatch.setenv("SYNC_RUNNER_RETRY__ATTEMPTS", "7")
    loaded = load({"retry": {"attempts": 9}}, config)
    assert loaded.settings.base_url == "https://file.example"
    assert (loaded.settings.concurrency, loaded.settings.retry.attempts, loaded.settings.retry.wait) == (4, 9, 2.0)
    assert loaded.sources[("base_url",)] == f"{config}:1"
    assert loaded.sources[("concurrency",)] == "SYNC_RUNNER_CONCURRENCY"
    assert loaded.sources[("retry", "attempts")] == "command line"
    assert loaded.sources[("retry", "wait")] == f"{config}:5"


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_RUNNER_CONFIG", str(_file(tmp_path, "base_url: https://file.example")))
    assert load({}).settings.base_url == "https://file.example"


@pytest.mark.parametrize(
    "given_syncs",
    ["activities, health", ["activities", {"type": "health"}], '["activities", {"type": "health"}]'],
)
def test_syncs_are_written_short_or_long(given_syncs: Any) -> None:
    assert [sync.type for sync in load({**BASE, "syncs": given_syncs}).settings.syncs] == ["activities", "health"]


def test_syncs_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_RUNNER_SYNCS", "activities,health")
    assert [sync.name for sync in load(BASE).settings.syncs] == ["activities", "health"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("base_url: https://x.example\nretry:\n  atempts: 3\n", "runner.yaml:3: retry.atempts: no such setting; did you mean `retry.attempts`?"),
        ("base_url: https://x.example\nattempts: 3\n", "runner.yaml:2: attempts: no such setting; did you mean `retry.attempts`?"),
        ("base_url: https://x.example\nsyncs:\n  - health\n  - type: x\n    begin: 1\n", "runner.yaml:5: syncs.1.begin: no such setting; known here: type, name"),
        ("base_url: https://u:geheim@x.example\n", "runner.yaml:1: base_url: remove the user and password from the URL"),
        ("base_url: https://x.example?key=geheim\n", "runner.yaml:1: base_url: the URL must not contain ? or #"),
        ("base_url: https://x.example\nretry:\n  attempts: 0\n", "runner.yaml:3: retry.attempts: give a number of at least 1"),
        ("base_url: https://x.example\nbase_url: https://y.example\n", "runner.yaml:2: the key `base_url` is used twice"),
        ("- a\n", "the file must contain keys and values"),
        ("base_url: [\n", "not valid YAML"),
        ("base_url: \x00\n", "not valid YAML"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_fault_in_the_file_names_line_key_and_remedy_and_never_the_value(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load({}, _file(tmp_path, text))
    assert told in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_file_that_is_too_large_or_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load({}, tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="larger than"):
        load({}, _file(tmp_path, "#" * (2 << 20)))


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("SYNC_RUNNER_RETRY__ATEMPTS", "did you mean SYNC_RUNNER_RETRY__ATTEMPTS?"),
        ("SYNC_RUNNER_PASSWORT", "did you mean SYNC_RUNNER_PASSWORD?"),
        ("SYNC_RUNNER_ZZZ", "`sync-runner config schema` lists all"),
    ],
)
def test_an_unknown_variable_is_an_error_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, told: str
) -> None:
    monkeypatch.setenv(variable, "geheim")
    with pytest.raises(UsageError) as caught:
        load(BASE)
    assert variable in str(caught.value)
    assert told in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_variable_that_should_be_json_and_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_RUNNER_ACCOUNTS", "geheim")
    with pytest.raises(UsageError, match="SYNC_RUNNER_ACCOUNTS: not valid JSON") as caught:
        load(BASE)
    assert "geheim" not in str(caught.value)


def test_a_fault_in_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_RUNNER_DEADLINE__RUN", "geheim")
    with pytest.raises(UsageError) as caught:
        load(BASE)
    assert str(caught.value).startswith("SYNC_RUNNER_DEADLINE__RUN: deadline.run: give a duration")
    assert "geheim" not in str(caught.value)
