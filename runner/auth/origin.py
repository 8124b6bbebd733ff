"""Tells whether a stored session was created by this login, with these parameters."""
# Decision 0187.

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from runner.auth.session_reading import fingerprint
from runner.models import UserSession
from runner.profile import template
from runner.profile.auth_models import Auth
from runner.state.record import AccountState


class Origin:
    """What one login with its parameters creates: recognises its sessions."""

    def __init__(self, auth: Auth, constant: Mapping[str, Any]) -> None:
        """`constant` are the values for templates that depend on no response and are no secrets."""
        self._auth, self._constant = auth, constant

    @cached_property
    def made(self) -> str:
        """The fingerprint of what shapes a session: the requests of the login with their parameters, and the places of values."""
        sent = frozenset[str]().union(*(step.sends for step in self._auth.steps.values()))
        given = sorted((name, value) for name, value in self._constant.items() if name in sent)
        # What is not given is left out, since a new version may know more keys. Not pydantic's dump: its schemas take 5 ms.
        requests = [[(key, value) for key, value in step.request if value] for step in self._auth.steps.values()]
        return fingerprint(repr((requests, self._auth.session, given)))

    def fitting(self, stored: AccountState) -> UserSession | None:
        """Returns the stored session, unless another login or other parameters made it, or headers need a value it lacks.

        A session of a version that stored no fingerprint fits.
        """
        session = stored.session
        if session is None or stored.session_login not in ("", self.made):
            return None
        needed = {name for name, optional, _place in template.names(self._auth.headers) if not optional}
        return session if needed & self._auth.carried <= session.carried.keys() else None
