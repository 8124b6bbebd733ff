"""The input of a draft: the API's exchanges, each with a sample of its request and response."""

import re
from dataclasses import dataclass, field
from typing import Any

from runner.profile.validation import LEFT_OPEN

MARK = LEFT_OPEN  # starts a part that a person must fill in; `validate` refuses it

NAMES: dict[str, tuple[str, ...]] = {  # names that APIs use for the runner's values
    "${username}": ("username", "user", "email", "login", "user_name", "identifier", "emailorldaploginid"),
    "${password}": ("password", "pass", "passwd", "secret", "pwd"),
    "${code?}": (
        "otp",
        "code",
        "totp",
        "mfa_code",
        "mfacode",
        "totp_code",
        "otp_code",
        "two_factor_code",
        "token_code",
    ),
    "${client_id}": ("client_id", "clientid"),
    "${client_secret}": ("client_secret", "clientsecret"),
    "${refresh_token}": ("refresh_token", "refreshtoken", "refresh"),
}
SYNC: dict[str, tuple[str, ...]] = {
    "${sync_type}": ("sync_type", "synctype", "job_type", "jobtype", "type", "kind", "job_name", "task", "task_name"),
    "${start_date?}": ("start_date", "startdate", "start", "from", "since", "date_from"),
    "${end_date?}": ("end_date", "enddate", "end", "to", "until", "date_to"),
    "${force_full}": ("force_full", "forcefull", "full", "force", "full_refresh"),
    "${idempotency_key}": (
        "idempotency_key",
        "idempotencykey",
        "idempotency_token",
        "client_token",
        "request_id",
        "dedup_key",
    ),
}


class Word(str):
    """A sample text with several possible values."""

    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Exchange:
    """One request of the API, and a sample of its good response. Variable segments of the path are `{name}`."""

    method: str
    path: str
    asks: Any = None  # a sample of the request body
    form: bool = False
    status: int = 200
    answer: Any = None  # a sample of the response body
    refusals: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()  # names of the request headers
    needs: frozenset[str] = frozenset()  # required keys of the body

    @property
    def words(self) -> list[str]:
        """Returns the words of the path, in lower case."""
        return [word for word in re.split(r"[^a-z0-9]+", snake(re.sub(r"\{[^}]*\}", "", self.path))) if word]


@dataclass
class Api:
    """What is known of an API. `auth` is a part of the profile, if the description defines it."""

    title: str
    exchanges: list[Exchange]
    base_path: str = ""
    auth: dict[str, Any] = field(default_factory=dict)


def snake(name: str) -> str:
    """Returns `jobType` as `job_type`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def plain(name: str) -> str:
    """Returns a name in the form of profile parameters."""
    bare = re.sub(r"[^a-z0-9_]+", "_", snake(name)).strip("_")
    return bare if bare[:1].isalpha() else f"p_{bare}"


def known_as(key: str, table: dict[str, tuple[str, ...]]) -> str | None:
    """Returns the runner's value for a key of that name."""
    return next((value for value, names in table.items() if snake(key).replace("-", "_") in names), None)
