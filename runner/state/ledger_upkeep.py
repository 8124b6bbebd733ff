"""What keeps a state directory usable: a broken ledger is set aside, what is old goes. All here blocks."""
# Decision 0131.

import os
from contextlib import suppress
from pathlib import Path

from runner.errors import StateError, UsageError
from runner.state.entry import PRUNE_SECONDS
from runner.state.file_lock import try_lock
from runner.state.ledger import LEDGER_FILE, Ledger, LedgerBusy, LedgerCorrupt, identity_of, opened_alone
from runner.state.private_directory import PrivateDirectory

KEPT_CORRUPT = 3  # files set aside that are kept for a look; older ones go
_ASIDE = len("ledger.corrupt-") + 10  # characters of such a name, without what SQLite adds
PRUNED_FILE = "pruned"  # its time is when old entries were last looked for


def set_aside(directory: Path, why: LedgerCorrupt, now: float, patience: float) -> str | None:
    """Give a file that cannot be believed another name. The warning; None where another process was faster.

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
        raise UsageError(f"{path}: broken, and cannot be set aside ({error.strerror}); move it away") from None
    return (
        f"{why}; set aside as {aside}: syncs of earlier runs are not known any more, and jobs that run are found only where "
        "the API lists or names them"
    )


def retire(ledger: Ledger, directory: Path, now: float, keep: float) -> None:
    """Once a day, forget what is older than `keep` seconds. What cannot be done now is left to the next run."""
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
    """Remove the state of accounts that nobody wrote since that Unix time. Returns how many. Raises StateError.

    Lock files stay: two processes must never lock two different files of one name.
    """
    if not (directory / "sessions").is_dir():
        return 0
    top = PrivateDirectory.open(directory)
    sessions = top.below("sessions")
    try:
        return sum(_removed(sessions, name, before) for name in sessions.names() if name.endswith(".json"))
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
