"""Builds the message for a refused login from its cause and the API's own words."""

from runner.errors import Cause
from runner.profile.models import Step

_SECRETS = ("username", "password", "api_token", "client_id", "client_secret")


def refusal(cause: Cause, step: Step, reported: str, *, with_code: bool) -> str:
    """Returns the message for a refused login; `reported` is the status with the API's own words."""
    sent = [name for name in _SECRETS if name in step.sends or ("basic" in step.sends and name in _SECRETS[:2])]
    listed = " and ".join(f"`{name}`" for name in sent)
    match cause:
        case Cause.CODE:
            return (
                f"login: the one-time code was refused ({reported}); check the secret `totp_seed` "
                "(is it this account's, are digits, period and algorithm right?) and the clocks of both machines"
            )
        case Cause.CREDENTIALS:
            what = "password or the one-time code" if with_code else " or ".join(sent) or "login"
            secrets, clocks = (" and `totp_seed`", ", and the clocks of both machines") if with_code else ("", "")
            return (
                f"login: the {what} was refused ({reported}), the API does not say which or why; check the secrets "
                f"{listed}{secrets}, whether the account is locked, whether this user had another login at the same time"
                f"{clocks}"
            )
        case Cause.CLIENT:
            return (
                f"login: the client was refused, not the user ({reported}); check the secrets `client_id` and `client_secret` "
                "and the client's rights"
            )
        case Cause.ACCOUNT:
            return (
                f"login: the API refuses the account ({reported}): it is disabled, or a person must log in there once "
                "(new password, second factor, terms)"
            )
        case Cause.PASSWORD:
            return f"login: the {' or '.join(sent) or 'login'} was refused ({reported}); check the secrets {listed}"
    return (
        f"login: the result of an earlier login step was refused ({reported}); password and code were right: check what the "
        "API requires of it (audience, scope, rights)"
    )
