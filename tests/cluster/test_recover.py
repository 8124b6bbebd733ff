"""The page on recovering on a cluster: a Job from the CronJob with other arguments runs only what failed."""

import json
import re
import subprocess

from tests.cluster.judge import Judge, none_twice
from tests.cluster.kube import kubectl
from tests.cluster.lab import Lab
from tests.support.manifests import ROOT

PAGE = (ROOT / "docs" / "operations" / "recover.md").read_text(encoding="utf-8")


def _commands(space: str) -> list[str]:
    """The page's commands, each on its lines, in the namespace."""
    (block,) = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [one.replace("kubectl ", f"kubectl -n {space} ") for one in block.removeprefix("$ ").split("\n$ ")]


def test_a_job_from_the_cron_job_with_other_arguments_runs_only_what_failed(lab: Lab, judge: Judge) -> None:
    case = judge.case("recover", fail="health", fail_times=1)
    lab.cron("sync-runner", case, cron={"suspend": True}, state=lab.claim("recover"), backoffLimit=0)
    kubectl("-n", lab.space, "create", "job", "first", "--from=cronjob/sync-runner")
    assert "Failed" in lab.ended("first")
    written = ""
    for command in _commands(lab.space):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        written += done.stdout
    (ended,) = [json.loads(line) for line in written.splitlines() if '"run.ended"' in line]
    assert (ended["exit_code"], ended["completed"]) == (0, 1)
    assert case.ended() == [("activities", "completed"), ("health", "failed"), ("health", "completed")]
    assert case.results() == ["good"]  # with the session of the run before
    none_twice([case])
