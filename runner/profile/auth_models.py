"""The login side of a profile: steps, what their answers mean, session, refresh, revoke; and a login of its own."""
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
    """A request of the login: to a path, or a form of the last page filled in."""

    path: str | None = Field(  # type: ignore[assignment] # of a form the page says where it goes
        default=None, pattern=r"^/", description="Joined to the address; placeholders are URL-quoted."
    )
    submit: str | None = Field(
        default=None,
        min_length=1,
        description="Instead of `path`, a CSS selector: the form of the last page that holds this element goes out, with its "
        "action, method and hidden fields; `form` has the others.",
    )
    follow: bool = Field(
        default=False,
        description="Follow redirects between the login's addresses; one that a rule of the step means is an answer.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "StepRequest":
        if (self.path is None) is (self.submit is None):
            raise ValueError("give `path` or `submit`, one of both")
        if self.submit is not None and (self.json_ is not None or self.query or self.at is not None):
            raise ValueError("`submit` goes with `form` and `headers`: the page says the rest")
        return self


class Answer(Rule):
    """What an answer to a login step means. The first that fits is taken."""

    status: Status = (200,)
    then: str = Field(
        description="done, refused, locked, unsupported, later (refused for now: sent once more, after 2 s), failing (the "
        "server is ill: not sent again), or the name of the next step, which may want a one-time code."
    )
    cause: Literal["password", "code", "credentials", "client", "account", "token"] | None = Field(
        default=None,
        description="What `refused` is about; if not given, what the request sends: a password that no step before has "
        "proven, a code, or both. `credentials`: the answer does not tell a wrong password from a wrong code or a locked user.",
    )
    carry: Carry = Field(default={}, description="Values for later steps, the session, its headers and its refresh.")
    match: dict[str, Sources] = Field(
        default={}, description="Values that must come back as they were sent, such as random.state."
    )


class Step(Part):
    """One request of the login and what its answers mean."""

    request: StepRequest
    answers: Annotated[tuple[Answer, ...], Field(strict=False)] = Field(min_length=1)

    @cached_property
    def sends(self) -> frozenset[str]:
        """The names of the values that the request holds."""
        return frozenset(name for name, _optional, _place in template.names(vars(self.request)))

    @property
    def wants_code(self) -> bool:
        """Whether the request holds a one-time code."""
        return "code" in self.sends

    @cached_property
    def may_lack_code(self) -> bool:
        """Whether the code goes along only where the account has a seed: `${code?}`."""
        return all(optional for name, optional, _place in template.names(vars(self.request)) if name == "code")

    @property
    def sends_password(self) -> bool:
        """Whether the request holds the password."""
        return not self.sends.isdisjoint({"password", "basic"})


class SessionFields(Part):
    """Where the session's values stand in the last answer."""

    access_token: Sources | None = Field(
        default=None, description="The token; may only be absent where the session is in the cookies (`cookies`)."
    )
    refresh_token: Sources | None = None
    expires_in: Sources | None = Field(default=None, description="Lifetime, in seconds unless `unit` says else.")
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
    session: SessionFields | None = Field(default=None, description="Where the values stand, if not as after a login.")


class Revoke(Part):
    """How `logout` ends the session at the API."""

    request: Request
    accepted: Rules = (Rule(status=(200, 202, 204)),)


class Assertion(Part):
    """What `client_assertion` says beside the client (RFC 7523). It is signed with the secret `client_key`."""

    audience: str | None = Field(default=None, description="Whom it is for; the address of the request if not given.")
    key_id: str | None = Field(default=None, description="The key's name at the server (`kid`).")


class Auth(Part):
    """Login, refresh, and how the token goes with each request. Without `steps` and `refresh`: only `headers`."""

    secrets: Annotated[tuple[SecretName, ...], Field(strict=False)] = Field(
        default=("username", "password", "totp_seed", "refresh_token"),
        description="What must be mounted; totp_seed and refresh_token only if the API asks for them.",
    )
    steps: dict[str, Step] = Field(default={}, description="The first is where a login begins.")
    session: SessionFields | None = None
    refresh: Refresh | None = None
    revoke: Revoke | None = None
    assertion: Assertion = Field(default_factory=Assertion)
    cookies: bool = Field(
        default=False,
        description="Keep cookies as a browser does, by host and path: they go with the login's requests and, to base_url, "
        "with all others.",
    )
    headers: dict[str, str] = Field(
        default={"Authorization": "Bearer ${access_token}"}, description="What goes with each request."
    )
    expired: Rules = Field(
        default=(Rule(status=(401,)),), description="Answers that mean: the token is no longer good."
    )
    previous_expired: Rules | tuple[()] = Field(
        default=(), description="Of a login after another: answers that mean that what that one gave is no longer good."
    )
    message: Expression = Field(
        default="error_description || error || message || detail",
        description="The API's own words about a refused login.",
    )

    @property
    def static(self) -> bool:
        """Whether there is no login: the secrets themselves go with each request."""
        return not self.steps and self.refresh is None

    @property
    def addresses(self) -> frozenset[str]:
        """The names of further addresses that its requests go to."""
        requests: list[Request] = [step.request for step in self.steps.values()]
        requests += [part.request for part in (self.refresh, self.revoke) if part]
        return frozenset(one.at for one in requests if one.at is not None)

    @property
    def carried(self) -> frozenset[str]:
        """Every name that an answer of the login carries."""
        return frozenset(name for step in self.steps.values() for answer in step.answers for name in answer.carry)

    @property
    def kept(self) -> frozenset[str]:
        """Those that go on with the session: its headers or its refresh want them."""
        wanted: list[Any] = [self.headers]
        wanted += [vars(part.request) for part in (self.refresh, self.revoke) if part]
        return self.carried & {name for name, _optional, _place in template.names(wanted)}
