"""The live view's lines: accounts and syncs are told apart, and a sync that did not complete says why."""

import io
from dataclasses import fields
from itertools import product
from typing import Any

import pytest
from rich.console import Console

from runner.events.events import RunStarted, SyncEnded, SyncProgress, SyncStarted
from runner.events.observer import Record
from runner.outputs.progress import REASON_LINES, Board

WHY = "the data source is not available: try again after three in the morning, or ask whoever runs it"


def _board(accounts: tuple[str, ...], syncs: tuple[str, ...], *, failed: str = "") -> Board:
    """All syncs of all accounts run, and those called `failed` have failed."""
    board = Board(lambda: 100.0)
    for account, sync in product(accounts, syncs):
        context = {"account": account, "sync": sync}
        begun: dict[str, Any] = dict.fromkeys(one.name for one in fields(SyncStarted))
        board.take(Record(90.0, SyncStarted(**begun), context))
        if sync == failed:
            board.take(Record(99.0, SyncEnded("failed", 9.0, 1, error=WHY), context))
    return board


def _drawn(board: Board, width: int, height: int = 60) -> list[str]:
    written = io.StringIO()
    Console(file=written, width=width, height=height, force_terminal=False).print(board)
    return written.getvalue().splitlines()


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_accounts_and_syncs_are_told_apart_at_every_width(width: int) -> None:
    accounts = ("family-anna", "family-bert", "team-of-anna", "team-of-bert")
    lines = _drawn(_board(accounts, ("activities", "health", "workouts")), width)
    names = [line.removeprefix("· ").split()[0] for line in lines]
    assert len({*names}) == 12, names
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [25, 40, 80])
def test_a_cross_comes_with_its_reason(width: int) -> None:
    lines = _drawn(_board(("default",), ("health", "workouts"), failed="health"), width)
    told = " ".join(line.strip() for line in lines[2:])
    assert told.startswith("✗ health: the data source")
    assert len(lines) <= 2 + REASON_LINES
    assert max(map(len, lines)) <= width


def test_the_view_stays_within_the_terminals_height() -> None:
    accounts = tuple(f"account-{number}" for number in range(20))
    assert len(_drawn(_board(accounts, ("health", "workouts"), failed="health"), 40, height=20)) <= 20


def test_progress_and_the_plan_are_counted() -> None:
    board = _board(("default",), ("health",))
    planned: dict[str, Any] = dict.fromkeys(one.name for one in fields(RunStarted))
    board.take(Record(90.0, RunStarted(**planned | {"syncs": 5}), {}))
    told: dict[str, Any] = dict.fromkeys(one.name for one in fields(SyncProgress))
    told |= {"status": "running", "progress": 40.0}
    board.take(Record(95.0, SyncProgress(**told), {"account": "default", "sync": "health"}))
    lines = _drawn(board, 40)
    assert "40%" in lines[0]
    assert lines[-1].startswith("0 of 5 completed, 1 running")
