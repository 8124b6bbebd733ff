"""The report's forms are well-formed whatever an API says, and say the same as the report."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.events import events
from runner.events.observer import Record
from runner.external import ExternalText
from runner.models import JobStatus, Outcome, RunResult, SyncJob, SyncResult
from runner.outputs import github
from runner.outputs.html import _hash, page
from runner.outputs.html_assets import SCRIPT, STYLE
from runner.outputs.junit import junit
from runner.outputs.report import as_text
from runner.outputs.report_model import Report, build_report, plain, read_report, schema
from runner.outputs.summary import one_line
from runner.outputs.timeline import MOST, Timeline
from runner.outputs.webhook import fill, webhook_values
from tests.support.outputs import Kept

RUN_ID = "7f1f0a3e-6a2d-4f57-9d55-9d1f6c1f8a11"
NASTY = "]]> <script>alert(1)</script> & \"'|`\x00\x1b[31m\r\n::error::x\n# h %0A \ud800 \ufffe"


def result(outcome: Outcome, name: str = "health", error: str | None = None, account: str = "a") -> SyncResult:
    job = SyncJob(ExternalText("job-1"), JobStatus.RUNNING, progress=50.0, total_items=10, processed_items=5)
    return SyncResult(account, name, "health", outcome, job, error, 1_700_000_000.0, 1.25, 1)


def run(*results: SyncResult, code: int = 5, errors: tuple[str, ...] = ()) -> Report:
    made = RunResult(RUN_ID, code, 1_700_000_000.0, 1_700_000_002.5, "https://x.example", "garminsync", results, errors)
    return build_report(made)


EVERY = [result(outcome, outcome.value, None if outcome is Outcome.COMPLETED else "why") for outcome in Outcome]


def test_the_report_fits_its_schema_for_every_outcome() -> None:
    checker = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())
    checker.validate(plain(run(*EVERY)))
    checker.validate(plain(run(code=2, errors=("syncs: nothing to run",))))


def test_junit_counts_failures_errors_and_skips_as_its_readers_do() -> None:
    parsed: Any = junitparser.JUnitXml.fromstring(junit(run(*EVERY)).encode())
    assert isinstance(parsed, junitparser.JUnitXml)
    suite: Any
    [suite] = list(parsed)
    claimed = (suite.tests, suite.failures, suite.errors, suite.skipped)
    assert (
        claimed
        == (parsed.tests, parsed.failures, parsed.errors, parsed.skipped)
        == (len(Outcome), 2, len(Outcome) - 4, 1)
    )
    suite.update_statistics()
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == claimed
    kinds = {case.name: [type(one).__name__ for one in case.result] for case in suite}
    assert kinds["completed"] == [] and kinds["failed"] == ["Failure"] and kinds["skipped"] == ["Skipped"]
    assert kinds["deadline"] == ["Error"]


def test_no_text_in_junit_names_a_file_that_gitlab_or_jenkins_would_attach() -> None:
    text = "a [[ATTACHMENT|/etc/passwd]] [[attachment|x]] [[other|y]]"
    written = junit(run(result(Outcome.FAILED, error=text, name=text), errors=(text,)))
    assert "[[ATTACHMENT|" not in written.upper() and "/etc/passwd" in written and "[[other|y]]" in written


def test_junit_has_what_the_schemas_of_jenkins_and_gitlab_want_in_their_order() -> None:
    root = ElementTree.fromstring(junit(run(*EVERY)))
    assert root.tag == "testsuites"
    for suite in root:
        assert [child.tag for child in suite] == ["properties", *["testcase"] * len(Outcome)]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        assert {"name", "tests", "failures", "errors", "skipped", "time"} <= suite.attrib.keys()
        for case in suite.findall("testcase"):
            assert {"name", "classname", "time"} == case.attrib.keys()
            assert [child.tag for child in case][-1] == "system-out"
            assert all("message" in child.attrib for child in case if child.tag != "system-out")


def test_a_run_that_came_to_no_sync_is_an_error_and_no_empty_success() -> None:
    root = ElementTree.fromstring(junit(run(code=3, errors=("password: no such secret",))))
    assert (root.attrib["tests"], root.attrib["errors"]) == ("1", "1")


FORMS: list[Callable[[Report], object]] = [
    lambda report: ElementTree.fromstring(junit(report)),
    github.summary,
    lambda report: page(report, Timeline()),
    one_line,
    as_text,
]


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_no_error_text_breaks_a_form(text: str) -> None:
    for form in FORMS:
        form(run(result(Outcome.FAILED, error=text, name=text or "x", account=text), errors=(text,)))
    commands = list(github.annotations(run(result(Outcome.FAILED, error=text, name=text))))
    assert len(commands) == 1 and "\n" not in commands[0] and "\r" not in commands[0]


def test_github_summary_is_one_row_a_sync_and_holds_no_markup_of_the_api() -> None:
    text = github.summary(run(result(Outcome.FAILED, error=NASTY), result(Outcome.COMPLETED, "b")))
    rows = [line for line in text.splitlines() if line.startswith("| a ")]
    assert len(rows) == 2
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in rows)  # seven cells
    assert "<script" not in text and "\n# h" not in text and "\n::" not in text


def test_github_summary_stays_below_the_size_that_github_refuses() -> None:
    many = [result(Outcome.FAILED, f"sync-{number}", "x" * 500) for number in range(5000)]
    text = github.summary(run(*many))
    assert 900_000 < len(text.encode()) <= github.SUMMARY_BYTES
    assert "more syncs are in the report" in text


def test_github_annotations_escape_what_the_commands_reserve() -> None:
    report = run(
        result(Outcome.FAILED, "a:b,c", "100 %\nnext"), result(Outcome.SKIPPED, "s", "why"), errors=("x\r\ny",)
    )
    assert list(github.annotations(report)) == [
        "::error title=a%3A a%3Ab%2Cc failed::100 %25%0Anext",
        "::warning title=a%3A s skipped::why",
        "::error title=sync-runner::x%0Ay",
    ]


def test_github_gets_ten_annotations_of_a_kind_at_most() -> None:
    many = [result(Outcome.FAILED, str(number), "x") for number in range(50)]
    assert len(list(github.annotations(run(*many)))) == 10


def test_github_outputs_and_summary_are_added_to_the_files_and_a_fault_is_told(tmp_path: Path) -> None:
    files = {"GITHUB_OUTPUT": str(tmp_path / "out"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    (tmp_path / "out").write_text("before=1\n")
    report = run(result(Outcome.FAILED, error=NASTY), result(Outcome.COMPLETED))
    assert github.write_files(report, files, 1) is None
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines == ["before=1", "exit_code=5", "result=failure", f"run_id={RUN_ID}", "completed=1", "failed=1"]
    assert (tmp_path / "summary").read_text().startswith("### ")
    problem = github.write_files(report, {**files, "GITHUB_OUTPUT": str(tmp_path / "no" / "file")}, 1)
    assert problem == f"GITHUB_OUTPUT: {tmp_path}/no/file: cannot be written (No such file or directory)"


@pytest.mark.parametrize(
    ("setting", "environment", "wanted"),
    [
        ("auto", {"GITHUB_ACTIONS": "true"}, True),
        ("auto", {}, False),
        ("always", {}, True),
        ("never", {"GITHUB_ACTIONS": "true"}, False),
    ],
)
def test_githubs_forms_come_by_themselves_in_a_step(setting: str, environment: dict[str, str], wanted: bool) -> None:
    kept = Kept({"report": {"github": setting}}, environment=environment)
    assert github.GitHub.wanted(kept.context) is wanted


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def timeline() -> Timeline:
    made = Timeline()
    context = {"account": "a", "sync": "health"}
    for time, event in (
        (0.0, events.RunStarted("1", "https://x", "p", 1, 1)),
        (1.0, events.SyncStarted()),
        (1.5, events.CodeWait(2.0, "used")),
        (4.0, events.LoggedIn("login", True, 3.0)),
        (4.0, events.RetryScheduled("trigger", "connect", 1, 0.5)),
        (9.0, events.SyncEnded("failed", 8.0, 1, error=NASTY)),
    ):
        made(Record(time, event, context if time else {}))
    return made


def test_the_page_shows_what_waited_logged_in_ran_and_was_retried() -> None:
    made = timeline()
    assert [(span.kind, span.start, span.end) for span in made.spans] == [
        ("queued", 0.0, 1.0), ("wait", 1.5, 3.5), ("login", 1.0, 4.0), ("retry", 4.0, 4.5), ("sync", 1.0, 9.0),
    ]  # fmt: skip
    shapes = {attrs["class"]: attrs for tag, attrs in Tags(page(run(), made)).seen if tag == "rect" and "x" in attrs}
    assert (shapes["sync bad"]["x"], shapes["sync bad"]["width"]) == ("11.11%", "88.89%")
    assert (shapes["login"]["x"], shapes["login"]["width"]) == ("11.11%", "33.33%")
    assert shapes.keys() == {"queued", "wait", "login", "retry", "sync bad"}


def test_the_page_loads_nothing_and_runs_nothing_but_its_own_script() -> None:
    text = page(run(result(Outcome.FAILED, error=NASTY, name=NASTY, account=NASTY), errors=(NASTY,)), timeline())
    tags = Tags(text).seen
    names = {tag for tag, _attrs in tags}
    assert not names & {"link", "img", "iframe", "object", "base"}
    attributes = {name for _tag, attrs in tags for name in attrs}
    assert not attributes & {"src", "href", "style", "srcset", "action"}
    assert not any(name.startswith("on") for name in attributes)
    policy = next(attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert [tag for tag, _attrs in tags].count("script") == 1 and _hash(SCRIPT) in policy and _hash(STYLE) in policy
    assert "fetch" not in SCRIPT and "innerHTML" not in SCRIPT and "eval" not in SCRIPT
    assert "url(" not in text and "@import" not in text


def test_the_page_names_the_job_of_each_sync_that_failed() -> None:
    failed = result(Outcome.FAILED, error="no data")
    assert failed.job is not None
    assert f"1 attempt, job {failed.job.shown_id}" in page(run(failed), Timeline())


def test_a_long_run_makes_no_endless_page() -> None:
    made = Timeline()
    for number in range(MOST + 10):
        made(Record(float(number), events.RetryScheduled("status", "connect", 1, 0.5), {"sync": "s"}))
    assert (len(made.spans), made.dropped) == (MOST, 10)
    assert "10 more are not shown" in page(run(), made)


@given(st.text(st.characters(codec="utf-8")))
def test_a_webhook_body_stays_json_whatever_the_error_says(text: str) -> None:
    import json

    values = webhook_values(run(result(Outcome.FAILED, error=text)))
    body = json.loads(fill('{"text": "${error}", "code": ${exit_code}, "cost": "$$5"}', values, as_json=True))
    assert body == {"text": text, "code": 5, "cost": "$5"}


@pytest.mark.parametrize("body", ["${nothing}", "costs $5", "${"])
def test_a_webhook_body_that_can_not_be_filled_in_is_a_usage_error(body: str) -> None:
    from runner.errors import UsageError
    from runner.settings import load

    with pytest.raises(UsageError, match="notify.webhook.body"):
        load({"base_url": "https://x.example", "notify": {"webhook": {"body": body}}})


def test_the_schema_in_the_docs_is_what_the_classes_say() -> None:
    from tools.report_schema import text

    kept = Path(__file__).parents[3] / "docs" / "report.schema.json"
    assert kept.read_text() == text(), "run `make docs`"


def test_a_report_reads_back_as_it_was_written() -> None:
    report = run(*EVERY, errors=(NASTY.replace("\ud800", ""),))
    assert read_report(as_text(report)) == report
    for wrong in ("", "[]", "{}", as_text(report).replace('"report_version": 1', '"report_version": 2')):
        with pytest.raises(ValueError, match="validation error|Invalid JSON"):
            read_report(wrong)


def test_the_report_obeys_no_command_of_a_ci_system() -> None:
    report = run(result(Outcome.FAILED, error="##vso[task.setvariable variable=x]y ##teamcity[x]\n::error::x"))
    assert "##" not in as_text(report)
    assert read_report(as_text(report)) == report


LOG = ("</pre><script>alert(1)</script>", "]]> & <b>", "::error::x", "last line")


def test_a_failed_jobs_log_is_text_in_every_form() -> None:
    failed = replace(result(Outcome.FAILED, error="why"), log=LOG)
    report = run(failed, code=4)
    assert plain(report)["syncs"][0]["log"] == [*LOG]
    html = page(report, Timeline())
    assert "<script>alert" not in html and "&lt;/pre&gt;&lt;script&gt;" in html and "last line" in html
    summary = github.summary(report)
    assert summary.count("</pre>") == 1 and "<script>" not in summary and "last line" in summary
    case = junitparser.JUnitXml.fromstring(junit(report).encode())
    assert all(line in str(next(iter(next(iter(case)))).system_out) for line in LOG)


def test_the_logs_of_many_failed_jobs_leave_room_in_the_step_summary() -> None:
    failed = [replace(result(Outcome.FAILED, f"s{n}", "why"), log=("x" * 1000,) * 50) for n in range(2000)]
    summary = github.summary(run(*failed, code=4))
    assert len(summary.encode()) <= github.SUMMARY_BYTES
    assert summary.count("<details>") == github.LOGS
    assert "s999" in summary
