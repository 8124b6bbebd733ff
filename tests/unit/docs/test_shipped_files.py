"""What is shipped beside the package agrees with it: .env.example, the locks, the Dockerfile, the demo's credentials."""

import re
import subprocess
from pathlib import Path

import pytest

from k8s.written import WRITTEN
from runner import __version__
from runner.commands.config import env_example
from tools import decision_index

ROOT = Path(__file__).parents[3]


def test_the_env_example_is_what_config_init_writes() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example()


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_what_manifests_and_chart_take_from_elsewhere_is_as_written(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == WRITTEN[path](), "run `make docs`"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-sandbox.lock", "requirements-build.lock"])
def test_every_locked_requirement_has_a_hash_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text and "--find-links" not in text
    requirements = re.split(r"\n(?=\S)", text.rstrip())
    assert len(requirements) > 4
    for requirement in requirements:
        assert re.match(r"[\w.-]+==\S+ ", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_the_sandbox_image_has_the_runner_images_versions() -> None:
    assert pinned("requirements.lock").items() < pinned("requirements-sandbox.lock").items()


def test_the_locks_that_one_command_installs_together_agree() -> None:
    build, runner = pinned("requirements-build.lock"), pinned("requirements.lock")
    assert {name: build[name] for name in build.keys() & runner.keys()}.items() <= runner.items()


def pinned(lock: str) -> dict[str, str]:
    """The version of each package in the lock."""
    return dict(re.findall(r"^(\S+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_dockerfile_starts_from_the_one_base_and_is_labelled_with_the_version() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    stages = set(re.findall(r" AS (\S+)$", text, re.MULTILINE))
    assert bases - stages == {"${BASE}", "scratch"}
    assert re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE) == ["python:3.13-slim-trixie"]
    assert "BASE=${{ steps.source.outputs.base }}" in (ROOT / ".github/workflows/image.yml").read_text(encoding="utf-8")
    assert f"ARG VERSION={__version__}\n" in text
    assert re.findall(r"^FROM .* AS (\S+)$", text, re.MULTILINE)[-1] == "runner"
    assert "# syntax=" not in text


def test_the_sandbox_of_compose_knows_the_credentials_that_the_runner_mounts() -> None:
    examples = ROOT / "examples" / "compose"
    for name in ("password", "totp_seed"):
        assert (examples / "secrets" / name).read_bytes() == (examples / "sandbox" / name).read_bytes()


def test_no_private_file_could_reach_the_image() -> None:
    """The context is an allow-list; this holds that nobody turns it into a deny-list."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert allowed == {
        "LICENSE", "README.md", "container", "pyproject.toml", "requirements*.lock", "runner", "tools/build_hook.py",
    }  # fmt: skip


def test_the_layout_script_is_valid_shell() -> None:
    assert subprocess.run(["sh", "-n", ROOT / "container" / "lay-out.sh"], check=False).returncode == 0


def test_the_index_of_decisions_is_current() -> None:
    kept = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert kept == decision_index.index(), "run `make docs`"


def test_every_decision_is_named_by_the_code_that_it_explains() -> None:
    notes = {path.name[:4] for path in decision_index.NOTES.glob("[0-9]*.md")}
    named = decision_index.named()
    assert notes - named.keys() == set(), "name each where it is carried out: `# Decision 0061.`"
    assert named.keys() - notes == set()
