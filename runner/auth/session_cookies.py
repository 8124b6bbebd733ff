"""The cookies of an existing session: which go with a request to the API, and how its responses change them."""
# Decision 0189.

from collections.abc import Mapping
from dataclasses import field, replace

from runner.auth.browser import with_cookies
from runner.auth.session_reading import COOKIES
from runner.clock import Clock
from runner.frozen import Frozen
from runner.http.messages import Response
from runner.models import UserSession
from runner.profile.models import Auth


class SessionCookies(Frozen):
    """Returns the cookies for the API at `base_url`."""

    base_url: str
    clock: Clock
    names: Mapping[str, str] = field(default_factory=dict)  # our names for cookies whose values headers use

    @classmethod
    def of(cls, auth: Auth, base_url: object, clock: Clock) -> "SessionCookies | None":
        """Returns the cookies of a login that stores them; None for any other."""
        return cls(str(base_url or ""), clock, auth.cookie_values) if auth.cookies else None

    def values(self, session: UserSession, target: str) -> dict[str, str]:
        """Returns the present values of the cookies that headers of a request to `target` use."""
        if not self.names:
            return {}
        from runner.auth.cookies import Jar

        return Jar(session.carried.get(COOKIES)).values(self.base_url + target, self.clock.time(), self.names)

    def added(self, headers: dict[str, str], session: UserSession, target: str) -> dict[str, str]:
        """Returns the headers of a request to `target`, with the session's cookies."""
        from runner.auth.cookies import Jar

        return with_cookies(
            headers, Jar(session.carried.get(COOKIES)).header(self.base_url + target, self.clock.time())
        )

    def after(self, session: UserSession, answer: Response, target: str) -> UserSession | None:
        """Returns the session with the cookies that the response sets; None where nothing changes."""
        if not answer.set_cookies:
            return None
        from runner.auth.cookies import Jar

        jar = Jar(session.carried.get(COOKIES))
        if not jar.take(self.base_url + target, answer.set_cookies, self.clock.time()):
            return None
        return replace(session, carried={**session.carried, COOKIES: jar.dumped()})
