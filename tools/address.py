"""The project's address stands in pyproject.toml, as the URL `Repository`. This script writes it wherever else it is needed.

python -m tools.address           # write it
python -m tools.address --check   # exit 1 and name the files that have another one
"""
# Decision 0081.

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Where people and machines read the address. The Action's own uses are `OWNER/sync-runner@...`, without a host.
READERS = (
    "*.md", "Dockerfile", "action.yml", "compose*.yaml", "docs/**/*.md", "examples/**/*", "k8s/**/*.yaml", "charts/**/*.yaml",
    ".github/**/*.yml", "pyproject.toml", "runner/__init__.py",
)  # fmt: skip
# An owner and `sync-runner`: after the host, or before the `@` of a reference to the Action.
ADDRESS = re.compile(
    r"(?<=https://github\.com/)[\w.-]+/sync-runner\b|(?<=uses: )[\w.-]+/sync-runner(?=@)|(?<=ghcr\.io/)[\w.-]+/sync-runner\b"
)


def repository(root: Path = ROOT) -> str:
    """OWNER/NAME of the repository, by pyproject.toml. Raises KeyError where it has no URL `Repository`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    url: str = project["urls"]["Repository"]
    return url.removeprefix("https://github.com/")


def rewritten(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Each file that has another address, and its text with the right one."""
    name = repository(root)
    for pattern in READERS:
        for path in sorted(root.glob(pattern)):
            if not path.is_file():
                continue
            text = path.read_text(encoding="utf-8")
            changed = ADDRESS.sub(name, text)
            if changed != text:
                yield path, changed


def main(words: list[str]) -> int:
    """Write the address, or with `--check` only name the files that differ. Returns the exit code."""
    found = list(rewritten())
    for path, text in found:
        print(path.relative_to(ROOT))
        if "--check" not in words:
            path.write_text(text, encoding="utf-8")
    return 1 if found and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
