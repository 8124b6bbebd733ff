"""Which accounts this process works on: those configured, or the folders of a directory, and of them its own shard."""
# Decision 0045.

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from runner.errors import UsageError, nearest
from runner.external import escape
from runner.frozen import Frozen
from runner.settings import Settings, SyncSettings

INDEX = "JOB_COMPLETION_INDEX"  # what Kubernetes tells each pod of an Indexed Job, from 0


class AccountPlan(Frozen):
    """An account as configured: where its secrets are, and its syncs."""

    name: str
    secrets_dir: Path
    syncs: tuple[SyncSettings, ...]
    use_environment: bool


class Shard(Frozen):
    """One of `count` parts of the accounts, by its number from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        """As `--shard` takes it."""
        return f"{self.index}/{self.count}"

    def holds(self, name: str) -> bool:
        """Whether the account of that name belongs to this shard."""
        return shard_of(name, self.count) == self.index


def shard_of(name: str, count: int) -> int:
    """The shard of an account: the one whose hash with the name is the greatest (rendezvous hashing).

    It follows from the name alone, so that shards need not know of each other; and where `count` grows by one, only the
    accounts of the new shard move, each from the state that its old shard kept.
    """
    raw = name.encode(errors="surrogateescape")
    return max(range(count), key=lambda index: hashlib.sha256(b"%d/%b" % (index, raw)).digest())


def shard(settings: Settings, environment: Mapping[str, str]) -> Shard | None:
    """This process's shard, or None where it works on all accounts. Raises UsageError where it cannot be told."""
    if settings.shard:
        index, _, count = settings.shard.partition("/")
        return Shard(int(index), int(count))
    if not settings.shards:
        return None
    given = environment.get(INDEX, "")
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise UsageError(
            f"shards: which of the {settings.shards} this is, is not told; {INDEX} tells it in a Job with "
            "completionMode Indexed, elsewhere give --shard"
        )
    if int(given) >= settings.shards:
        raise UsageError(
            f"{INDEX}: {given} is no shard of {settings.shards} (0 to {settings.shards - 1}); let the Job's completions "
            f"and SYNC_RUNNER_SHARDS be the same number"
        )
    return Shard(int(given), settings.shards)


def configured(settings: Settings) -> tuple[AccountPlan, ...]:
    """All accounts. A single one may also take its secrets from the environment. Raises UsageError."""
    if settings.accounts and settings.accounts_dir:
        raise UsageError("accounts: `accounts_dir` is set as well; keep one of them")
    if settings.accounts_dir:
        folders = _folders(settings.accounts_dir)
        return tuple(AccountPlan(_shown(folder), folder, settings.syncs, False) for folder in folders)
    if not settings.accounts:
        return (AccountPlan(settings.account, settings.secrets_dir, settings.syncs, True),)
    names = [one.name for one in settings.accounts]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"accounts: the name `{double}` stands twice; give each account a name of its own")
    return tuple(
        AccountPlan(one.name, one.secrets_dir, settings.syncs if one.syncs is None else one.syncs, False)
        for one in settings.accounts
    )


def accounts(settings: Settings, environment: Mapping[str, str]) -> tuple[AccountPlan, ...]:
    """The accounts that this process works on: those selected, and of them its shard, which may be empty. Raises UsageError."""
    mine, chosen = shard(settings, environment), _selected(configured(settings), settings.select.accounts)
    return chosen if mine is None else tuple(one for one in chosen if mine.holds(one.name))


def _selected(plans: tuple[AccountPlan, ...], patterns: Sequence[str]) -> tuple[AccountPlan, ...]:
    """The accounts that fit a pattern, all where there is none. Raises UsageError for a pattern that fits no account."""
    for pattern in patterns:
        if not any(fnmatchcase(one.name, pattern) for one in plans):
            near = nearest(pattern, [one.name for one in plans])
            known = f"did you mean `{near}`?" if near else f"there are {len(plans)}, such as `{plans[0].name}`"
            raise UsageError(f"select.accounts (--account): no account fits `{pattern}`; {known}")
    return tuple(one for one in plans if not patterns or any(fnmatchcase(one.name, pattern) for pattern in patterns))


def _shown(folder: Path) -> str:
    """The account's name: the folder's, with bytes that are no UTF-8 and control characters written out."""
    return escape(os.fsencode(folder).rpartition(b"/")[2].decode("utf-8", "backslashreplace"))


def _folders(directory: Path) -> list[Path]:
    """The account folders, by name. Kubernetes' own entries (`..data`) and what else begins with a dot are none."""
    try:
        found = [path for path in directory.iterdir() if not path.name.startswith(".") and path.is_dir()]
    except OSError as error:
        raise UsageError(f"accounts_dir: {directory}: cannot be read ({error.strerror}); check the mount") from None
    if not found:
        raise UsageError(
            f"accounts_dir: {directory}: holds no account folder; make one a account, with its secret files"
        )
    return sorted(found)
