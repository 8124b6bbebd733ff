"""The state machine over login, for a moment; and it does notice a client that breaks one of its promises."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any
from unittest import mock

import pytest

from runner.auth import codes, login_flow, refusals, renewal, session, totp
from runner.auth.codes import Codes
from runner.errors import LoginRefused
from runner.http import retry
from runner.state.interface import LoadedState
from runner.state.record import AccountState
from tests.campaign import machine
from tests.support.login_model import SharedStore


def test_no_sequence_of_a_thousand_steps_is_illegal() -> None:
    came = machine.steps(1000, repeatable=True)
    assert came["steps"] >= 900
    assert {"session", "storm", "crash", "LoginRefused"} <= came.keys(), came


def _any_step(choose: Callable[..., totp.Choice]) -> Callable[..., totp.Choice]:
    return lambda seed, now, _last: choose(seed, now, None)


@asynccontextmanager
async def _open_to_all(store: SharedStore, _deadline: Any) -> AsyncIterator[LoadedState]:
    async def save(state: AccountState) -> None:
        store.save(state)

    held = LoadedState(store.load(), float("inf"), save)
    yield held
    await held.keep()


BROKEN: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "a used step is chosen again": lambda: mock.patch.object(totp, "choose_step", _any_step(totp.choose_step)),
    "refusals are not looked at": lambda: mock.patch.object(refusals, "check", lambda *_: None),
    "the cool-down is not looked at": lambda: mock.patch.object(refusals, "cooldown", lambda *_: 0.0),
    "a refused password is not told again": lambda: mock.patch.object(refusals, "_same", lambda *_: False),
    "refusals follow each other at once": lambda: mock.patch.object(login_flow, "APART", 0.0),
    "a doubtful password is sent again": lambda: mock.patch.object(
        login_flow._Sending, "why", lambda _self, failure: retry.reason(failure, retry.Safety.IDEMPOTENT)
    ),
    "a doubtful password is sent again by the next sync": lambda: mock.patch.object(
        login_flow.LoginFlow, "_check_unclear", lambda *_: None
    ),
    "refusals are not kept": lambda: mock.patch.object(refusals, "note", lambda *_: None),
    "processes do not wait for each other": lambda: mock.patch.object(SharedStore, "hold", _open_to_all),
    "the clock's skew is not measured": lambda: mock.patch.object(Codes, "measure_skew", lambda *_: None),
    "a session that has ended is used": lambda: mock.patch.object(session, "EXPIRY_MARGIN", -100.0),
    "a lost refresh is sent again": lambda: mock.patch.object(renewal, "not_looked_at", lambda _failure: "again"),
    "a run sends nine codes": lambda: mock.patch.object(codes, "MAX_CODES", 9),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_noticed(what: str) -> None:
    with BROKEN[what](), pytest.raises((AssertionError, LoginRefused)):
        machine.steps(20_000, repeatable=True)
