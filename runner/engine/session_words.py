"""How a session came about and where the API's clock stands, in words: what `check` and `login` tell."""

from runner.models import UserSession

LEAST_SECONDS = 2.0  # `Date` is cut to the second: a smaller difference is none


def came_about(session: UserSession, before: UserSession | None) -> str:
    """Whether the session was kept, refreshed, or comes from a login. `before` is what was kept."""
    if before is not None and session.access_token == before.access_token:
        return "the kept session is used"
    if before is not None and session.session_id == before.session_id:
        return "the kept session was refreshed"
    return f"logged in{' with a one-time code' if session.token.mfa_verified else ', without a one-time code'}"


def clock(measured: float | None, kept: float) -> str:
    """Where the API's clock stands: seconds that it is ahead of ours, `measured` by this process, or else as `kept`."""
    skew = kept if measured is None else measured
    if abs(skew) < LEAST_SECONDS:
        return "the API's clock shows no difference from ours"
    return f"the API's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
