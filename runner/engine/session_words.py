"""Describes a session's origin and the API's clock, for `check` and `login`."""

from runner.models import UserSession

LEAST_SECONDS = 2.0  # `Date` is truncated to the second: a smaller difference is ignored


def came_about(session: UserSession, before: UserSession | None) -> str:
    """Returns whether the session was stored, refreshed, or is from a login. `before`: the stored session."""
    if before is not None and session.access_token == before.access_token:
        return "the stored session is valid"
    if before is not None and session.session_id == before.session_id:
        return "the stored session was refreshed"
    return f"logged in{' with a one-time code' if session.token.mfa_verified else ', without a one-time code'}"


def clock(measured: float | None, kept: float) -> str:
    """Describes the API's clock: seconds ahead of ours, `measured` by this process, or else the stored value `kept`."""
    skew = kept if measured is None else measured
    if abs(skew) < LEAST_SECONDS:
        return "the API's clock shows no difference from ours"
    return f"the API's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
