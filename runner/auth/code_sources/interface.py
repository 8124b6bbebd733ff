"""The interface of a source of one-time codes. One module here per kind: totp, hotp, command, imap, person.

A further kind is a module and its line in `kinds.py`. From another package, it is an entry point of the group
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

Ask = Callable[[str, Deadline], Awaitable[str]]  # shows a prompt on a terminal and returns the typed line

BySeed = Callable[[str], AccountStore]  # the stored state of a seed, by its fingerprint


class CodeOptions(Frozen):
    """What a source may use: the section `code`, secrets, the clock, and the inputs of a person.

    `inbox` is where `submit-code` leaves a code, in a state that outlives the process; None: the state does not. `ask` is
    present only with a terminal. `by_seed` opens the stored state of a seed.
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
    """A request for one code. `held` is the account's locked state.

    `sure`: only a code that no other process can have used. `seed` is the TOTP seed, where one is mounted.
    """

    held: HeldState
    deadline: Deadline
    observer: Observer
    seed: Seed | None = None
    sure: bool = False


class Code(Frozen):
    """A code. `certain`: its refusal proves a fault of the secret or the person, not a race for the code."""

    text: str
    certain: bool = True

    def __repr__(self) -> str:
        return "Code(***)"


class CodeSource(Protocol):
    """Supplies the one-time codes of one account."""

    once: bool  # one login has one code: a second request in the run would find none
    stale: bool  # an unevaluated code is not valid later: another one is generated from the record
    by_person: bool  # a login needs a person

    async def begin(self, deadline: Deadline) -> None:
        """Starts a login: codes from before this moment do not belong to it. Raises as `next`."""
        ...

    async def next(self, wanted: CodeWanted) -> Code:
        """Returns a code that was never sent. The proof of that is stored in the state before this returns.

        Raises AuthenticationError where there is none, Unreachable, DeadlineExceeded, or what the state raises.
        """
        ...

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Undoes the last code, which certainly was not evaluated: the record is as `before`."""
        ...

    async def check(self, deadline: Deadline) -> str:
        """Checks, for the command `check`, what can be checked without using a code. Returns the result. Raises as `next`."""
        ...


def lasting(options: CodeOptions, why: str) -> AccountStore:
    """Returns the inbox of persistent state. Raises UsageError, with `why` the source needs one."""
    if options.inbox is None:
        raise UsageError(f"code.source: {why}; set state.dir, state.kubernetes_secret or state.url")
    return options.inbox


def record_of(code: str) -> str:
    """Returns the stored form of a used code, so that it is not sent twice: a hash. The code itself has no value any more."""
    return hashlib.sha256(code.encode()).hexdigest()


async def keep_used(held: HeldState, code: str) -> None:
    """Stores the code as used before it is sent. Raises AuthenticationError for a code that was already sent."""
    used = record_of(code)
    if held.state.last_code == used:
        raise AuthenticationError(
            "login: this one-time code was already sent; a code is never sent twice. Give a new one"
        )
    held.change(last_code=used, answered=False)
    await held.keep()
