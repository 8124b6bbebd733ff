"""The tests' own test: mutmut breaks the code in small ways, and a test must notice. `python -m tests.campaign.mutation`.

Which files are broken, and which tests are asked, stands in pyproject.toml (`tool.mutmut`). What mutmut cannot break
(module constants, functions with a decorator) is not counted.
"""
# Decision 0020.

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

NOTICED = frozenset({"killed", "timeout", "segfault"})


def results(patterns: list[str], root: Path = Path("mutants")) -> dict[str, dict[str, str]]:
    """The outcome of each mutant whose name fits one of the patterns, by file."""
    from mutmut.stats import status_by_exit_code

    found: dict[str, dict[str, str]] = {}
    for path in sorted(root.rglob("*.py.meta")):
        codes: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
        wanted = {name: code for name, code in codes.items() if any(fnmatch(name, one) for one in patterns)}
        if wanted:
            file = str(path.relative_to(root)).removesuffix(".meta")
            found[file] = {name: status_by_exit_code[code] for name, code in wanted.items()}
    return found


def figures(file: str, mutants: dict[str, str]) -> dict[str, Any]:
    """One file's score, in per cent, and the mutants that no test noticed."""
    noticed = sum(outcome in NOTICED for outcome in mutants.values())
    return {
        "file": file,
        "mutants": len(mutants),
        "outcomes": dict(Counter(mutants.values())),
        "score": round(100 * noticed / len(mutants), 1),
        "unnoticed": [name for name, outcome in mutants.items() if outcome not in NOTICED],
    }


def main() -> int:
    """Break what the patterns name, or all, and print each file's score as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN", help="mutants, as `runner.auth.*`")
    parser.add_argument("--processes", default="2")
    parser.add_argument("--least", type=float, default=90.0, help="the score, in per cent, that each file must reach")
    asked = parser.parse_args()
    shutil.rmtree("mutants", ignore_errors=True)  # what is kept there tells of older code, and of which test reached it
    mutmut = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", asked.processes]
    done = subprocess.run([*mutmut, *asked.patterns], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-4000:] + done.stderr)
    reached = True
    for file, mutants in results(asked.patterns).items():
        told = figures(file, mutants)
        reached = reached and told["score"] >= asked.least
        print(json.dumps(told), flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
