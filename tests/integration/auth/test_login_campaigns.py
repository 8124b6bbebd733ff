"""The login campaigns, small; and each of them does catch a store that breaks its promise."""

import fcntl
import os

import pytest

from runner.state.directory import DirectoryStore
from runner.state.record import AccountState, Codec
from tests.campaign import login


def test_processes_that_find_one_expired_session_refresh_it_once() -> None:
    told = login.refresh(rounds=2, processes=8)
    assert (told["refreshes a round"], told["revoked"], told["corrupt"]) == (1, 0, 0)


def _lock_nobody_out() -> None:
    fcntl.flock = lambda _descriptor, _how: None


def test_a_store_that_locks_nobody_out_is_caught() -> None:
    with pytest.raises(AssertionError):
        login.refresh(rounds=3, processes=8, prepare=_lock_nobody_out)


def test_a_killed_writer_leaves_the_old_state_or_the_new_one() -> None:
    told = login.crash(kills=20)
    assert (told["old or new"], told["neither"]) == (20, 0)


def _in_place(self: DirectoryStore, state: AccountState) -> None:
    self._place.sessions()
    with self.path.open("wb") as stream:
        for byte in Codec().encode(state):
            os.write(stream.fileno(), bytes([byte]))


def _write_in_place() -> None:
    DirectoryStore._save = _in_place  # type: ignore[method-assign]


def test_a_store_that_is_written_in_place_is_caught() -> None:
    with pytest.raises(AssertionError):
        login.crash(kills=20, prepare=_write_in_place)
