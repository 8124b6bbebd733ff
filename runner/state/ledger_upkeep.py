"""Maintains a state directory: sets a corrupt ledger aside and deletes old data. All functions here block."""
# Decision 0131.

import os
from contextlib import suppress
from pathlib import Path

from runner.errors import StateError, UsageError
from runner.state.entry import PRUNE_SECONDS
from runner.state.file_lock import try_lock
from runner.state.interface import SEED
from runner.state.ledger import LEDGER_FILE, Ledger, LedgerBusy, LedgerCorrupt, identity_of, opened_alone
from runner.state.private_directory import PrivateDirectory

KEPT_CORRUPT = 3  # set-aside files kept for inspection; older ones are deleted
_ASIDE = len("ledger.corrupt-") + 10  # characters of such a name, without SQLite's suffix
PRUNED_FILE = "pruned"  # its time is when old entries were last deleted


def set_aside(directory: Path, why: LedgerCorrupt, now: float, patience: float) -> str | None:
    """Renames a corrupt file. Returns the warning; None where another process already renamed it.

    Raises UsageError.
    """
    aside = f"ledger.corrupt-{now:.0f}"
    path = directory / LEDGER_FILE
    try:
        with opened_alone(directory / "ledger.lock", patience):
            if why.identity != identity_of(directory):
                return None
            for ending in ("", "-wal", "-shm", "-journal"):
                with suppress(FileNotFoundError):
                    path.with_name(LEDGER_FILE + ending).rename(directory / f"{aside}{ending}")
            for name in sorted({old.name[:_ASIDE] for old in directory.glob("ledger.corrupt-*")})[:-KEPT_CORRUPT]:
                for old in directory.glob(f"{name}*"):
                    old.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: corrupt, and cannot be set aside ({error.strerror}); move it away") from None
    return (
        f"{why}; set aside as {aside}: syncs of earlier runs are no longer known, and running jobs are found only where "
        "the API lists or names them"
    )


def retire(ledger: Ledger, directory: Path, now: float, keep: float) -> None:
    """Once a day, deletes what is older than `keep` seconds. What fails now is left to the next run."""
    with suppress(OSError, UsageError):
        mark = directory / PRUNED_FILE
        if mark.exists() and 0 <= now - mark.stat().st_mtime < PRUNE_SECONDS:
            return
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.utime(mark, (now, now), follow_symlinks=False)
        with suppress(LedgerBusy):
            ledger.prune(now - keep)
        prune_sessions(directory, now - keep)


def prune_sessions(directory: Path, before: float) -> int:
    """Removes the state of accounts that were not written since that Unix time. Returns their number. Raises
    StateError.

    Lock files stay: two processes must never lock two different files of one name.
    """
    if not (directory / "sessions").is_dir():
        return 0
    top = PrivateDirectory.open(directory)
    sessions = top.below("sessions")
    try:
        removed = [name for name in sessions.names() if name.endswith(".json") and _removed(sessions, name, before)]
        return sum(not name.startswith(SEED) for name in removed)
    finally:
        sessions.close()
        top.close()


def _removed(sessions: PrivateDirectory, name: str, before: float) -> bool:
    try:
        if sessions.written_at(name) >= before:
            return False
        descriptor = sessions.open_file(f"{name.removesuffix('.json')}.lock", os.O_RDWR | os.O_CREAT)
    except (OSError, StateError):
        return False
    try:
        if not try_lock(descriptor) or sessions.written_at(name) >= before:
            return False
        sessions.remove(name)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
