"""What is in the image, and what is not."""

import json
import subprocess
from typing import Any

import pytest

from runner import __version__
from tests.containers.engine import ROOT, RUNNER, SANDBOX, docker

BASE = "python:3.13-slim-trixie"
EPOCH = 1_770_000_000  # another one than the Dockerfile's own
MOST_OVER_BASE = 60 * 1000 * 1000

pytestmark = pytest.mark.usefixtures("images")


def inspected(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image).stdout)[0]
    return found


def in_image(code: str, image: str = RUNNER) -> str:
    return docker("run", "--rm", "--entrypoint", "python", image, "-c", code).stdout.strip()


def test_it_starts_the_runner_as_a_user_by_number_and_has_no_health_check() -> None:
    config = inspected(RUNNER)["Config"]
    assert config["Entrypoint"] == ["env", "--block-signal=TERM", "--block-signal=INT", "sync-runner"]
    assert config["User"] == "65532:0"
    assert list(config["Volumes"]) == ["/var/lib/sync-runner"]
    assert not config.get("Healthcheck")
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert docker("run", "--rm", RUNNER, "--version").stdout == f"sync-runner {__version__}\n"


@pytest.mark.parametrize("image", [RUNNER, SANDBOX])
def test_it_holds_no_installer_and_no_compiler(image: str) -> None:
    code = """
import importlib.util, pathlib, shutil
tools = [name for name in ("pip", "pip3", "cc", "gcc", "g++", "ld", "as", "make") if shutil.which(name)]
modules = [name for name in ("pip", "ensurepip", "hatchling", "setuptools") if importlib.util.find_spec(name)]
print(tools + modules + [str(path) for path in pathlib.Path("/").glob("usr/**/pip/__init__.py")])
"""
    assert in_image(code, image) == "[]"


@pytest.mark.parametrize("image", [RUNNER, SANDBOX])
def test_it_holds_nothing_that_helps_an_intruder_and_no_batch_job(image: str) -> None:
    code = """
import os, pathlib, shutil, stat
tools = [name for name in ("apt", "apt-get", "dpkg", "perl", "bash", "curl", "wget", "nc") if shutil.which(name)]
raised = []
for folder, _, names in os.walk("/", onerror=lambda error: None):
    if folder.startswith(("/proc", "/sys", "/dev")):
        continue
    for name in names:
        mode = os.lstat(os.path.join(folder, name)).st_mode
        if stat.S_ISREG(mode) and mode & 0o6000:
            raised.append(name)
print(tools + raised + [str(path) for path in pathlib.Path("/usr/lib").glob("*/perl*")])
"""
    assert in_image(code, image) == "[]"


def test_the_default_image_is_without_the_sandbox_packages_and_says_what_is_missing() -> None:
    done = docker("run", "--rm", RUNNER, "sandbox", check=False)
    assert done.returncode == 2
    assert "starlette" in json.loads(done.stderr)["error"]


@pytest.mark.parametrize("image", [RUNNER, SANDBOX])
def test_all_code_is_byte_compiled_and_needs_no_look_at_its_source(image: str) -> None:
    code = """
import importlib.util, pathlib, sysconfig
roots = [pathlib.Path("/opt/sync-runner/lib"), pathlib.Path(sysconfig.get_path("stdlib"))]
sources = [path for root in roots for path in root.rglob("*.py")]
stale = []
for path in sources:
    compiled = pathlib.Path(importlib.util.cache_from_source(str(path)))
    # PEP 552: flags 1 are a hash that is not checked.
    if not compiled.exists() or int.from_bytes(compiled.read_bytes()[4:8], "little") != 1:
        stale.append(str(path))
print(len(sources) > 500, stale)
"""
    assert in_image(code, image) == "True []"


def test_nothing_in_it_can_be_changed_by_its_user_but_the_state() -> None:
    code = """
import os
writable = []
for root, directories, files in os.walk("/"):
    directories[:] = [name for name in directories if os.path.join(root, name) not in ("/proc", "/sys", "/dev")]
    writable += [path for name in files if os.access(path := os.path.join(root, name), os.W_OK)]
    writable += [root] if os.access(root, os.W_OK) else []
print(sorted(writable))
"""
    found = docker("run", "--rm", "--user", "12345:23456", "--entrypoint", "python", RUNNER, "-c", code).stdout
    assert set(json.loads(found.replace("'", '"'))) == {"/tmp", "/run/lock", "/var/lib/sync-runner", "/var/tmp"}


def test_it_adds_at_most_60_mb_to_its_base() -> None:
    assert inspected(RUNNER)["Size"] - inspected(BASE)["Size"] <= MOST_OVER_BASE


def test_a_second_build_gives_the_same_layers_whatever_the_builder_has_kept() -> None:
    """The first takes what it can from the builds before, which were for another time; the second takes nothing."""
    layers = []
    for more in ((), ("--no-cache",)):
        built = docker(
            *("build", "--quiet", "--network", "host", *more, "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "."),
        ).stdout.strip()  # fmt: skip
        layers.append(inspected(built)["RootFS"]["Layers"])
        newest = "max(path.lstat().st_mtime for path in pathlib.Path('/opt').rglob('*'))"
        assert in_image(f"import pathlib; print(int({newest}))", built) == str(EPOCH)
        docker("rmi", "--force", built)
    assert layers[0] == layers[1]
    assert layers[0] != inspected(RUNNER)["RootFS"]["Layers"]


def test_the_files_it_adds_have_one_order_by_directory_and_by_whole_path() -> None:
    """An engine writes a layer in the one or the other, so that two builds could differ by nothing else."""
    code = """
import json, pathlib
print(json.dumps([str(path) for root in ("/opt", "/var/lib/sync-runner") for path in pathlib.Path(root).rglob("*")]))
"""
    paths = json.loads(in_image(code))
    assert len(paths) > 1000
    assert sorted(paths) == sorted(paths, key=lambda path: path.split("/"))


def test_the_bill_of_materials_lists_exactly_what_is_installed() -> None:
    done = subprocess.run(["make", "sbom"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = json.loads((ROOT / "dist" / "sbom.cdx.json").read_text(encoding="utf-8"))["components"]
    code = "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    installed = {name: version for name, version in json.loads(in_image(code)) if name != "sync-runner"}
    assert {one["name"]: one["version"] for one in listed} == installed
