"""Reads the mounted secrets of one account, and again once after a refusal: they may have been rotated."""

from collections.abc import Callable

from runner.auth import refusals
from runner.auth.credentials import Credentials
from runner.clock import Clock
from runner.errors import LoginRefused, SecretError
from runner.events import events
from runner.events.observer import Observer
from runner.state.interface import HeldState


class Mounted:
    """The current mounted secrets."""

    def __init__(self, credentials: Credentials, reread: Callable[[], Credentials] | None, clock: Clock) -> None:
        """`reread` reads the secrets again; None: they do not change."""
        self.credentials = credentials
        self._reread = reread
        self._clock = clock

    def rotated(self, held: HeldState, refused: LoginRefused, observer: Observer) -> bool:
        """Reads the secrets again, once. Returns true where the refused secret has changed, for the same user."""
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
