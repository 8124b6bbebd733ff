"""Writes the Jobs' podFailurePolicy from the runner's own table of exit codes: `python k8s/pod_failure_policy.py`."""

from pathlib import Path

from runner.errors import ExitCode

HERE = Path(__file__).parent
# Where it is written to, and what the Job does: another try of a shard says nothing of the other shards.
ACTIONS = {
    HERE / "base" / "pod-failure-policy.yaml": "FailJob",
    HERE / "overlays" / "fleet" / "pod-failure-policy.yaml": "FailIndex",
}


def policy(action: str) -> str:
    """The patch for the CronJob: `action` for each code where another try can not help, or could do harm."""
    codes = [code for code in ExitCode if code.retry_helps in ("no", "look first")]
    meanings = "\n".join(f"#   {code:d}  {code.meaning}" for code in codes)
    return f"""\
# Written by `make docs` from runner/errors.py; the first rule that matches decides, and without one the try counts.
{meanings}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: sync-runner
spec:
  jobTemplate:
    spec:
      podFailurePolicy:
        rules:
          - action: Ignore # a drained or preempted node says nothing of the run
            onPodConditions:
              - type: DisruptionTarget
                status: "True"
          - action: {action} # another try can not help, or could do harm
            onExitCodes:
              containerName: sync-runner
              operator: In
              values: [{", ".join(f"{code:d}" for code in codes)}]
"""


if __name__ == "__main__":
    for path, action in ACTIONS.items():
        path.write_text(policy(action), encoding="utf-8")
