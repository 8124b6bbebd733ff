"""The report as JUnit XML: one suite an account, one case a sync. For GitLab, Jenkins and GitHub's test views."""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

# XML 1.0, 2.2: what may not stand in a document, not even as a character reference.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FAILURES = ("failed", "cancelled")  # the job's own end; every other fault is an `error`


def junit(report: dict[str, Any]) -> str:
    """The document. A run that came to no sync is one case, `run`, so that it is not taken for an empty success."""
    from xml.etree.ElementTree import Element, indent, tostring

    root = Element("testsuites", name="sync-runner", time=_seconds(report["duration_seconds"]))
    for account, syncs in groupby(report["syncs"], key=lambda sync: str(sync["account"])):
        root.append(_suite(account, syncs, report))
    if report["errors"] or not report["syncs"]:
        root.append(_suite("run", [_run_as_sync(report)], report))
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + tostring(root, encoding="unicode") + "\n"


def _suite(name: str, syncs: Iterable[dict[str, Any]], report: dict[str, Any]) -> Any:
    from xml.etree.ElementTree import Element, SubElement

    suite = Element("testsuite", name=_text(name))
    properties = SubElement(suite, "properties")
    for key in ("run_id", "runner_version", "base_url", "profile", "exit_code", "meaning"):
        SubElement(properties, "property", name=key, value=_text(str(report[key])))
    spent = 0.0
    for sync in syncs:
        suite.append(_case(name, sync))
        spent += sync["duration_seconds"]
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", _seconds(spent))
    suite.set("timestamp", report["started_at"][:19])  # the schemas of Ant and Jenkins want no fraction and no zone
    return suite


def _case(account: str, sync: dict[str, Any]) -> Any:
    from xml.etree.ElementTree import Element, SubElement

    case = Element(
        "testcase",
        name=_text(sync["name"]),
        classname=_text(f"sync-runner.{account}"),
        time=_seconds(sync["duration_seconds"]),
    )
    outcome, error = sync["outcome"], _text(sync["error"] or "")
    if outcome == "skipped":
        SubElement(case, "skipped", message=error or outcome)
    elif outcome != "completed":
        tag = "failure" if outcome in _FAILURES else "error"
        SubElement(case, tag, message=error or outcome, type=outcome).text = error or outcome
    facts = {key: sync.get(key) for key in ("job_id", "status", "processed_items", "total_items", "attempts")}
    SubElement(case, "system-out").text = _text(
        "\n".join(f"{key}: {value}" for key, value in facts.items() if value is not None)
    )
    return case


def _run_as_sync(report: dict[str, Any]) -> dict[str, Any]:
    failed = report["exit_code"] != 0
    error = "; ".join(report["errors"]) or report["meaning"]
    return {
        "name": "run",
        "outcome": "run" if failed else "completed",
        "error": error if failed else None,
        "duration_seconds": report["duration_seconds"],
    }


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _text(value: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)
