"""What a source of one-time codes must offer. One file beside this one for each kind: totp, hotp, command, imap, person.

One more kind is one more module and its line in `kinds.py`. From outside the package it is an entry point of the group
`sync_runner.code_sources`: a function of CodeOptions, looked up only when the setting `code.source` names it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from runner.auth.totp import Seed
from runner.clock import Clock, Deadline
from runner.errors import AuthenticationError, UsageError
from runner.events.observer import Observer
from runner.events.redaction import AddSecret
from runner.frozen import Frozen
from runner.secrets.reader import SecretReader
from runner.settings.code_section import CodeSettings
from runner.state.interface import AccountStore, HeldState
from runner.state.record import AccountState

Ask = Callable[[str, Deadline], Awaitable[str]]  # shows a prompt at a terminal, and returns the line that was typed

BySeed = Callable[[str], AccountStore]  # what is kept of a seed, by its fingerprint


class CodeOptions(Frozen):
    """What a source may need: the section `code`, secrets, the clock, and the ways to a person.

    `inbox` is where `submit-code` leaves a code, in a state that outlives the process; None: the state does not. `ask` is
    there only where a person sits at a terminal. `by_seed` opens what is kept of a seed.
    """

    settings: CodeSettings
    reader: SecretReader
    clock: Clock
    add_secret: AddSecret
    account: str = ""
    inbox: AccountStore | None = None
    ask: Ask | None = None
    by_seed: BySeed | None = None


class CodeWanted(Frozen):
    """One code that a login wants. `held` is the account's state under its lock.

    `sure`: only a code that nobody can have used before us. `seed` is the TOTP seed, where one is mounted.
    """

    held: HeldState
    deadline: Deadline
    observer: Observer
    seed: Seed | None = None
    sure: bool = False


class Code(Frozen):
    """A code. `certain`: its refusal would say something of the secret or of the person, not of a race for the code."""

    text: str
    certain: bool = True

    def __repr__(self) -> str:
        return "Code(***)"


class CodeSource(Protocol):
    """Gives the one-time codes of one account."""

    once: bool  # one login has one code: a second one in the run would be asked for in vain
    stale: bool  # a code that certainly was not looked at is not good later: another one is made from the record
    by_person: bool  # a login needs a person

    async def begin(self, deadline: Deadline) -> None:
        """A login begins: what is older than this moment is none of its codes. Raises as `next`."""
        ...

    async def next(self, wanted: CodeWanted) -> Code:
        """A code that was never sent. What proves that is kept in the state before this returns.

        Raises AuthenticationError where there is none, Unreachable, DeadlineExceeded, or what the state raises.
        """
        ...

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """The last code certainly was not looked at: the record is as `before`."""
        ...

    async def check(self, deadline: Deadline) -> str:
        """Try, for the command `check`, what can be tried without using a code. Returns what was found. Raises as `next`."""
        ...


def lasting(options: CodeOptions, why: str) -> AccountStore:
    """The inbox, which a state that outlives the process has. Raises UsageError, with `why` the source needs one."""
    if options.inbox is None:
        raise UsageError(f"code.source: {why}; set state.dir, state.kubernetes_secret or state.url")
    return options.inbox


def record_of(code: str) -> str:
    """How a used code is kept, so that it is not sent twice: a hash. The code itself is worth nothing any more."""
    return hashlib.sha256(code.encode()).hexdigest()


async def keep_used(held: HeldState, code: str) -> None:
    """Keep the code as used before it leaves. Raises AuthenticationError for one that was sent already."""
    used = record_of(code)
    if held.state.last_code == used:
        raise AuthenticationError(
            "login: this one-time code was sent before; a code is never sent twice. Give a new one"
        )
    held.change(last_code=used, answered=False)
    await held.keep()
