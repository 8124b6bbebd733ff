"""The secrets of one account as they are mounted, read again once after a refusal: they may have been rotated meanwhile."""

from collections.abc import Callable

from runner.auth import refusals
from runner.auth.credentials import Credentials
from runner.clock import Clock
from runner.errors import LoginRefused, SecretError
from runner.events import events
from runner.events.observer import Observer
from runner.state.interface import HeldState


class Mounted:
    """What is mounted now."""

    def __init__(self, credentials: Credentials, reread: Callable[[], Credentials] | None, clock: Clock) -> None:
        """`reread` reads the secrets again; None: they are as they are."""
        self.credentials = credentials
        self._reread = reread
        self._clock = clock

    def rotated(self, held: HeldState, refused: LoginRefused, observer: Observer) -> bool:
        """Read the secrets again, once; true where what was refused has changed since, for the same user."""
        reread, self._reread = self._reread, None
        if reread is None:
            return False
        try:
            fresh = reread()
        except SecretError as error:
            observer.emit(events.LoginFailed("login", str(error)))
            return False
        if fresh.username != self.credentials.username:
            return False
        if not refusals.changed(refused.cause, self.credentials, fresh):
            return False
        if refusals.objection(held.state, fresh, self._clock.time()):
            return False
        self.credentials = fresh
        observer.emit(events.SecretsRotated())
        return True
