"""The secrets of one account as a login uses them."""

import base64
from collections.abc import Callable

from runner.auth.totp import Seed, parse_seed
from runner.frozen import Frozen
from runner.profile.models import Auth
from runner.secrets.reader import SecretReader

OPTIONAL = frozenset({"totp_seed", "refresh_token"})  # only wanted where the API asks for them


class Credentials(Frozen):
    """What a login needs. Its repr shows nothing."""

    username: str | None = None
    password: str | None = None
    seed: Seed | None = None
    refresh_token: str | None = None
    api_token: str | None = None
    client_id: str | None = None
    client_secret: str | None = None

    def __repr__(self) -> str:
        return "Credentials(***)"

    @property
    def identity(self) -> str | None:
        """Who this is at the API, for telling kept sessions apart; None where no secret names anybody.

        A token names nobody: one that is rotated must find the same state again.
        """
        return self.username or self.client_id

    @property
    def values(self) -> dict[str, str]:
        """What templates may use, by name. `basic` is what HTTP's basic authentication sends (RFC 7617)."""
        named = {
            "username": self.username,
            "password": self.password,
            "api_token": self.api_token,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        found = {name: secret for name, secret in named.items() if secret is not None}
        if self.username is not None and self.password is not None:
            found["basic"] = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return found


def read_credentials(reader: SecretReader, auth: Auth, add_secret: Callable[[str], None]) -> Credentials:
    """The secrets that the profile names. Raises SecretError for one that is missing or unusable."""
    read = {name: reader.read(name) if name in OPTIONAL else reader.require(name) for name in auth.secrets}
    seed = read.pop("totp_seed", None)
    credentials = Credentials(seed=parse_seed(seed) if seed else None, **read)
    for secret in (seed, credentials.refresh_token, *credentials.values.values()):
        if secret:
            add_secret(secret)
    return credentials
