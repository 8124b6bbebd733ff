"""The project's address stands in one place, pyproject.toml; every file that shows it has the same."""

import re
import shutil
import tomllib
from pathlib import Path

from tools.address import ADDRESS, READERS, repository, rewritten

ROOT = Path(__file__).parents[2]


def test_every_file_has_the_address_of_the_metadata() -> None:
    assert [str(path.relative_to(ROOT)) for path, _text in rewritten()] == [], "run `make docs`"


def test_the_metadata_leads_to_code_docs_changes_and_issues() -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert set(urls) == {"Repository", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(urls["Repository"]) for url in urls.values())


def test_a_new_owner_in_the_metadata_reaches_every_file(tmp_path: Path) -> None:
    old = repository()
    for pattern in READERS:
        for path in ROOT.glob(pattern):
            if path.is_file() and ADDRESS.search(path.read_text(encoding="utf-8")):
                copy = tmp_path / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    project = tmp_path / "pyproject.toml"
    project.write_text(
        project.read_text().replace(
            f'Repository = "https://github.com/{old}"', 'Repository = "https://github.com/new-owner/sync-runner"'
        )
    )
    for path, text in [*rewritten(tmp_path)]:
        path.write_text(text)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"Dockerfile", "SECURITY.md", "__init__.py", "rules.yaml", "prometheusrule.yaml", "ci.md"} <= {
        path.name for path in files
    }
    for path in files:
        assert {found[0] for found in ADDRESS.finditer(path.read_text())} <= {"new-owner/sync-runner"}, path


def test_no_tracked_text_names_another_repository_of_this_name() -> None:
    """What the patterns of READERS do not reach."""
    name = repository()
    for folder in ("runner", "tests", "benchmarks", "container"):
        for path in (ROOT / folder).rglob("*.py"):
            found = {one[0] for one in re.finditer(r"(?<=github\.com/)[\w.-]+/sync-runner\b", path.read_text())}
            assert found <= {name, "new-owner/sync-runner"}, path


def test_the_image_says_where_it_comes_from() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for label in ("url", "source", "documentation"):
        assert re.search(rf'org\.opencontainers\.image\.{label}="https://github\.com/{repository()}', text), label
