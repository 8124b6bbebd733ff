"""Sessions as a login leaves them, for tests that begin with one."""

from typing import Any

from runner.auth.session_reading import token_id
from runner.models import AuthenticationToken, UserSession

_OF_TOKEN = ("token_type", "scope", "mfa_verified", "expires_in")
_OF_BOTH = ("user_id", "created_at", "last_used_at")


def session(access_token: str, **fields: Any) -> UserSession:
    """A session with that token; each of `fields` goes to the token, to the session, or to both, as the data model has it."""
    both = {name: fields[name] for name in _OF_BOTH if name in fields}
    of_token = {name: fields.pop(name) for name in _OF_TOKEN if name in fields}
    name = token_id(access_token)
    mfa = {"mfa_enabled": of_token.get("mfa_verified", False)}
    token = AuthenticationToken(token_id=name, access_token=access_token, **of_token, **both)
    return UserSession(token, **{"session_id": name, **mfa, **fields})
