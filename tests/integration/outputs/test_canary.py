"""Random secrets never come out, whatever goes wrong and even where the API repeats them; every log line fits its schema."""

import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runner import cli
from runner.events.events import ALL
from runner.events.observer import Record
from runner.outputs.report_model import schema as report_schema
from runner.sandbox.command import write_secrets
from runner.sandbox.settings import SandboxSettings
from tests.campaign import canary as campaign
from tests.campaign.canary import Bench
from tests.campaign.canary_cases import CASES
from tests.campaign.log_lines import check_lines
from tests.integration.outputs.conftest import Runner, sandbox_runner, settings
from tests.support.echoing_sandbox import echoing
from tests.support.leak_scanner import ODD
from tests.support.outputs import json_log


@pytest.fixture(scope="module")
def bench(year: Path) -> Iterator[Bench]:
    """Where the campaign runs."""
    with campaign.bench(year) as made:
        yield made


def test_the_scanner_finds_a_leak_in_each_place(bench: Bench, tmp_path: Path) -> None:
    found = campaign.planted(bench, tmp_path)
    assert {place for place, _ in found} == campaign.PLACES
    for place in ("stdout", "stderr", "report", "notifications"):
        assert {kind for where, kind in found if where == place} >= {"raw", "url", "base64", "json"}


@pytest.mark.parametrize("case", CASES)
def test_no_secret_comes_out_by_any_way(case: str, bench: Bench, tmp_path: Path) -> None:
    for number in (0, len(CASES))[: 1 + (len(case) % 4 == 0)]:  # as JSON, and some for a terminal too
        directory = tmp_path / str(number)
        directory.mkdir()
        places, listening, codes = bench.run(case, number, directory)
        assert listening.leaks(places) == set()
        assert set(codes) & CASES[case][1]
        if number == 0:
            check_lines(places["stderr"])


@pytest.mark.parametrize("password", ["level", "error", "event", "info", "default", "2026", "1"])
def test_a_password_that_is_one_of_our_words_breaks_no_line_no_report_and_no_annotation(
    password: str, tmp_path: Path, year: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with echoing(SandboxSettings(port=0, kdf="fast", data=year, password=password)) as (server, _gossip):
        write_secrets(tmp_path / "secrets", server.credentials)
        runner = Runner(server, tmp_path / "secrets", tmp_path)
        runner.fault(kind="job_fails", times=-1)
        words = settings(report__github="always", log__level="debug")
        assert cli.run([*runner.command()[3:], "run", "health", *words, "--report", "-"]) == 4
    out, err = capfd.readouterr()
    assert check_lines(err)["sync.ended"] == 1
    report = json.loads(out)
    jsonschema.validate(report, report_schema())
    [sync] = report["syncs"]
    assert (sync["account"], sync["outcome"]) == ("default", "failed")
    told = sync["error"]
    assert password == "1" or (password not in told and "***" in told), told
    [annotation] = [line for line in err.splitlines() if line.startswith("::")]
    assert annotation.startswith("::error title=default%3A health failed::")


def test_the_lines_of_a_busy_run_with_faults_fit_their_schemas(
    tmp_path: Path, year: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    syncs = [{"type": kind, "name": f"{kind}-{number}"} for number in range(20) for kind in ("activities", "health")]
    with sandbox_runner(tmp_path, data=year) as runner:
        runner.fault(kind="status", endpoint="status", times=4, skip=20)
        runner.fault(kind="reset_after", endpoint="trigger", times=2, skip=5)
        runner.fault(kind="job_fails", times=3, skip=7)
        runner.fault(kind="expire_tokens", endpoint="trigger", skip=9)
        words = settings(
            syncs=json.dumps(syncs), log__level="debug", concurrency=2, poll__min="1ms", retry__wait="10ms"
        )
        assert cli.run([*runner.command()[3:], "run", *words]) == 5
        lines = check_lines(capfd.readouterr().err)
    assert (
        lines.total() > 200
        and lines["http.retry"] + lines["sync.poll_failed"] >= 1
        and lines["sync.trigger_doubt"] == 2
    ), lines


@pytest.mark.parametrize(
    "line", ['{"event": "run.ended"}', '{"event": "no.such"}', '{"event": "sync.retried", "x": 1}', "{"]
)
def test_a_line_that_is_not_as_its_schema_says_is_found(line: str) -> None:
    with pytest.raises((jsonschema.ValidationError, KeyError, json.JSONDecodeError)):
        check_lines(line)


def test_ten_thousand_lines_of_events_with_any_values_fit_their_schemas() -> None:
    chance = random.Random(7)
    values: dict[str, Callable[[], Any]] = {
        "str": lambda: "".join(chance.choices(ODD + "\0\n\ud800\u2028" + string.printable, k=12)),
        "int": lambda: chance.randrange(-5, 10**12),
        "float": lambda: chance.choice([0.0, -1.5, 1e-9, 1 / 3, 1e15]),
        "bool": lambda: chance.random() < 0.5,
        "None": lambda: None,
        "tuple[str,...]": lambda: tuple(values["str"]() for _ in range(3)),
    }
    written: list[str] = []
    log = json_log(written.append, progress_every=1e-9)
    for number in range(10_000):
        kind = chance.choice(ALL)
        kinds = {
            field.name: field.type.__name__ if isinstance(field.type, type) else str(field.type)
            for field in fields(kind)
        }
        event = kind(**{name: values[chance.choice(of.replace(" ", "").split("|"))]() for name, of in kinds.items()})
        log.take(Record(1_700_000_000.0 + number, event, {"run_id": values["str"](), "sync": values["str"]()}))
    assert check_lines("".join(written)).total() == 10_000
