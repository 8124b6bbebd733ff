"""The systemd units: valid, in step with the exit codes and deadlines, and green with the credentials where systemd puts them."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from runner.errors import ExitCode
from runner.settings import DeadlineSettings, parse_duration
from tests.integration.outputs.conftest import need, sandbox_runner

ROOT = Path(__file__).parents[3]
UNITS = ROOT / "examples" / "systemd"
PAGE = (ROOT / "docs" / "deploy" / "systemd.md").read_text()
INSTALLED = "/opt/sync-runner/bin/sync-runner"


def entries(name: str) -> dict[str, list[str]]:
    """A unit's entries; one key may stand several times."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key].append(value)
    return found


SERVICE = entries("sync-runner.service")


def test_systemd_finds_no_fault_in_the_units_and_rates_them_as_the_page_says(tmp_path: Path) -> None:
    tool = need("systemd-analyze")
    true = shutil.which("true") or "/bin/true"
    for unit in UNITS.iterdir():
        text = unit.read_text().replace(INSTALLED, true).replace("/usr/bin/docker", true)
        (tmp_path / unit.name).write_text(text)
    (tmp_path / "docker.service").write_text(f"[Service]\nExecStart={true}\n")  # the engine's own
    names = [str(unit) for unit in tmp_path.iterdir()]
    done = subprocess.run([tool, "verify", *names], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    told = re.search(r"exposure (\d\.\d) of 10", PAGE)
    service = tmp_path / "sync-runner.service"
    rated = subprocess.run([tool, "security", "--offline=yes", str(service)], capture_output=True, text=True)
    exposure = re.search(r"exposure level for sync-runner.service: (\d+\.\d)", rated.stdout)
    assert told and exposure and float(exposure[1]) <= float(told[1]) + 0.3, (
        rated.stdout
    )  # versions rate a little apart


def test_it_is_started_again_exactly_where_another_try_helps() -> None:
    never = {int(code) for code in SERVICE["RestartPreventExitStatus"][0].split()}
    assert SERVICE["Restart"] == ["on-failure"]
    assert never == {code for code in ExitCode if code.retry_helps != "yes"} - {0}


@pytest.mark.parametrize("unit", ["sync-runner.service", "sync-runner-compose.service"])
def test_its_time_outs_leave_room_for_the_runners_own(unit: str) -> None:
    start, stop = (
        parse_duration(entries(unit)[key][0].replace(" ", "").replace("min", "m"))
        for key in ("TimeoutStartSec", "TimeoutStopSec")
    )
    assert start > (DeadlineSettings().run or 0) + 60
    assert stop >= 10


@pytest.mark.parametrize("word", [SERVICE["ExecStart"][0], *SERVICE["LoadCredential"]])
def test_the_page_says_where_each_file_of_the_unit_comes_from(word: str) -> None:
    for path in re.findall(r"/etc/sync-runner/\S+", word):
        assert Path(path).name in PAGE and str(Path(path).parent) in PAGE


def test_its_command_is_green_with_the_credentials_where_systemd_puts_them(tmp_path: Path, year: Path) -> None:
    [text] = re.findall(r"^   ```yaml\n(.*?)^   ```$", PAGE, re.MULTILINE | re.DOTALL)
    settings = yaml.safe_load(text)
    state, credentials = tmp_path / "state", tmp_path / "credentials"
    settings["metrics"]["textfile"] = str(state / Path(settings["metrics"]["textfile"]).name)
    state.mkdir(0o700)
    [variable] = SERVICE["Environment"]
    name, _, value = variable.partition("=")
    places = {name: value.replace("%S/sync-runner", str(state)), "CREDENTIALS_DIRECTORY": str(credentials)}
    [command] = SERVICE["ExecStart"]
    words = command.removeprefix(INSTALLED).replace("/etc/sync-runner", str(tmp_path)).split()
    with sandbox_runner(tmp_path, data=year) as runner:
        (tmp_path / "runner.yaml").write_text(yaml.safe_dump({**settings, "base_url": runner.server.base_url}))
        runner.secrets.rename(credentials)
        assert {file.name for file in credentials.iterdir()} == {
            one.partition(":")[0] for one in SERVICE["LoadCredential"]
        }
        begin = [sys.executable, "-m", "runner", *words]
        done = subprocess.run(begin, env={**runner.env, **places}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"exit_code": 0' in done.stderr.splitlines()[-1]
    assert (state / "sync_runner.prom").is_file()
