"""The token store: whole files, never through a link, never wedged by a broken one."""

import asyncio
import base64
import json
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded, SecretError, StateError
from runner.state.directory import DirectoryStore
from runner.state.interface import AccountOptions, account_key
from runner.state.memory import MemoryState, MemoryStore
from runner.state.record import AccountState, Codec
from tests.support.sessions import session
from tests.support.stores import directory_store, load, save

CLOCK = SystemClock()
SESSION = session("token", refresh_token="again", expires_at=5.0, mfa_verified=True)


def _store(directory: Path, warnings: list[str] | None = None) -> DirectoryStore:
    told: list[str] = [] if warnings is None else warnings
    with suppress(OSError):
        (directory / "sessions").mkdir(mode=0o700, parents=True)
    return directory_store(directory, warn=told.append)


def _file(directory: Path) -> Path:
    return next((directory / "sessions").glob("*.json"))


def test_what_is_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    stored = AccountState(SESSION, last_step=7, failures=1, cooldown_until=9.0, skew=-3.5)
    save(_store(tmp_path), stored)
    assert load(_store(tmp_path)) == stored


def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        save(directory_store(tmp_path / "state"), AccountState(SESSION))
    finally:
        os.umask(before)
    sessions = tmp_path / "state" / "sessions"
    assert {stat.S_IMODE(path.stat().st_mode) for path in sessions.iterdir()} == {0o600}
    assert stat.S_IMODE(sessions.stat().st_mode) == 0o700


def test_accounts_and_apis_do_not_share_a_file(tmp_path: Path) -> None:
    one = directory_store(tmp_path, "https://x.example", "a")
    save(one, AccountState(SESSION))
    assert load(directory_store(tmp_path, "https://x.example", "b")) == AccountState()
    assert load(directory_store(tmp_path, "https://y.example", "a")) == AccountState()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema": 1}',
        b'{"schema": "1", "session": null}',
        b'{"schema": 1, "session": null, "last_step": "7"}',
        b'{"schema": 1, "session": {"access_token": 5}}',
        b'{"schema": 1, "session": null, "skew": NaN}',
        b'{"schema": 1, "session": null, "surprise": 1e999}',
        b'{"schema": 1, "sealed": "AAAA"}',
        b"[" * 100_000,
        b"x" * (2 << 20),
    ],
)
def test_a_broken_file_is_set_aside_and_its_steps_count_as_used(tmp_path: Path, content: bytes) -> None:
    save(_store(tmp_path), AccountState(SESSION))
    _file(tmp_path).write_bytes(content)
    written = _file(tmp_path).stat().st_mtime
    warnings: list[str] = []
    loaded = load(_store(tmp_path, warnings))
    assert loaded == AccountState(assume_used_until=written)
    assert "set aside" in warnings[0]
    aside = list((tmp_path / "sessions").glob("*.corrupt-*"))
    assert [path.read_bytes() for path in aside] == [content]
    assert load(_store(tmp_path)) == AccountState(assume_used_until=written)


def test_a_file_cut_off_anywhere_never_breaks_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # the slowest part, and not what is tested
    store = _store(tmp_path)
    save(store, AccountState(SESSION, last_step=7))
    whole = _file(tmp_path).read_bytes()
    for length in range(len(whole)):
        store._save(AccountState(SESSION, last_step=7))
        _file(tmp_path).write_bytes(whole[:length])
        assert store._load()[0].session is None
    assert len(list((tmp_path / "sessions").glob("*.corrupt-*"))) <= 4


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    store = _store(tmp_path)
    save(store, AccountState(SESSION))
    path = _file(tmp_path)
    target = tmp_path / "target"
    target.write_text("the user's")
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(StateError, match="is a link, which is not followed"):
        load(store)
    with pytest.raises(StateError, match="is a link, which is not followed"):
        save(store, AccountState(SESSION))
    assert target.read_text() == "the user's"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    store = _store(tmp_path)
    (tmp_path / "sessions" / store._lock).symlink_to(tmp_path / "elsewhere")

    async def hold() -> None:
        async with store.hold(Deadline(CLOCK)):
            pass

    with pytest.raises(StateError, match="is a link, which is not followed"):
        asyncio.run(hold())
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_or_pipe_in_its_place_is_told(tmp_path: Path) -> None:
    store = _store(tmp_path)
    os.mkfifo(store.path)
    with pytest.raises(StateError, match="not a regular file"):
        load(store)


def test_a_file_open_to_others_is_closed(tmp_path: Path) -> None:
    store = _store(tmp_path)
    save(store, AccountState(SESSION))
    _file(tmp_path).chmod(0o644)
    warnings: list[str] = []
    assert load(_store(tmp_path, warnings)).session == SESSION
    assert stat.S_IMODE(_file(tmp_path).stat().st_mode) == 0o600
    assert "mode 0644" in warnings[0]


def test_a_failed_save_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    save(store, AccountState(SESSION))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left on device"):
        save(store, AccountState(last_step=9))
    monkeypatch.undo()
    assert load(store).session == SESSION
    assert list((tmp_path / "sessions").glob(".*.tmp")) == []


def test_a_save_that_can_not_even_clean_up_tells_the_first_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_named: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", _full)
    monkeypatch.setattr(os, "unlink", broken)
    with pytest.raises(StateError, match="No space left on device"):
        save(_store(tmp_path), AccountState(SESSION))


def test_a_killed_writers_leftovers_are_removed_when_they_are_old(tmp_path: Path) -> None:
    store = _store(tmp_path)
    old, young = (tmp_path / "sessions" / f".{store.path.name}.{name}.tmp" for name in ("old", "young"))
    old.write_text("")
    young.write_text("")
    os.utime(old, (1, 1))
    load(_store(tmp_path))  # another run
    assert (old.exists(), young.exists()) == (False, True)


def test_a_held_lock_is_waited_for_until_the_deadline_and_no_longer(tmp_path: Path) -> None:
    first, second = _store(tmp_path), _store(tmp_path)

    async def both() -> None:
        async with first.hold(Deadline(CLOCK)):
            with pytest.raises(DeadlineExceeded, match="another sync-runner held the login lock"):
                async with second.hold(Deadline.after(CLOCK, 0.05, "the run's deadline")):
                    raise AssertionError("two hold the lock")
        async with second.hold(Deadline.after(CLOCK, 5.0, "the run's deadline")):
            pass

    asyncio.run(both())
    assert first.path.with_name(first._lock).exists()


def test_without_a_directory_all_is_kept_in_memory() -> None:
    state = MemoryState()
    store = state.account("key", AccountOptions(Codec(), print))
    save(store, AccountState(SESSION))
    assert state.account("key", AccountOptions(Codec(), print)) is store
    assert load(store).session == SESSION


def test_a_directory_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError) as caught:
        load(_store(tmp_path / "file"))
    told = "cannot be used (File exists); check state.dir, its owner and its mode"
    assert str(caught.value) == f"{tmp_path / 'file'}: {told}"


def test_no_repr_shows_a_token(tmp_path: Path) -> None:
    store = _store(tmp_path)
    save(store, AccountState(SESSION))
    assert "token" not in repr(SESSION)
    assert json.loads(_file(tmp_path).read_text())["session"]["token"]["access_token"] == "token"


def test_each_fault_of_the_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    makes: dict[str, Callable[[], None]] = {
        "is a link, which is not followed; remove it": lambda: store.path.symlink_to("/x"),
        "not a regular file; remove it": lambda: os.mkfifo(store.path),
        "No such device or address; remove it": lambda: os.mknod(store.path, stat.S_IFSOCK),
    }
    for fault, make in makes.items():
        make()
        with pytest.raises(StateError) as caught:
            load(store)
        assert str(caught.value) == f"{store.path}: {fault}"
        store.path.unlink()
    save(store, AccountState())
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StateError) as caught:
        save(store, AccountState(last_step=9))
    told = "the session cannot be stored (No space left on device); check space and permissions of state.dir"
    assert str(caught.value) == f"{store.path}: {told}"


def test_a_file_that_can_not_be_closed_to_others_or_set_aside_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_asked: object, **_named: object) -> None:
        raise OSError(1, "Operation not permitted")

    store = _store(tmp_path)
    store.path.write_text("{")
    store.path.chmod(0o604)
    monkeypatch.setattr(os, "fchmod", forbidden)  # another user's file
    with pytest.raises(StateError) as caught:
        load(store)
    assert str(caught.value) == f"{store.path}: Operation not permitted; remove it"
    store.path.chmod(0o600)
    monkeypatch.setattr(os, "rename", forbidden)  # in a directory where only owners may move files
    with pytest.raises(StateError) as caught:
        load(store)
    told = "corrupt, and cannot be set aside (Operation not permitted); remove it"
    assert str(caught.value) == f"{store.path}: {told}"
    assert store.path.read_text() == "{"


def _full(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_what_is_written_is_on_the_disk_before_it_counts_file_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, move = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def moved(name: str, other: str, **directories: int) -> None:
        done.append("rename")
        move(name, other, **directories)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", moved)
    save(_store(tmp_path), AccountState(SESSION))
    assert done == ["file", "rename", "directory"]


def test_no_descriptor_stays_open_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    load(store)
    before = len(list(Path("/proc/self/fd").iterdir()))
    save(store, AccountState(SESSION))
    load(store)
    store.path.write_text("{")
    load(store)
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(StateError):
        save(store, AccountState(last_step=9))
    store.path.unlink()
    os.mkfifo(store.path)
    with pytest.raises(StateError):
        load(store)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_descriptor_is_inherited_by_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open
    flags: list[int] = []

    def watched(path: object, flag: int, *mode: int, **more: int) -> int:
        flags.append(flag)
        return opened(path, flag, *mode, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    store = _store(tmp_path)
    save(store, AccountState(SESSION))
    load(store)
    assert len(flags) == 6  # the two directories, the lock, the file (none yet), the temporary one, the file
    assert all(flag & os.O_CLOEXEC for flag in flags)
    assert [bool(flag & os.O_NOFOLLOW) for flag in flags] == [False, *[True] * 5]


def test_a_sealed_file_without_its_key_is_named_and_left_where_it_is(tmp_path: Path) -> None:
    key = base64.b64encode(bytes(32)).decode()
    sealed = directory_store(tmp_path, codec=Codec([key]))
    save(sealed, AccountState(SESSION))
    assert b"token" not in _file(tmp_path).read_bytes()
    with pytest.raises(SecretError) as caught:
        load(_store(tmp_path))
    assert str(caught.value).startswith(f"{_file(tmp_path)}: the stored session is encrypted;")
    assert load(sealed) == AccountState(SESSION)


def test_the_warnings_say_what_was_done(tmp_path: Path) -> None:
    warnings: list[str] = []
    store = _store(tmp_path, warnings)
    save(store, AccountState(SESSION))
    _file(tmp_path).chmod(0o640)
    load(store)
    store.path.write_text("{")
    load(store)
    aside = next((tmp_path / "sessions").glob("*.corrupt-*"))
    assert aside.name == f"{store.path.stem}.{aside.suffix[1:]}"
    assert abs(int(aside.suffix.removeprefix(".corrupt-")) - CLOCK.time()) < 60
    assert warnings == [
        f"{store.path}: was accessible to other users (mode 0640); changed to 0600",
        f"{store.path}: not a readable state file; set aside as {aside.name}, a new login follows",
    ]


def test_the_three_newest_broken_files_are_kept(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for number in range(1, 6):
        store.path.with_suffix(f".corrupt-{number}").write_text("")
    store.path.with_suffix(".corrupt-0").mkdir()  # it cannot be removed like a file
    store.path.write_text("{")
    load(store)
    remaining = sorted(path.suffix for path in (tmp_path / "sessions").glob("*.corrupt-*"))
    assert [remaining[0], *remaining[-2:]] == [".corrupt-0", ".corrupt-4", ".corrupt-5"]
    assert len(remaining) == 4


def test_a_broken_file_that_another_process_set_aside_first_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(tmp_path)
    store.path.write_text("{")
    written = store.path.stat().st_mtime

    def gone(name: str, _other: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.unlink(name, dir_fd=src_dir_fd)
        raise FileNotFoundError

    monkeypatch.setattr(os, "rename", gone)
    assert load(store) == AccountState(assume_used_until=written)
    assert not store.path.exists()


def test_a_temporary_file_is_its_process_own_and_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    seen: list[str] = []

    def denied(name: str, _other: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        seen.append(name)
        assert stat.S_IMODE(os.stat(name, dir_fd=src_dir_fd).st_mode) == 0o600
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", denied)
    for _ in range(2):
        with pytest.raises(StateError):
            save(store, AccountState(last_step=9))
    assert all(name.startswith(f".{store.path.name}.{os.getpid()}.") and name.endswith(".tmp") for name in seen)
    assert len(set(seen)) == 2
    assert list((tmp_path / "sessions").glob("*.tmp")) == []


def test_an_account_is_named_by_a_hash_of_address_and_user() -> None:
    assert account_key("https://x.example", "user") == "f4a78d04a74c6dc445676c0182607432"
    assert MemoryStore().state == AccountState()


def test_old_leftovers_are_those_of_more_than_an_hour_ago(tmp_path: Path) -> None:
    store = _store(tmp_path)
    remaining = {age: tmp_path / "sessions" / f".{store.path.name}.{age}.tmp" for age in (3500, 3700)}
    for age, path in remaining.items():
        path.write_text("")
        os.utime(path, (CLOCK.time() - age, CLOCK.time() - age))
    load(_store(tmp_path))  # the next run, which has its own clock
    assert [age for age, path in remaining.items() if path.exists()] == [3500]


def test_a_cancelled_wait_for_the_lock_leaves_it_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, opening, go_on = _store(tmp_path), threading.Event(), threading.Event()
    load_locked = store._load_locked

    def slow(descriptor: int) -> object:
        opening.set()
        go_on.wait(30)
        return load_locked(descriptor)

    async def held(seconds: float) -> None:
        async with store.hold(Deadline.after(CLOCK, seconds, "the time")):
            pass

    async def work() -> None:
        monkeypatch.setattr(store, "_load_locked", slow)
        first = asyncio.ensure_future(held(30.0))
        await asyncio.to_thread(opening.wait, 30)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        go_on.set()
        await held(5.0)

    asyncio.run(work())
