"""A day of hourly runs with a wrong password, as each example schedules them. The sandbox locks an account at five refusals.

`python -m tests.campaign.hourly [day hours=24]`. What an example keeps between its runs is read from the example itself.
"""

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from runner import cli
from runner.clock import SystemClock
from runner.commands import run as run_command
from runner.sandbox.command import write_secrets
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.campaign.figures import Figures, main
from tests.integration.outputs.test_ci import gitlab, jenkins
from tests.support.manifests import built

ROOT = Path(cli.__file__).parent.parent
LOCK = 5  # refusals
UNIT = (ROOT / "examples/systemd/sync-runner.service").read_text()
CI = (ROOT / "docs/deploy/ci.md").read_text()
Schedule = Callable[["Place", int], None]


class _Later(SystemClock):
    """The machine's clock, so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def time(self) -> float:
        return super().time() + self._seconds


class Place:
    """A sandbox with one account, a wrong password for it, and a disk that outlives a run. It ends after so many `hours`: now."""

    def __init__(self, server: SandboxServer, home: Path, hours: int) -> None:
        self.server, self.home, self.secrets, self.hours = server, home, home / "secrets", hours
        write_secrets(self.secrets, server.credentials)
        self.right = (self.secrets / "password").read_text()
        (self.secrets / "password").write_text("not-the-password")

    def run(self, hour: int, state: str | None) -> int:
        """One run in that hour, with the state directory of that name or with none."""
        words = ["--base-url", self.server.base_url, "--secrets-dir", str(self.secrets), "--log-format", "json"]
        words += ["--state-dir", str(self.home / state)] if state else []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SYNC_RUNNER_")}
        with (
            mock.patch.object(run_command, "SystemClock", lambda: _Later((hour - self.hours) * 3600.0)),
            mock.patch.dict(os.environ, clean, clear=True),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            return cli.run([*words, "run", "health"])

    @property
    def refused(self) -> int:
        """How many logins were refused."""
        return sum(
            one["endpoint"] == "login" and one["status"] in (401, 423) for one in list(self.server.sandbox.record)
        )

    def files(self) -> dict[str, str]:
        """The variables with which CI systems name the files of secrets."""
        names = ("username", "password", "totp_seed")
        return {f"SYNC_RUNNER_{name.upper()}_FILE": str(self.secrets / name) for name in names}


def cron_job(spec: Mapping[str, Any]) -> Schedule:
    """A Job an hour: tried again as its policy says, with the state that its volumes keep."""
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    kept = any("persistentVolumeClaim" in volume for volume in pod["volumes"])
    variables = {one["name"] for one in pod["containers"][0].get("env", [])}
    rules = job.get("podFailurePolicy", {}).get("rules", [])
    final = {
        code for rule in rules if rule["action"] in ("FailJob", "FailIndex") for code in rule["onExitCodes"]["values"]
    }

    def hour(place: Place, number: int) -> None:
        for _ in range(1 + job.get("backoffLimitPerIndex", job.get("backoffLimit", 6))):
            code = place.run(number, "state" if kept and "SYNC_RUNNER_STATE__DIR" in variables else None)
            if code == 0 or code in final:
                return

    return hour


def overlay(name: str, place: Place, number: int) -> None:
    """The CronJob of an overlay."""
    [found] = [one for one in built(f"overlays/{name}") if one["kind"] == "CronJob"]
    cron_job(found["spec"])(place, number)


def of_readme() -> Schedule:
    """The CronJob of the README's first screen."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    [text] = [text for text in blocks if "CronJob" in text]
    return cron_job(yaml.safe_load(text)["spec"])


def systemd(place: Place, number: int) -> None:
    """The unit: its `Restart` would try again at once."""
    kept = "state" if "SYNC_RUNNER_STATE__DIR=" in UNIT and "StateDirectory=" in UNIT else None
    [final] = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT, re.MULTILINE)
    [burst] = re.findall(r"^StartLimitBurst=(\d+)$", UNIT, re.MULTILINE)
    for _ in range(int(burst)):
        if str(place.run(number, kept)) in final.split():
            return


def of_script(service: Callable[..., int]) -> Schedule:
    """The step of a CI service, which keeps a mark of a refused login."""

    def hour(place: Place, _number: int) -> None:
        (place.home / "workspace").mkdir(exist_ok=True)
        service(place.home / "workspace", place.files(), place.server.base_url)

    return hour


def compose(place: Place, number: int) -> None:
    """The service of compose.run.yaml, which a timer or a line for cron starts: the image's state directory may be a volume."""
    service = yaml.safe_load((ROOT / "compose.run.yaml").read_text())["services"]["runner"]
    [variable] = re.findall(r"SYNC_RUNNER_STATE__DIR=(\S+)", (ROOT / "Dockerfile").read_text())
    kept = any(volume.partition(":")[2] == variable for volume in service["volumes"])
    for _ in range(1 if service["restart"] == "no" else 6):
        if place.run(number, "state" if kept else None) == 0:
            return


def github(place: Place, number: int) -> None:
    """The workflow of docs/deploy/ci.md: no state, and a step that stops the schedule."""
    [text] = re.findall(r"^   ```yaml\n(   name: sync\n.*?)^   ```$", CI, re.MULTILINE | re.DOTALL)
    workflow = yaml.safe_load(text)
    stops = [one for one in workflow["jobs"]["sync"]["steps"] if "gh workflow disable" in one.get("run", "")]
    stopped = place.home / "disabled"
    if stopped.exists():
        return
    code = place.run(number, None)
    if any(f"exit_code == '{code}'" in one["if"] for one in stops) and workflow["permissions"]["actions"] == "write":
        stopped.touch()


def schedules() -> dict[str, Schedule]:
    """Every example for an API of the user (the overlay `dev` has a sandbox of its own), and a plain schedule with state."""
    overlays = ("production", "fleet", "external-secrets", "secrets-store-csi")
    return {
        "state directory": lambda place, number: void(place.run(number, "state")),
        "README": of_readme(),
        "systemd": systemd,
        "Compose": compose,
        "GitHub": github,
        "GitLab": of_script(gitlab),
        "Jenkins": of_script(jenkins),
        **{f"k8s {name}": partial(overlay, name) for name in overlays},
    }


def void(_code: int) -> None:
    """For a schedule that looks at no exit code."""


def refusals(schedule: Schedule, hours: int) -> tuple[int, int]:
    """How many logins were refused in so many hours; and the exit code of a run after the password was corrected."""
    with (
        tempfile.TemporaryDirectory() as home,
        SandboxServer(SandboxSettings(port=0, kdf="fast", lock_after=LOCK)) as server,
    ):
        place = Place(server, Path(home), hours)
        for number in range(hours):
            schedule(place, number)
        refused = place.refused
        (place.secrets / "password").write_text(place.right)
        return refused, place.run(hours, "state")


def day(hours: int = 24) -> Figures:
    """Refused logins of each example in a day; and that without any state nothing but a person stops the schedule."""
    told = {name: refusals(schedule, hours) for name, schedule in schedules().items()}
    refused = {name: count for name, (count, _code) in told.items()}
    assert all(0 < count < LOCK for count in refused.values()), refused
    assert {code for _count, code in told.values()} == {0}, told
    alone, _code = refusals(lambda place, number: void(place.run(number, None)), hours)
    return {"hours": hours, "refused": refused, "refused without state": alone, "locks at": LOCK}


if __name__ == "__main__":
    main({"day": day}, __doc__)
