"""Writes what the manifests and the Helm chart take from elsewhere, so that it stands in one place: `python -m k8s.written`."""
# Decision 0047.

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from runner.errors import ExitCode
from runner.settings import Settings

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "sync-runner"
CODES = [code for code in ExitCode if code.retry_helps in ("no", "look first")]
LIST = "[" + ", ".join(f"{code:d}" for code in CODES) + "]"


def failure_policy(action: str) -> str:
    """The patch for the CronJob: `action` for each code where another try cannot help, or could do harm."""
    meanings = "\n".join(f"#   {code:d}  {code.meaning}" for code in CODES)
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
          - action: {action} # another try cannot help, or could do harm
            onExitCodes:
              containerName: sync-runner
              operator: In
              values: {LIST}
"""


def chart_codes() -> str:
    """The same codes as a template of the chart."""
    return f"""\
{{{{- /* Written by `make docs` from runner/errors.py */ -}}}}
{{{{- define "sync-runner.codes-without-retry" }}}}{LIST}{{{{ end }}}}
"""


def values_schema() -> str:
    """The chart's schema of its values: charts/values-schema.yaml, with the names of the runner's settings in `config`."""
    schema: dict[str, Any] = yaml.safe_load((CHART.parent / "values-schema.yaml").read_text("utf-8"))
    settings = Settings.model_json_schema()
    schema["properties"]["config"] = names(settings, settings["$defs"])
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def names(model: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any]:
    """Which keys there are. What a value may be, the runner itself says: it takes more forms (`15m`) than it keeps."""
    keys = {}
    for key, about in model["properties"].items():
        section = sections.get(about.get("$ref", "").rpartition("/")[2])
        keys[key] = names(section, sections) if section else {"description": about["description"]}
    return {"type": "object", "additionalProperties": False, "properties": keys}


def alert_rules() -> str:
    """The alert rules for the chart, which cannot read files outside its own folder."""
    return (ROOT / "k8s" / "monitoring" / "rules.yaml").read_text("utf-8")


WRITTEN: dict[Path, Callable[[], str]] = {
    ROOT / "k8s" / "base" / "pod-failure-policy.yaml": lambda: failure_policy("FailJob"),
    # Another try of a shard says nothing of the other shards.
    ROOT / "k8s" / "overlays" / "fleet" / "pod-failure-policy.yaml": lambda: failure_policy("FailIndex"),
    CHART / "templates" / "_failure_policy.tpl": chart_codes,
    CHART / "values.schema.json": values_schema,
    CHART / "files" / "rules.yaml": alert_rules,
}


if __name__ == "__main__":
    for place, text in WRITTEN.items():
        place.write_text(text(), encoding="utf-8")
