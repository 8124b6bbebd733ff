"""Selects the accounts of this process: those configured, or the folders of a directory, and of them its shard."""
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
from runner.reading import in_time
from runner.settings import Settings, SyncSettings

INDEX = "JOB_COMPLETION_INDEX"  # set by Kubernetes in each pod of an Indexed Job, from 0


class AccountPlan(Frozen):
    """A configured account: the location of its secrets, and its syncs."""

    name: str
    secrets_dir: Path
    syncs: tuple[SyncSettings, ...]
    use_environment: bool


class Shard(Frozen):
    """One of `count` parts of the accounts, by its number from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        """The form of `--shard`."""
        return f"{self.index}/{self.count}"

    def holds(self, name: str) -> bool:
        """Whether the account of that name belongs to this shard."""
        return shard_of(name, self.count) == self.index


def shard_of(name: str, count: int) -> int:
    """Returns the shard of an account: the one with the greatest hash of name and shard (rendezvous hashing).

    It depends only on the name, so that shards need not know each other. Where `count` grows by one, only the
    accounts of the new shard move, each away from its old shard's state.
    """
    raw = name.encode(errors="surrogateescape")
    return max(range(count), key=lambda index: hashlib.sha256(b"%d/%b" % (index, raw)).digest())


def shard(settings: Settings, environment: Mapping[str, str]) -> Shard | None:
    """Returns this process's shard, or None where it processes all accounts. Raises UsageError where it is unknown."""
    if settings.shard:
        index, _, count = settings.shard.partition("/")
        return Shard(int(index), int(count))
    if not settings.shards:
        return None
    given = environment.get(INDEX, "")
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise UsageError(
            f"shards: the index of this process among the {settings.shards} shards is unknown; {INDEX} gives it in a Job with "
            "completionMode Indexed, elsewhere set --shard"
        )
    if int(given) >= settings.shards:
        raise UsageError(
            f"{INDEX}: {given} is not a shard of {settings.shards} (0 to {settings.shards - 1}); set the Job's completions "
            f"and SYNC_RUNNER_SHARDS to the same number"
        )
    return Shard(int(given), settings.shards)


def configured(settings: Settings) -> tuple[AccountPlan, ...]:
    """Returns all accounts. A single one may also take its secrets from the environment. Raises UsageError."""
    if settings.accounts and settings.accounts_dir:
        raise UsageError("accounts: `accounts_dir` is also set; keep one of them")
    if settings.accounts_dir:
        folders = _folders(settings.accounts_dir)
        return tuple(AccountPlan(_shown(folder), folder, settings.syncs, False) for folder in folders)
    if not settings.accounts:
        return (AccountPlan(settings.account, settings.secrets_dir, settings.syncs, True),)
    names = [one.name for one in settings.accounts]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"accounts: the name `{double}` is used twice; give each account its own name")
    return tuple(
        AccountPlan(one.name, one.secrets_dir, settings.syncs if one.syncs is None else one.syncs, False)
        for one in settings.accounts
    )


def accounts(settings: Settings, environment: Mapping[str, str]) -> tuple[AccountPlan, ...]:
    """Returns this process's accounts: those selected, and of them its shard, which may be empty. Raises UsageError."""
    mine, chosen = shard(settings, environment), _selected(configured(settings), settings.select.accounts)
    return chosen if mine is None else tuple(one for one in chosen if mine.holds(one.name))


def _selected(plans: tuple[AccountPlan, ...], patterns: Sequence[str]) -> tuple[AccountPlan, ...]:
    """Returns the accounts that match a pattern, all where there is none. Raises UsageError for a pattern without match."""
    for pattern in patterns:
        if not any(fnmatchcase(one.name, pattern) for one in plans):
            near = nearest(pattern, [one.name for one in plans])
            count = f"there are {len(plans)}, such as" if len(plans) > 1 else "the only one is"
            known = f"did you mean `{near}`?" if near else f"{count} `{plans[0].name}`"
            raise UsageError(f"select.accounts (--account): no account matches `{pattern}`; {known}")
    return tuple(one for one in plans if not patterns or any(fnmatchcase(one.name, pattern) for pattern in patterns))


def _shown(folder: Path) -> str:
    """Returns the account's name: the folder's, with invalid UTF-8 and control characters escaped."""
    return escape(os.fsencode(folder).rpartition(b"/")[2].decode("utf-8", "backslashreplace"))


def _folders(directory: Path) -> list[Path]:
    """Returns the account folders, by name. Ignores Kubernetes' entries (`..data`) and others that start with a dot."""
    try:
        found = in_time(lambda: [one for one in directory.iterdir() if not one.name.startswith(".") and one.is_dir()])
    except OSError as error:
        raise UsageError(f"accounts_dir: {directory}: cannot be read ({error.strerror}); check the mount") from None
    if not found:
        raise UsageError(
            f"accounts_dir: {directory}: has no account folder; create one per account, with its secret files"
        )
    return sorted(found)
