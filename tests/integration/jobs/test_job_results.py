"""The values that a job gives: read by type, redacted, and handed to what runs next in each system's own format."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.events.redaction import Redactor
from runner.external import redacting_with
from runner.models import Outcome, RunResult, SyncResult
from runner.outputs import github
from runner.outputs.report_model import Report, build_report
from runner.outputs.results import DOTENV_BYTES, TERMINATION_BYTES, document, dotenv, termination
from runner.outputs.summary import one_line
from tests.support.command_line import CommandLine, sync_runner
from tests.support.output_place import job, profile, run
from tests.support.scripted_api import Answers, ScriptedApi
from tests.support.workflows import as_github_reads

pytestmark = pytest.mark.usefixtures("dispositions_kept")

RUN_ID = "7f1f0a3e-6a2d-4f57-9d55-9d1f6c1f8a11"
VALUES = {
    "rows": {"at": "stats.rows", "type": "integer"},
    "share": {"at": "stats.share", "type": "number"},
    "fresh": {"at": "stats.fresh", "type": "boolean"},
    "title": "title",
    "parts": {"at": "parts", "type": "array"},
    "about": {"at": "stats", "type": "object"},
    "trace": {"at": {"header": "X-Trace"}},
    "size": {"at": {"header": "X-Size"}, "type": "integer"},
}
SAID = {"stats": {"rows": 12, "share": 0.5, "fresh": True}, "title": "a\nb", "parts": [1, "x"]}
READ = {"rows": 12, "share": 0.5, "fresh": True, "title": "a\nb", "parts": [1, "x"], "about": SAID["stats"]}


def report(*named: tuple[str, dict[str, Any]], account: str = "a") -> Report:
    results = tuple(
        SyncResult(account, name, "health", Outcome.COMPLETED, None, results=values) for name, values in named
    )
    return build_report(RunResult(RUN_ID, 0, 0.0, 1.0, "https://x.example", "own", results))


def test_values_come_out_of_the_last_status_with_their_types(tmp_path: Path) -> None:
    with ScriptedApi(job("running", "completed", **SAID)) as api:
        ended = run(api, tmp_path, jobs={"results": {"values": VALUES}})
        assert {one.path for one in api.asked} == {"/jobs", "/jobs/7"}
    assert ended.code == 0
    assert ended.result.results[0].results == READ


def test_every_json_parser_reads_what_comes_of_odd_values(tmp_path: Path) -> None:
    raw = rb'{"job_id": 7, "status": "completed", "far": 1e999, "deep": {"x": [-1e999]}, "half": "a\ud800b", "in": {"k": "\udfff"}, "big": 123456789012345678901}'
    types = {"far": "number", "deep": "object", "half": "string", "in": "object", "big": "integer"}
    values = {name: {"at": name, "type": kind} for name, kind in types.items()}
    with ScriptedApi({**job("completed"), "GET /jobs/7": Answers(raw=raw)}) as api:
        ended = run(api, tmp_path, jobs={"results": {"values": values}})
    found = ended.result.results[0].results
    assert (ended.code, found) == (0, {"half": "a?b", "in": {"k": "?"}, "big": 123456789012345678901})
    assert [event.field for event in ended.named("sync.field_unreadable")] == ["results.far", "results.deep"]
    json.dumps(found, allow_nan=False).encode("utf-8")


def test_values_come_out_of_a_request_of_their_own(tmp_path: Path) -> None:
    said = Answers(SAID, headers=(("X-Trace", "t-1"), ("X-Size", "77")))
    results = {"request": {"path": "/jobs/${job_id}/result"}, "values": VALUES}
    with ScriptedApi({**job("completed"), "GET /jobs/7/result": said}) as api:
        ended = run(api, tmp_path, jobs={"results": results})
    assert ended.result.results[0].results == {**READ, "trace": "t-1", "size": 77}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "12"), ("integer", 1.5), ("integer", True), ("number", "x"), ("boolean", 1), ("string", 3),
        ("object", []), ("array", {}), ("string", "x" * 40_000),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_left_out_and_told(tmp_path: Path, kind: str, value: Any) -> None:
    values = {"good": "status", "bad": {"at": "bad", "type": kind}}
    with ScriptedApi(job("completed", bad=value)) as api:
        ended = run(api, tmp_path, jobs={"results": {"values": values}})
    if (kind, value) == ("integer", "12"):  # a number in a text is read
        assert ended.result.results[0].results == {"good": "completed", "bad": 12}
        return
    assert (ended.code, ended.result.results[0].results) == (0, {"good": "completed"})
    assert [event.field for event in ended.named("sync.field_unreadable")] == ["results.bad"]


@pytest.mark.parametrize("answer", [Answers({}, 500), Answers({}, 404), Answers(raw=b"<html>"), Answers(raw=b"[")])
def test_results_that_cannot_be_read_change_no_outcome(tmp_path: Path, answer: Answers) -> None:
    results = {"request": {"path": "/result"}, "values": {"rows": "rows"}}
    with ScriptedApi({**job("completed"), "GET /result": answer}) as api:
        ended = run(api, tmp_path, jobs={"results": results})
    assert (ended.code, ended.result.results[0].results) == (0, {})


def test_secrets_in_results_are_redacted_in_the_report() -> None:
    redactor = Redactor()
    redactor.add("correct-horse-battery")
    results = {"a": "is correct-horse-battery", "b": {"correct-horse-battery": ["correct-horse-battery", 1]}}
    made = SyncResult("a", "health", "health", Outcome.COMPLETED, None, results=results)
    with redacting_with(redactor.redact):
        read = build_report(RunResult(RUN_ID, 0, 0.0, 1.0, "x", "own", (made,)), redactor.redact)
    assert read.syncs[0].results == {"a": "is ***", "b": {"***": ["***", 1]}}


NASTY = ["a\nb=c", "x<<y\nz", "EOF\nexit_code=0", "\n\n", "ghadelimiter\nresult=success", "é\u2028 %0A", "a\r\nb"]


@pytest.mark.parametrize("value", NASTY)
def test_no_value_makes_another_output_of_a_github_step(value: str) -> None:
    made = report(("health", {"rows": 12, "text": value}))
    read = as_github_reads(github.outputs(made))
    assert read["health_rows"] == "12"
    assert read["health_text"] == value
    assert json.loads(read["results"]) == {"health": {"rows": 12, "text": value}}
    assert read.keys() == {
        "exit_code",
        "result",
        "run_id",
        "completed",
        "failed",
        "results",
        "health_rows",
        "health_text",
    }


def test_no_result_takes_the_place_of_an_output_of_the_run() -> None:
    made = report(("exit", {"code": 7}), ("run", {"id": "x"}), ("a b", {"c": 1}), ("a", {"b_c": 2}))
    read = as_github_reads(github.outputs(made))
    assert (read["exit_code"], read["run_id"], read["a_b_c"]) == ("0", RUN_ID, "1")


# What GitLab does with the file: each line is a name, `=` and the value; empty lines are refused.
@pytest.mark.parametrize("value", NASTY)
def test_a_dotenv_line_is_one_value_or_left_out(value: str) -> None:
    text, left_out = dotenv(report(("health", {"rows": 12, "text": value}), ("workouts", {"rows": 3})))
    lines = [line.partition("=") for line in text.removesuffix("\n").split("\n")]
    read = {name: rest for name, _sign, rest in lines}
    assert left_out == ["health.text"]
    assert read == {"RESULT_EXIT_CODE": "0", "RESULT_HEALTH_ROWS": "12", "RESULT_WORKOUTS_ROWS": "3"}


def test_a_dotenv_file_is_never_more_than_gitlab_takes() -> None:
    many = {f"v{number}": "x" * 900 for number in range(40)}
    text, left_out = dotenv(report(("health", many)))
    assert len(text.encode()) <= DOTENV_BYTES
    assert len(text.splitlines()) + len(left_out) == 41
    few, _ = dotenv(report(("health", {f"v{number}": number for number in range(40)})))
    assert len(few.splitlines()) == 20


@pytest.mark.parametrize("size", [10, 2000, 5000, 30_000])
def test_a_termination_message_fits_into_what_kubernetes_keeps_and_stays_json(size: int) -> None:
    made = report(("health", {"rows": 12, "text": "é" * size, "more": "y" * 100}))
    text = termination(one_line(made), made)
    assert len(text.encode()) <= TERMINATION_BYTES
    first, second = text.split("\n")
    assert first == one_line(made)
    read = json.loads(second)
    assert read["results"]["health"]["rows"] == 12
    assert read.get("left_out") == (None if size < 1500 else 1)


def test_the_next_step_reads_the_results_from_every_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "xcom").mkdir()
    path = profile(tmp_path, results={"values": {"rows": {"at": "rows", "type": "integer"}}})
    (tmp_path / "termination").touch()
    with ScriptedApi(job("completed", rows=12)) as api:
        settings = {
            "report.dotenv": tmp_path / "job.env", "report.xcom": tmp_path / "xcom" / "return.json",
            "report.termination_log": tmp_path / "termination",
        }  # fmt: skip
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        options = ["--base-url", api.base_url, "--secrets-dir", str(tmp_path / "secrets"), "--profile", str(path)]
        ended = sync_runner(*options, *sets, "run", "nightly", "--report", "-")
    assert ended.code == 0, ended.stderr
    assert ended.report["syncs"][0]["results"] == {"rows": 12}
    script = f". {tmp_path}/job.env; echo $RESULT_NIGHTLY_ROWS"
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == "12\n"
    xcom = json.loads((tmp_path / "xcom" / "return.json").read_text())
    assert (xcom["exit_code"], xcom["results"]) == (0, {"nightly": {"rows": 12}})
    assert json.loads((tmp_path / "termination").read_text().split("\n")[1]) == {"results": {"nightly": {"rows": 12}}}


def test_without_results_nothing_changes_in_the_files_that_were_there() -> None:
    made = report(("health", {}))
    assert "results" not in github.outputs(made)
    assert termination("line", made) == "line"
    assert document(made)["results"] == {}


def test_the_sandbox_shows_a_log_and_results_of_its_jobs(cli: CommandLine) -> None:
    own = Path(__file__).parents[3] / "docs/examples/profiles/sandbox.yaml"
    ended = cli.run("--profile", str(own), "--set", "logs.show=all", "run", "health", "--report", "-")
    assert ended.code == 0, ended.stderr
    [sync] = ended.report["syncs"]
    assert sync["results"]["processed"] == sync["processed_items"]
    assert sync["results"]["stored"] > 0
    assert "health: completed" in sync["log"][-1]
    assert ended.events("sync.output_unread") == []
