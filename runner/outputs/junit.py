"""The report as JUnit XML: one suite per account, one case per sync. For GitLab, Jenkins and GitHub's test views.

The elements and attributes are those of Jenkins' schema (jenkinsci/xunit-plugin, junit-10.xsd).
"""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any, ClassVar

from runner.outputs.files import check_file, write_file
from runner.outputs.interface import Ended, Output
from runner.outputs.report_model import Report, SyncReport

# XML 1.0, 2.2: characters that are forbidden in a document, even as a character reference.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# GitLab and Jenkins attach the file that such a line names.
_ATTACHMENT = re.compile(r"\[\[(?=ATTACHMENT\|)", re.IGNORECASE)
_FAILURES = ("failed", "cancelled")  # the job's own end; every other fault is an `error`


class JUnit(Output):
    """`report.junit`: a file."""

    name: ClassVar[str] = "junit"

    def check(self, seconds: float) -> str | None:
        """Checks whether the file can be written."""
        path = self.context.settings.report.junit
        return check_file(path) if path else None

    def write(self, ended: Ended, seconds: float) -> str | None:
        """Writes the complete file."""
        path = self.context.settings.report.junit
        return write_file(path, junit(ended.report), seconds) if path else None


def junit(report: Report) -> str:
    """Returns the document. A run without syncs is one case, `run`, so that it does not look like an empty success."""
    from xml.etree.ElementTree import Element, indent, tostring

    root = Element("testsuites", name="sync-runner", time=_seconds(report.duration_seconds))
    for account, syncs in groupby(report.syncs, key=lambda sync: sync.account):
        root.append(_suite(account, [_case(account, sync) for sync in syncs], report))
    if report.errors or not report.syncs:
        root.append(_suite("run", [_run_as_case(report)], report))
    for count in ("tests", "failures", "errors"):  # Jenkins' schema has no `skipped` here
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + tostring(root, encoding="unicode") + "\n"


def _suite(name: str, cases: Iterable[Any], report: Report) -> Any:
    from xml.etree.ElementTree import Element, SubElement

    suite = Element("testsuite", name=_text(name))
    properties = SubElement(suite, "properties")
    about = {
        "run_id": report.run_id,
        "runner_version": report.runner_version,
        "base_url": report.base_url,
        "profile": report.profile,
        "exit_code": str(int(report.exit_code)),
        "meaning": report.meaning,
    }
    for key, value in about.items():
        SubElement(properties, "property", name=key, value=_text(value))
    suite.extend(cases)
    found = suite.findall("testcase")
    suite.set("tests", str(len(found)))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(tag) is not None for case in found)))
    suite.set("time", _seconds(sum(float(case.get("time", "0")) for case in found)))
    suite.set("timestamp", report.started_at[:19])  # the schemas of Ant and Jenkins allow no fraction and no zone
    return suite


def _case(account: str, sync: SyncReport) -> Any:
    from xml.etree.ElementTree import SubElement

    case = _empty_case(account, sync.name, sync.duration_seconds)
    if sync.outcome.value == "skipped":
        SubElement(case, "skipped", message=_text(sync.reason))
    elif not sync.completed:
        tag = "failure" if sync.outcome.value in _FAILURES else "error"
        text = sync.reason + (f"\nNext: {sync.remedy}" if sync.remedy else "")
        SubElement(case, tag, message=_text(sync.reason), type=sync.outcome.value).text = _text(text)
    facts = {
        "job_id": sync.job_id,
        "status": sync.status and sync.status.value,
        "processed_items": sync.processed_items,
        "total_items": sync.total_items,
        "attempts": sync.attempts,
    }
    text = "\n".join(f"{key}: {value}" for key, value in facts.items() if value is not None)
    if sync.log:
        text = "\n".join((text, "", "the last lines of the job's log:", *sync.log))
    SubElement(case, "system-out").text = _text(text)
    return case


def _run_as_case(report: Report) -> Any:
    from xml.etree.ElementTree import SubElement

    case = _empty_case("run", "run", report.duration_seconds)
    if not report.good:
        error = _text("; ".join(report.errors) or report.meaning)
        SubElement(case, "error", message=error, type="run").text = error
    SubElement(case, "system-out")
    return case


def _empty_case(account: str, name: str, seconds: float) -> Any:
    from xml.etree.ElementTree import Element

    return Element("testcase", name=_text(name), classname=_text(f"sync-runner.{account}"), time=_seconds(seconds))


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _text(value: str) -> str:
    return _ATTACHMENT.sub(r"[\\x5b", _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value))
