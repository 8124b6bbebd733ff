"""The secrets of one account as a login uses them."""

import base64
from collections.abc import Mapping
from urllib.parse import quote_plus

from runner.auth.totp import Seed, parse_seed
from runner.events.redaction import AddSecret
from runner.frozen import Frozen
from runner.profile.models import Auth
from runner.secrets.reader import SecretReader

OPTIONAL = frozenset({"totp_seed", "refresh_token"})  # only needed where the API asks for them


class Credentials(Frozen):
    """The secrets of a login. Its repr shows none of them."""

    username: str | None = None
    password: str | None = None
    seed: Seed | None = None
    refresh_token: str | None = None
    api_token: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    client_key: str | None = None

    def __repr__(self) -> str:
        return "Credentials(***)"

    @property
    def identity(self) -> str | None:
        """Identifies the user at the API, to separate stored sessions; None where no secret identifies a user.

        A token identifies nobody: after rotation, the same state must be found.
        """
        return self.username or self.client_id

    @property
    def values(self) -> dict[str, str]:
        """Returns the values for templates, by name.

        `basic` is what HTTP's basic authentication sends for the user (RFC 7617), `client_basic` for the client (RFC 6749).
        """
        named = {
            "username": self.username,
            "password": self.password,
            "api_token": self.api_token,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "client_key": self.client_key,
        }
        found = {name: secret for name, secret in named.items() if secret is not None}
        if self.username is not None and self.password is not None:
            found["basic"] = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        if self.client_id is not None and self.client_secret is not None:
            encoded = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"  # RFC 6749, 2.3.1
            found["client_basic"] = base64.b64encode(encoded.encode()).decode()
        return found


def read_credentials(
    reader: SecretReader, auth: Auth, add_secret: AddSecret, renamed: Mapping[str, str] | None = None
) -> Credentials:
    """Reads the secrets that the profile names, some `renamed` where two logins need one of a kind. Raises SecretError.

    A client id is public (RFC 6749, 2.2) and is not redacted; a user's name is redacted only as a whole.
    """
    files = {name: (renamed or {}).get(name, name) for name in auth.secrets}
    read = {name: reader.read(file) if name in OPTIONAL else reader.require(file) for name, file in files.items()}
    seed = read.pop("totp_seed", None)
    credentials = Credentials(seed=parse_seed(seed) if seed else None, **read)
    named = {"totp_seed": seed, "refresh_token": credentials.refresh_token, **credentials.values}
    for name, secret in named.items():
        if secret and name != "client_id":
            add_secret(secret, parts=name != "username")
    return credentials
