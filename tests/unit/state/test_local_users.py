"""Other users of the machine: what they planted is not believed, and nothing of theirs is changed."""

import asyncio
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from runner.clock import GRACE, Deadline, SystemClock
from runner.errors import DeadlineExceeded, StateError, UsageError
from runner.state.file_lock import open_lock
from runner.state.file_worker import FileWorker
from runner.state.private_directory import PrivateDirectory
from runner.state.record import AccountState
from tests.support.ledgers import open_ledger
from tests.support.sessions import session
from tests.support.stores import directory_store, load, save

OTHER = 54321
STORED = AccountState(session("token"))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o2777])
def test_a_state_directory_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    state = tmp_path / "state"
    save(directory_store(state), STORED)
    state.chmod(mode)
    if mode & stat.S_ISGID and os.geteuid() == 0:
        os.chown(state, 0, OTHER)
        state.chmod(mode)
    with pytest.raises(StateError, match="other users may write it"):
        load(directory_store(state))
    with pytest.raises(UsageError, match="other users may write it"):
        open_ledger(state)


def test_a_sticky_directory_and_a_volume_of_our_group_are_safe(tmp_path: Path) -> None:
    for mode in (0o1777, 0o2770, 0o2775, 0o755):
        state = tmp_path / f"{mode:o}"
        state.mkdir()
        os.chown(state, -1, os.getegid())
        state.chmod(mode)
        save(directory_store(state), STORED)
        assert load(directory_store(state)) == STORED
        open_ledger(state).close()


@as_root
@pytest.mark.parametrize("name", ["", "sessions"])
def test_a_directory_of_another_user_is_refused(tmp_path: Path, name: str) -> None:
    state = tmp_path / "state"
    save(directory_store(state), STORED)
    os.chown(state / name, OTHER, OTHER)
    with pytest.raises(StateError, match=rf"belongs to another user \(uid {OTHER}\)"):
        load(directory_store(state))


@as_root
def test_a_session_that_another_user_planted_is_not_used(tmp_path: Path) -> None:
    store = directory_store(tmp_path)
    save(store, STORED)
    os.chown(store.path, OTHER, OTHER)
    with pytest.raises(StateError, match="belongs to another user"):
        load(directory_store(tmp_path))


@as_root
def test_a_lock_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.lock").touch()
    os.chown(tmp_path / "x.lock", OTHER, OTHER)
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_lock(tmp_path / "x.lock")


def test_a_lock_that_another_user_may_hold_by_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hard.lock").touch()
    (tmp_path / "other").hardlink_to(tmp_path / "hard.lock")
    os.mkfifo(tmp_path / "pipe.lock")
    for name in ("hard", "pipe"):
        with pytest.raises(PermissionError, match="no file of its own"):
            open_lock(tmp_path / f"{name}.lock")


def test_a_hard_link_or_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    store = directory_store(tmp_path)
    save(store, STORED)
    store.path.chmod(0o666)
    with pytest.raises(StateError, match="other users may write it"):
        load(store)
    store.path.chmod(0o600)
    (tmp_path / "another").hardlink_to(store.path)
    with pytest.raises(StateError, match="a hard link"):
        load(store)


@pytest.mark.parametrize("name", ["ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm", "ledger.lock"])
def test_the_ledger_follows_no_link_and_changes_no_other_file(tmp_path: Path, name: str) -> None:
    state, target = tmp_path / "state", tmp_path / "target"
    target.write_text("somebody's")
    target.chmod(0o644)
    state.mkdir(0o700)
    (state / name).symlink_to(target)
    with pytest.raises(UsageError):
        open_ledger(state)
    assert target.read_text() == "somebody's"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_the_ledgers_files_are_made_for_us_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ledger = open_ledger(tmp_path / "state")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    ledger.close()
    assert {"ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm", "ledger.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["ledger.sqlite3", "ledger.lock"])
def test_a_pipe_in_the_ledgers_place_is_an_error_and_never_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match=f"{name}.*remove it|not a regular file|no file of its own"):
        open_ledger(tmp_path)


def test_a_link_to_the_state_directory_may_be_ours(tmp_path: Path) -> None:
    """As systemd makes one for a service with a dynamic user."""
    (tmp_path / "private").mkdir(0o700)
    (tmp_path / "state").symlink_to(tmp_path / "private")
    PrivateDirectory.open(tmp_path / "state").close()


def test_a_file_system_that_hangs_is_given_up_at_the_deadline() -> None:
    clock, release = SystemClock(), threading.Event()

    async def work() -> float:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="/state: the file system did not answer before the run's deadline"):
            await FileWorker().run(lambda: release.wait(30), Deadline.after(clock, 0.1, "the run's deadline"), "/state")
        return time.monotonic() - began

    assert asyncio.run(work()) < 10
    release.set()


def test_a_file_system_that_hangs_has_its_grace_once_however_much_is_left_to_do() -> None:
    clock, release, worker = SystemClock(), threading.Event(), FileWorker()
    over = Deadline.after(clock, 0.0, "the run's deadline", GRACE)

    async def work() -> list[float]:
        spent = []
        for _ in range(20):
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await worker.run(lambda: release.wait(30), over, "/state")
            spent.append(time.monotonic() - began)
        return spent

    first, *others = asyncio.run(work())
    assert first >= GRACE and sum(one >= GRACE for one in others) <= 1  # a busy machine may be late once
    release.set()
