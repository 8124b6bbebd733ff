"""The files of a real run: they tell one story, and a real browser shows the page without a complaint."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import junitparser
import pytest

from tests.integration.outputs.conftest import Runner, need, settings


@pytest.fixture
def partial(runner: Runner, tmp_path: Path) -> Path:
    """The directory with every file of a run in which one of two syncs failed."""
    runner.environment |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    (tmp_path / "termination").touch()
    runner.fault(kind="job_fails", sync_type="health")
    files = settings(
        report__file=tmp_path / "report.json",
        report__junit=tmp_path / "junit.xml",
        report__html=tmp_path / "report.html",
        report__termination_log=tmp_path / "termination",
    )
    with runner.start("run", "activities", "health", *files) as process:
        _out, err = process.communicate(timeout=180)
    (tmp_path / "stderr").write_text(err)
    assert process.returncode == 5
    return tmp_path


def test_every_form_tells_the_same_story(partial: Path) -> None:
    report = json.loads((partial / "report.json").read_text())
    assert [(sync["name"], sync["outcome"]) for sync in report["syncs"]] == [
        ("activities", "completed"),
        ("health", "failed"),
    ]
    parsed: Any = junitparser.JUnitXml.fromfile(str(partial / "junit.xml"))
    assert (parsed.tests, parsed.failures, parsed.errors) == (2, 1, 0)
    assert "exit_code=5\nresult=failure\n" in (partial / "output").read_text()
    assert "| default | health | failed |" in (partial / "summary.md").read_text()
    annotations = [line for line in (partial / "stderr").read_text().splitlines() if not line.startswith("{")]
    assert annotations == ["::error title=default%3A health failed::the data source is not available"]
    assert "code 5" in (partial / "termination").read_text()
    page = (partial / "report.html").read_text()
    assert "the data source is not available" in page and "imeline" in page
    assert "ran, did not complete</li>" in page


@pytest.mark.parametrize("width", [1000, 390])
def test_a_browser_shows_the_page_with_no_complaint_and_no_sideways_scrolling(partial: Path, width: int) -> None:
    frame = partial / "frame.html"  # a page of the test's own that measures the report at that width
    frame.write_text(
        f"<iframe id=f src=report.html width={width} height=3000 style='border:0'></iframe><script>onload=()=>{{"
        "const d=f.contentDocument,e=d.documentElement;document.title=JSON.stringify({inner:e.clientWidth,"
        "wide:e.scrollWidth,bars:[...d.querySelectorAll('svg rect')].filter(r=>r.getBoundingClientRect().width>0).length,"
        "fill:getComputedStyle(d.querySelector('rect.sync.bad')).fill})}</script>"
    )
    done = subprocess.run(
        [need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--enable-logging=stderr", "--v=0", f"--user-data-dir={partial / 'profile'}", "--virtual-time-budget=2000",
         "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found, done.stdout[-2000:]
    measured = json.loads(found[1])
    assert measured["inner"] == measured["wide"] == width
    assert measured["bars"] >= 3 and measured["fill"] == "rgb(207, 34, 46)"  # the style sheet's hash fits the policy
    assert "CONSOLE" not in done.stderr, done.stderr
