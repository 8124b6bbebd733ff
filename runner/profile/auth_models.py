"""The login part of a profile: steps, the rules for their responses, session, refresh, revoke; and separate logins."""
# Decision 0086.

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from runner.profile import template
from runner.profile.parts import Carry, Expression, Part, Request, Rule, Rules, Sources, Status

SecretName = Literal[
    "username", "password", "totp_seed", "refresh_token", "api_token", "client_id", "client_secret", "client_key"
]


class StepRequest(Request):
    """A request of the login: to a path, or a submitted form of the last page."""

    path: str | None = Field(  # type: ignore[assignment] # a form's page defines its path
        default=None, pattern=r"^/", description="Joined to the address; placeholders are URL-quoted."
    )
    submit: str | None = Field(
        default=None,
        min_length=1,
        description="Instead of `path`, a CSS selector: submits the form of the last page that contains this element, with its "
        "action, method and hidden fields; `form` has the other fields.",
    )
    follow: bool = Field(
        default=False,
        description="Follow redirects between the login's addresses; one that matches a rule of the step is a response.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "StepRequest":
        if (self.path is None) is (self.submit is None):
            raise ValueError("give either `path` or `submit`")
        if self.submit is not None and (self.json_ is not None or self.query or self.at is not None):
            raise ValueError("`submit` allows only `form` and `headers`: the page defines the rest")
        return self


class Answer(Rule):
    """The meaning of a response to a login step. The first matching rule applies."""

    status: Status = (200,)
    then: str = Field(
        description="done, refused, locked, unsupported, later (refused for now: sent once more, after 2 s), failing (a server "
        "error: not sent again), or the name of the next step, which may need a one-time code."
    )
    cause: Literal["password", "code", "credentials", "client", "account", "token"] | None = Field(
        default=None,
        description="The cause of `refused`; default: what the request sends: a password that no earlier step has "
        "proven, a code, or both. `credentials`: the response does not distinguish password, code and lock.",
    )
    carry: Carry = Field(default={}, description="Values for later steps, the session, its headers and its refresh.")
    match: dict[str, Sources] = Field(
        default={}, description="Values that must be returned as they were sent, such as random.state."
    )


class Step(Part):
    """One request of the login and the rules for its responses."""

    request: StepRequest
    answers: Annotated[tuple[Answer, ...], Field(strict=False)] = Field(min_length=1)

    @cached_property
    def sends(self) -> frozenset[str]:
        """The names of the values in the request."""
        return frozenset(name for name, _optional, _place in template.names(vars(self.request)))

    @property
    def wants_code(self) -> bool:
        """Whether the request contains a one-time code."""
        return "code" in self.sends

    @cached_property
    def may_lack_code(self) -> bool:
        """Whether the code is sent only where the account has a seed: `${code?}`."""
        return all(optional for name, optional, _place in template.names(vars(self.request)) if name == "code")

    @property
    def sends_password(self) -> bool:
        """Whether the request contains the password."""
        return not self.sends.isdisjoint({"password", "basic"})


class SessionFields(Part):
    """The places of the session's values in the last response."""

    access_token: Sources | None = Field(
        default=None, description="The token; may only be absent where the session is in the cookies (`cookies`)."
    )
    refresh_token: Sources | None = None
    expires_in: Sources | None = Field(default=None, description="Lifetime, in seconds unless `unit` differs.")
    expires_at: Sources | None = Field(
        default=None, description="End as Unix time or RFC 3339. Where both are given, the earlier end counts."
    )
    token_type: Sources | None = None
    scope: Sources | None = None
    token_id: Sources | None = Field(default=None, description="The API's name for the token.")
    session_id: Sources | None = Field(default=None, description="The API's name for the session.")
    user_id: Sources | None = Field(default=None, description="The user's id.")
    mfa_enabled: Sources | None = Field(
        default=None, description="Whether the login needs a second factor: true or false."
    )


class Refresh(Part):
    """How a session is renewed without a login."""

    request: Request
    accepted: Rules = (Rule(status=(200,)),)
    session: SessionFields | None = Field(
        default=None, description="The places of the values, if not as after a login."
    )


class Revoke(Part):
    """How `logout` ends the session at the API."""

    request: Request
    accepted: Rules = (Rule(status=(200, 202, 204)),)


class Assertion(Part):
    """The other claims of `client_assertion` (RFC 7523). It is signed with the secret `client_key`."""

    audience: str | None = Field(default=None, description="The recipient; default: the address of the request.")
    key_id: str | None = Field(default=None, description="The key's name at the server (`kid`).")


class Auth(Part):
    """Login, refresh, and how requests carry the token. Without `steps` and `refresh`: only `headers`."""

    secrets: Annotated[tuple[SecretName, ...], Field(strict=False)] = Field(
        default=("username", "password", "totp_seed", "refresh_token"),
        description="The secrets to mount; totp_seed and refresh_token only if the API asks for them.",
    )
    steps: dict[str, Step] = Field(default={}, description="The login starts with the first.")
    session: SessionFields | None = None
    refresh: Refresh | None = None
    revoke: Revoke | None = None
    assertion: Assertion = Field(default_factory=Assertion)
    cookies: bool = Field(
        default=False,
        description="Store cookies as a browser does, by host and path: they go with the login's requests and, to base_url, "
        "with all others.",
    )
    cookie_values: dict[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")], Annotated[str, Field(min_length=1)]] = (
        Field(
            default={},
            description="Values of cookies that headers or fields send back, such as `csrf: XSRF-TOKEN` for ${csrf}: as they are "
            "at each request, percent-decoded. Needs `cookies`.",
        )
    )
    headers: dict[str, str] = Field(
        default={"Authorization": "Bearer ${access_token}"}, description="The headers of each request."
    )
    expired: Rules = Field(
        default=(Rule(status=(401,)),), description="Responses that mean: the token is no longer valid."
    )
    previous_expired: Rules | tuple[()] = Field(
        default=(),
        description="For a login after another: responses that mean that the other's session is no longer valid.",
    )
    message: Expression = Field(
        default="error_description || error || message || detail",
        description="The API's own words about a refused login.",
    )

    @property
    def static(self) -> bool:
        """Whether there is no login: each request carries the secrets themselves."""
        return not self.steps and self.refresh is None

    @property
    def addresses(self) -> frozenset[str]:
        """The names of further addresses that its requests use."""
        requests: list[Request] = [step.request for step in self.steps.values()]
        requests += [part.request for part in (self.refresh, self.revoke) if part]
        return frozenset(one.at for one in requests if one.at is not None)

    @property
    def carried(self) -> frozenset[str]:
        """Every name that a response of the login carries."""
        return frozenset(name for step in self.steps.values() for answer in step.answers for name in answer.carry)

    @property
    def kept(self) -> frozenset[str]:
        """The carried values that stay with the session: its headers or its refresh need them."""
        wanted: list[Any] = [self.headers]
        wanted += [vars(part.request) for part in (self.refresh, self.revoke) if part]
        return self.carried & {name for name, _optional, _place in template.names(wanted)}
