"""The pod of the page on workflow engines is valid, fits Pod Security `restricted`, and its settings exist."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from runner.settings import load
from tests.support.manifests import ROOT

PAGE = (ROOT / "docs" / "deploy" / "workflows.md").read_text(encoding="utf-8")
POD: dict[str, Any] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
VERSIONS = [f"1.{minor}" for minor in range(29, int(str(kubernetes_validate.latest_version()).split(".")[1]) + 1)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pod_is_valid_in_strict_mode(version: str) -> None:
    kubernetes_validate.validate(POD, version, strict=True)


def test_the_pod_asks_for_no_right_and_has_time_to_end() -> None:
    (container,) = POD["spec"]["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert POD["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["spec"]["terminationGracePeriodSeconds"] >= 10
    assert POD["spec"]["restartPolicy"] == "Never"


def test_the_pods_variables_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in POD["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    monkeypatch.setenv("SYNC_RUNNER_RUN__KEY", "manual__2026-11-27")
    settings = load({}).settings
    assert settings.state.url == "postgresql://runner@db.example.org/sync"
    assert settings.run.key == "manual__2026-11-27"
