"""Imports point down the layers of docs/architecture.md, and heavy packages stay out of the start."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import runner

ROOT = Path(runner.__file__).parent

# From the ground up; a module may import from its own layer and those before it. `sandbox` stands aside.
LAYERS: list[set[str]] = [
    {
        "runner",
        "runner.errors",
        "runner.clock",
        "runner.frozen",
        "runner.models",
        "runner.reading",
        "runner.yaml_source",
    }
    | {
        "runner.hardening",
        "runner.limiter",
        "runner.external",
        "runner.outcomes",
        "runner.url",
        "runner.threads",
        "runner.patterns",
    },
    {"runner.settings", "runner.secrets"},
    {"runner.events"},
    {"runner.profile"},
    {"runner.http"},
    {"runner.state"},
    {"runner.auth"},
    {"runner.jobs"},
    {"runner.outputs"},
    {"runner.engine"},
    {"runner.commands"},
    {"runner.parser"},
    {"runner.cli"},
    {"runner.__main__"},
    {"runner.console_script"},
]
SANDBOX = "runner.sandbox"
MAY_USE_SANDBOX = {"runner.commands.sandbox", "runner.commands.demo"}
MAY_NAME_AN_API = {
    "runner.settings.model",
    "runner.settings.sections",  # the path where a sidecar reads a pod's result
    "runner.commands.demo",
    "runner.parser",
}  # the default, and what tells of it
SANDBOX_MAY_USE = {"runner", "runner.errors", "runner.clock"}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    """Every runner module that the file imports, at its top or within."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            deeper = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if _exists(name) else node.module for name in deeper}
    return {name for name in found if name.split(".")[0] == "runner"}


def _exists(name: str) -> bool:
    path = ROOT.parent / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _layer(name: str) -> int:
    for index, layer in enumerate(LAYERS):
        if name in layer or (name != "runner" and ".".join(name.split(".")[:2]) in layer):
            return index
    raise AssertionError(f"{name} stands in no layer")


def _modules() -> dict[str, set[str]]:
    return {_name(path): _imports(path) for path in ROOT.rglob("*.py")}


def test_every_import_points_down() -> None:
    modules = _modules()
    assert len(modules) > 40
    wrong = [
        f"{name} imports {used}"
        for name, imports in modules.items()
        if not name.startswith(SANDBOX)
        for used in imports
        if not used.startswith(SANDBOX) and _layer(used) > _layer(name)
    ]
    assert wrong == []


def test_no_file_is_longer_than_350_lines_and_no_function_than_40() -> None:
    """`events.py` may be longer: it is one list, with a class for each event, and a reader wants it in one place."""
    wrong = []
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 350 and _name(path) != "runner.events.events":
            wrong.append(f"{_name(path)} has {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 40:
                    wrong.append(f"{_name(path)}.{node.name} has {lines} lines")
    assert wrong == []


def test_no_api_has_code_of_its_own() -> None:
    """What is special about an API stands in its profile: only the sandbox, which is one, and its demo name any."""
    apis = [path.stem for path in (ROOT / "profile" / "builtin").glob("*.yaml")]
    # GitLab and GitHub are CI systems too, in which the runner itself runs: their own names are no API's. Nor is "home".
    own = {"dbt", "gitlab", "github", "home"}
    words = sorted({word for name in apis for word in (name, name.partition("-")[0])} - own)
    assert {"garminsync", "prefect", "airflow"} <= {*words}
    wrong = [
        f"{_name(path)}:{node.lineno} names {word}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.count("\n")
        for word in words
        if re.search(rf"\b{word}\b", node.value, re.IGNORECASE)
        and not _name(path).startswith((*MAY_NAME_AN_API, SANDBOX))
    ]
    assert wrong == []


def test_nothing_but_its_own_commands_imports_the_sandbox() -> None:
    wrong = [
        f"{name} imports {used}"
        for name, imports in _modules().items()
        if not name.startswith(SANDBOX) and name not in MAY_USE_SANDBOX
        for used in imports
        if used.startswith(SANDBOX)
    ]
    assert wrong == []


def test_the_sandbox_shares_nothing_with_the_runner_that_it_judges() -> None:
    wrong = [
        f"{name} imports {used}"
        for name, imports in _modules().items()
        if name.startswith(SANDBOX)
        for used in imports
        if not used.startswith(SANDBOX) and used not in SANDBOX_MAY_USE
    ]
    assert wrong == []


def test_help_and_version_import_nothing_heavy() -> None:
    script = (
        "import sys; from runner.cli import run; run([sys.argv[1]]);"
        "print([name for name in sys.argv[2:] if name in sys.modules], file=sys.stderr)"
    )
    heavy = ["pydantic", "httpx", "yaml", "rich", "structlog", "prometheus_client", "asyncio", "pyotp", "starlette"]
    for option in ("--help", "--version"):
        ended = subprocess.run(
            [sys.executable, "-c", script, option, *heavy], capture_output=True, text=True, check=True
        )
        assert ended.stderr.strip() == "[]"
