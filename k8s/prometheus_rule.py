"""Writes the alert rules as an object for the Prometheus Operator: `python k8s/prometheus_rule.py`."""

from pathlib import Path
from textwrap import indent

MONITORING = Path(__file__).parent / "monitoring"
RULES = MONITORING / "rules.yaml"
OBJECT = MONITORING / "prometheusrule.yaml"


def prometheus_rule(rules: str) -> str:
    """The text of rules.yaml as a PrometheusRule, comments and all.

    The Operator takes only objects with the labels of its `ruleSelector`; kube-prometheus-stack wants `release: NAME`.
    """
    return f"""\
# Written by `make docs` from rules.yaml: change that file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sync-runner
  labels:
    app.kubernetes.io/name: sync-runner
spec:
{indent(rules, "  ")}"""


if __name__ == "__main__":
    OBJECT.write_text(prometheus_rule(RULES.read_text(encoding="utf-8")), encoding="utf-8")
