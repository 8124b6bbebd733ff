"""The token store: whole files, never through a link, never wedged by a broken one."""

import asyncio
import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded, SecretError
from runner.state.directory import FileStore, MemoryStore, account_key, open_store
from runner.state.record import AccountState, Codec
from tests.support.sessions import session

CLOCK = SystemClock()
SESSION = session("token", refresh_token="again", expires_at=5.0, mfa_verified=True)


def _store(directory: Path, warnings: list[str] | None = None) -> FileStore:
    told: list[str] = [] if warnings is None else warnings
    store = open_store(directory, "https://x.example", "user", CLOCK, told.append)
    assert isinstance(store, FileStore)
    return store


def _file(directory: Path) -> Path:
    return next((directory / "sessions").glob("*.json"))


def test_what_is_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    stored = AccountState(SESSION, last_step=7, failures=1, cooldown_until=9.0, skew=-3.5)
    _store(tmp_path).save(stored)
    assert _store(tmp_path).load() == stored


def test_only_the_user_may_read_it(tmp_path: Path) -> None:
    os.umask(0)
    _store(tmp_path / "state").save(AccountState(SESSION))
    sessions = tmp_path / "state" / "sessions"
    assert {stat.S_IMODE(path.stat().st_mode) for path in sessions.iterdir()} == {0o600}
    assert stat.S_IMODE(sessions.stat().st_mode) == 0o700


def test_accounts_and_apis_do_not_share_a_file(tmp_path: Path) -> None:
    one = open_store(tmp_path, "https://x.example", "a", CLOCK, print)
    one.save(AccountState(SESSION))
    assert open_store(tmp_path, "https://x.example", "b", CLOCK, print).load() == AccountState()
    assert open_store(tmp_path, "https://y.example", "a", CLOCK, print).load() == AccountState()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schema": 1}',
        b'{"schema": 99, "session": null}',
        b'{"schema": 1, "session": null, "last_step": "7"}',
        b'{"schema": 1, "session": {"access_token": 5}}',
        b'{"schema": 1, "session": null, "surprise": 1}',
        b"[" * 100_000,
        b"x" * (2 << 20),
    ],
)
def test_a_broken_file_is_set_aside_and_its_steps_count_as_used(tmp_path: Path, content: bytes) -> None:
    _store(tmp_path).save(AccountState(SESSION))
    _file(tmp_path).write_bytes(content)
    written = _file(tmp_path).stat().st_mtime
    warnings: list[str] = []
    loaded = _store(tmp_path, warnings).load()
    assert loaded == AccountState(assume_used_until=written)
    assert "set aside" in warnings[0]
    aside = list((tmp_path / "sessions").glob("*.corrupt-*"))
    assert [path.read_bytes() for path in aside] == [content]
    assert _store(tmp_path).load() == AccountState(assume_used_until=written)


def test_a_file_cut_off_anywhere_never_breaks_a_run(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.save(AccountState(SESSION, last_step=7))
    whole = _file(tmp_path).read_bytes()
    for length in range(len(whole)):
        _store(tmp_path).save(AccountState(SESSION, last_step=7))
        _file(tmp_path).write_bytes(whole[:length])
        assert _store(tmp_path).load().session is None
    assert len(list((tmp_path / "sessions").glob("*.corrupt-*"))) <= 4


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.save(AccountState(SESSION))
    path = _file(tmp_path)
    target = tmp_path / "target"
    target.write_text("the user's")
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(SecretError, match="is a link, which is not followed"):
        store.load()
    store.save(AccountState(SESSION))
    assert target.read_text() == "the user's"
    assert not path.is_symlink()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store._lock.symlink_to(tmp_path / "elsewhere")

    async def hold() -> None:
        async with store.lock(Deadline(CLOCK)):
            pass

    with pytest.raises(SecretError, match="can not be opened"):
        asyncio.run(hold())
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_or_pipe_in_its_place_is_told(tmp_path: Path) -> None:
    store = _store(tmp_path)
    os.mkfifo(store._path)
    with pytest.raises(SecretError, match="not a regular file"):
        store.load()


def test_a_file_open_to_others_is_closed(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.save(AccountState(SESSION))
    _file(tmp_path).chmod(0o644)
    warnings: list[str] = []
    assert _store(tmp_path, warnings).load().session == SESSION
    assert stat.S_IMODE(_file(tmp_path).stat().st_mode) == 0o600
    assert "mode 0644" in warnings[0]


def test_a_failed_save_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    store.save(AccountState(SESSION))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SecretError, match="No space left on device"):
        store.save(AccountState())
    monkeypatch.undo()
    assert store.load().session == SESSION
    assert list((tmp_path / "sessions").glob(".*.tmp")) == []


def test_a_save_that_can_not_even_clean_up_tells_the_first_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", _full)
    monkeypatch.setattr(Path, "unlink", broken)
    with pytest.raises(SecretError, match="No space left on device"):
        _store(tmp_path).save(AccountState())


def test_a_killed_writers_leftovers_are_removed_when_they_are_old(tmp_path: Path) -> None:
    store = _store(tmp_path)
    old, young = (tmp_path / "sessions" / f".{store._path.name}.{name}.tmp" for name in ("old", "young"))
    old.write_text("")
    young.write_text("")
    os.utime(old, (1, 1))
    open_store(tmp_path, "https://x.example", "user", SystemClock(), lambda _problem: None)  # another run
    assert (old.exists(), young.exists()) == (False, True)


def test_a_held_lock_is_waited_for_until_the_deadline_and_no_longer(tmp_path: Path) -> None:
    first, second = _store(tmp_path), _store(tmp_path)

    async def both() -> None:
        async with first.lock(Deadline(CLOCK)):
            with pytest.raises(DeadlineExceeded, match="another sync-runner held the login lock"):
                async with second.lock(Deadline.after(CLOCK, 0.05, "the run's deadline")):
                    raise AssertionError("two hold the lock")
        async with second.lock(Deadline.after(CLOCK, 5.0, "the run's deadline")):
            pass

    asyncio.run(both())
    assert first._lock.exists()


def test_without_a_directory_all_is_kept_in_memory() -> None:
    store = open_store(None, "https://x.example", "user", CLOCK, print)
    store.save(AccountState(SESSION))
    assert isinstance(store, MemoryStore)
    assert store.load().session == SESSION


def test_a_directory_that_can_not_be_written_is_told_and_memory_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    warnings: list[str] = []
    store = open_store(tmp_path / "file", "https://x.example", "user", CLOCK, warnings.append)
    assert isinstance(store, MemoryStore)
    assert "memory only" in warnings[0]


def test_no_repr_shows_a_token(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.save(AccountState(SESSION))
    assert "token" not in repr(SESSION)
    assert "'token'" not in repr(SESSION.token)
    assert json.loads(_file(tmp_path).read_text())["session"]["token"]["access_token"] == "token"


def test_each_fault_of_the_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    makes: dict[str, Callable[[], None]] = {
        "is a link, which is not followed; remove it, a fresh login follows": lambda: store._path.symlink_to("/x"),
        "not a regular file; remove it, a fresh login follows": lambda: os.mkfifo(store._path),
        "No such device or address; remove it, a fresh login follows": lambda: os.mknod(store._path, stat.S_IFSOCK),
    }
    for fault, make in makes.items():
        make()
        with pytest.raises(SecretError) as caught:
            store.load()
        assert str(caught.value) == f"{store._path}: {fault}"
        store._path.unlink()
    store.save(AccountState())
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(SecretError) as caught:
        store.save(AccountState())
    told = "the session can not be kept (No space left on device); check space and rights of state.dir"
    assert str(caught.value) == f"{store._path}: {told}"


def test_a_file_that_can_not_be_closed_to_others_or_set_aside_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_asked: object) -> None:
        raise OSError(1, "Operation not permitted")

    store = _store(tmp_path)
    store._path.write_text("{")
    store._path.chmod(0o604)
    monkeypatch.setattr(os, "fchmod", forbidden)  # another user's file
    with pytest.raises(SecretError) as caught:
        store.load()
    assert str(caught.value) == f"{store._path}: Operation not permitted; remove it, a fresh login follows"
    store._path.chmod(0o600)
    monkeypatch.setattr(Path, "rename", forbidden)  # in a directory where only owners may move files
    with pytest.raises(SecretError) as caught:
        store.load()
    told = "broken, and can not be set aside (Operation not permitted); remove it"
    assert str(caught.value) == f"{store._path}: {told}"
    assert store._path.read_text() == "{"


def _full(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_what_is_written_is_on_the_disk_before_it_counts_file_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, move = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def moved(path: Path, target: Path) -> Path:
        done.append("rename")
        return move(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    _store(tmp_path).save(AccountState())
    assert done == ["file", "rename", "directory"]


def test_no_descriptor_stays_open_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    store.save(AccountState())
    store.load()
    store._path.write_text("{")
    store.load()
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(SecretError):
        store.save(AccountState())
    store._path.unlink()
    os.mkfifo(store._path)
    with pytest.raises(SecretError):
        store.load()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_descriptor_is_inherited_by_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open
    flags: list[int] = []

    def watched(path: object, flag: int, *mode: int) -> int:
        flags.append(flag)
        return opened(path, flag, *mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    store = _store(tmp_path)
    store.save(AccountState())
    store.load()
    assert len(flags) == 4
    assert all(flag & os.O_CLOEXEC for flag in flags)
    assert [bool(flag & os.O_NOFOLLOW) for flag in flags] == [True, True, False, True]


def test_a_sealed_file_without_its_key_is_named_and_left_where_it_is(tmp_path: Path) -> None:
    key = base64.b64encode(bytes(32)).decode()
    sealed = open_store(tmp_path, "https://x.example", "user", CLOCK, print, Codec([key]))
    sealed.save(AccountState(SESSION))
    assert b"token" not in _file(tmp_path).read_bytes()
    with pytest.raises(SecretError) as caught:
        _store(tmp_path).load()
    assert str(caught.value).startswith(f"{_file(tmp_path)}: the kept session is encrypted;")
    assert sealed.load() == AccountState(SESSION)


def test_the_warnings_say_what_was_done(tmp_path: Path) -> None:
    warnings: list[str] = []
    store = _store(tmp_path, warnings)
    store.save(AccountState())
    _file(tmp_path).chmod(0o640)
    store.load()
    store._path.write_text("{")
    store.load()
    aside = next((tmp_path / "sessions").glob("*.corrupt-*"))
    assert aside.name == f"{store._path.stem}.{aside.suffix[1:]}"
    assert abs(int(aside.suffix.removeprefix(".corrupt-")) - CLOCK.time()) < 60
    assert warnings == [
        f"{store._path}: was open to other users (mode 0640); closed to 0600",
        f"{store._path}: not a readable token file; set aside as {aside.name}, a fresh login follows",
    ]
    (tmp_path / "file").write_text("")
    open_store(tmp_path / "file", "https://x.example", "user", CLOCK, warnings.append)
    place = tmp_path / "file" / "sessions"
    assert warnings[-1] == f"{place}: can not be written (Not a directory); sessions are kept in memory only"


def test_the_three_newest_broken_files_are_kept(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for number in range(1, 6):
        store._path.with_suffix(f".corrupt-{number}").write_text("")
    store._path.with_suffix(".corrupt-0").mkdir()  # it can not be removed like a file
    store._path.write_text("{")
    store.load()
    remaining = sorted(path.suffix for path in (tmp_path / "sessions").glob("*.corrupt-*"))
    assert [remaining[0], *remaining[-2:]] == [".corrupt-0", ".corrupt-4", ".corrupt-5"]
    assert len(remaining) == 4


def test_a_broken_file_that_another_process_set_aside_first_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(tmp_path)
    store._path.write_text("{")
    written = store._path.stat().st_mtime

    def gone(path: Path, _target: Path) -> None:
        path.unlink()
        raise FileNotFoundError

    monkeypatch.setattr(Path, "rename", gone)
    assert store.load() == AccountState(assume_used_until=written)
    assert not store._path.exists()


def test_a_temporary_file_is_its_process_own_and_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    seen: list[str] = []

    def poll(path: Path, _target: Path) -> None:
        seen.append(path.name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", poll)
    for _ in range(2):
        with pytest.raises(SecretError):
            store.save(AccountState())
    assert all(name.startswith(f".{store._path.name}.{os.getpid()}.") and name.endswith(".tmp") for name in seen)
    assert len(set(seen)) == 2
    assert list((tmp_path / "sessions").glob("*.tmp")) == []


def test_an_account_is_named_by_a_hash_of_address_and_user() -> None:
    assert account_key("https://x.example", "user") == "f4a78d04a74c6dc445676c0182607432"
    assert MemoryStore().load() == AccountState()


def test_old_leftovers_are_those_of_more_than_an_hour_ago(tmp_path: Path) -> None:
    store = _store(tmp_path)
    remaining = {age: tmp_path / "sessions" / f".{store._path.name}.{age}.tmp" for age in (3500, 3700)}
    for age, path in remaining.items():
        path.write_text("")
        os.utime(path, (CLOCK.time() - age, CLOCK.time() - age))
    open_store(tmp_path, "https://x.example", "user", SystemClock(), print)  # the next run, which has its own clock
    assert [age for age, path in remaining.items() if path.exists()] == [3500]
