"""Writes docs/sync-machine.md, the tables of the machine that runs one sync: `python -m tools.machine_tables`."""

from pathlib import Path

from runner.jobs import decide as machine
from runner.jobs.decide import Rule
from runner.jobs.states import Event, Phase

PAGE = Path(__file__).parent.parent / "docs" / "sync-machine.md"
HEAD = """\
# The machine of one sync

Written from `runner/jobs/decide.py` by `make docs`. A state and an event give the next state and what the driver does; the
first row that fits decides. `any` is every event that no row before takes. Pauses are those of `runner/jobs/conditions.py`;
a signal or the deadline (`Stopped`) has the same rows in every phase before it, which stand once.
"""


def page() -> str:
    """The whole page."""
    stop = [rule for rule in machine.with_ids() if rule.on.__name__ == "Stopped"]
    own = [[rule for rule in rules if rule not in stop] for rules in (machine.with_ids(), machine.single())]
    parts = [
        HEAD,
        "## A signal or the deadline\n", _table([rule for rule in stop if rule.phase is Phase.POLL], phase="any before"),
        "## An API with job ids\n", _table(own[0]),
        "## An API of one job at a time, without ids\n", _table([rule for rule in own[1] if rule not in own[0]]),
        "The phases `poll`, `settle`, `look`, `cancel` and `confirm` are those of the table before.\n",
    ]  # fmt: skip
    return "\n".join(parts)


def _table(rules: list[Rule], phase: str = "") -> str:
    rows = [
        f"| {phase or rule.phase} | {'any' if rule.on is Event else rule.on.__name__} | {_when(rule)} | {' + '.join(rule.do)} "
        f"| {rule.then} |"
        for rule in rules
    ]
    return "\n".join(["| phase | event | when | do | then |", "| --- | --- | --- | --- | --- |", *rows, ""])


def _when(rule: Rule) -> str:
    name = rule.when.__name__.replace("_", " ")
    pause = rule.after.__name__.replace("_", " ")
    shown = "" if name == "always" else name
    return f"{shown}{', ' if shown else ''}{pause}" if pause != "at once" else shown


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
