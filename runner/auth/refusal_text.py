"""What to tell a person about a login that was refused: by what it was refused for, with the API's own words."""

from runner.errors import Cause
from runner.external import raw
from runner.http.messages import Response
from runner.profile.models import Answer as Rule
from runner.profile.models import Step

_SECRETS = ("username", "password", "api_token", "client_id", "client_secret")


def refusal(cause: Cause, step: Step, told: str, *, with_code: bool) -> str:
    """The message for a refused login; `told` is the status with the API's own words."""
    sent = [name for name in _SECRETS if name in step.sends or ("basic" in step.sends and name in _SECRETS[:2])]
    listed = " and ".join(f"`{name}`" for name in sent)
    match cause:
        case Cause.CODE:
            return (
                f"login: the one-time code was refused ({told}); check the secret `totp_seed` "
                "(is it this account's, are digits, period and algorithm right?) and the clocks of both machines"
            )
        case Cause.CREDENTIALS:
            what = "password or the one-time code" if with_code else " or ".join(sent) or "login"
            secrets, clocks = (" and `totp_seed`", ", and the clocks of both machines") if with_code else ("", "")
            return (
                f"login: the {what} was refused ({told}), the API does not say which or why; check the secrets "
                f"{listed}{secrets}, whether the account is locked, whether another login of this user went on at the same moment"
                f"{clocks}"
            )
        case Cause.CLIENT:
            return (
                f"login: the client was refused, not the user ({told}); check the secrets `client_id` and `client_secret` "
                "and what the client may do"
            )
        case Cause.ACCOUNT:
            return (
                f"login: the account is refused as it is ({told}): it is disabled, or a person must log in there once "
                "(new password, second factor, terms)"
            )
        case Cause.PASSWORD:
            return f"login: the {' or '.join(sent) or 'login'} was refused ({told}); check the secrets {listed}"
    return (
        f"login: what an earlier step of the login gave was refused ({told}); password and code were right: check what the "
        "API wants of it (audience, scope, rights)"
    )


def not_the_api(rule: Rule, answer: Response) -> str | None:
    """Why a refusal is not the API's own: a page of HTML where the profile expects none. None where it is."""
    if rule.then not in ("refused", "locked", "unsupported") or answer.is_json:
        return None
    if rule.when or rule.type or rule.header or rule.html or rule.text:
        return None
    if not raw(answer.headers.get("content-type", "")).lower().startswith(("text/html", "application/xhtml")):
        return None
    return (
        f"{answer.status} came with a page of HTML, which is not this API's answer (a firewall, proxy or sign-in page?); "
        "nothing is known of the credentials"
    )
