"""The one settings model: every key, its meaning, its default. Reading files and the environment is `load`'s work.

Secrets are not settings: this model only says where they are (`secrets.py` reads them).
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from runner import document
from runner.errors import UsageError
from runner.frozen import Frozen

ENV_PREFIX = "SYNC_RUNNER_"
SECRET_NAMES = (
    "username", "password", "totp_seed", "refresh_token", "api_token", "client_id", "client_secret", "state_key",
)  # fmt: skip

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: Any) -> Any:
    """Seconds from `30s`, `5m`, `1h30m`, `250ms`, `2d`; a plain number is seconds. Raises ValueError with the forms."""
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    text = value.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        raise ValueError("give a duration such as 250ms, 30s, 5m, 2h or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))


def _http_url(value: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give a URL such as https://sync.example.org")
    if parts.username or parts.password:
        raise ValueError("take the user and password out of the URL: they belong into secret files")
    if parts.query or parts.fragment:
        raise ValueError("the URL must end before any ? or #")
    return value.rstrip("/")


def _words(value: Any) -> Any:
    """`start,failure`, or a list."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, str):
        import json

        return json.loads(value)
    return value


WEBHOOK_VALUES = (
    "text", "run_id", "exit_code", "meaning", "result", "completed", "failed", "total", "duration_seconds", "base_url",
    "error",
)  # fmt: skip


def _webhook_body(value: str) -> str:
    from string import Template

    template = Template(value)
    unknown = sorted(set(template.get_identifiers()) - set(WEBHOOK_VALUES))
    if unknown or not template.is_valid():
        what = f"no value `{unknown[0]}`" if unknown else "a $ that begins no ${name}; write $$ for a dollar"
        raise ValueError(f"{what}; known: {', '.join(WEBHOOK_VALUES)}")
    return value


def _shard(value: str) -> str:
    index, _, count = value.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count) <= 1000):
        raise ValueError("give the part and how many there are, such as 0/4; the last of four is 3/4")
    return value


def _prom_file(value: Path) -> Path:
    if value.suffix != ".prom":
        raise ValueError("must end in .prom: the node exporter reads no other file")
    return value


_Word = TypeVar("_Word")
Words = Annotated[tuple[_Word, ...], NoDecode, BeforeValidator(_words)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Url = Annotated[str, AfterValidator(_http_url)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SyncSettings(_Section):
    """One sync to run."""

    type: str = Field(min_length=1, description="The sync type as the profile knows it, such as activities.")
    name: str = Field(default="", description="A name for logs and `after`; the type where not given.")
    start: str | None = Field(
        default=None,
        description="First day: 2026-01-31, today, yesterday, -7d, or last-success (the day of the last completed run).",
    )
    end: str | None = Field(default=None, description="Last day, in the same forms.")
    force_full: bool = Field(default=False, description="Ask for a full sync, not only what is new.")
    after: tuple[str, ...] = Field(default=(), description="Names of syncs that must have completed first.")
    params: dict[str, Any] = Field(default={}, description="Parameters that the profile knows, for this sync.")

    def model_post_init(self, _context: Any) -> None:
        """The type names the sync unless a name is given."""
        if not self.name:
            object.__setattr__(self, "name", self.type)


def _short_syncs(value: Any) -> Any:
    """`activities,health`, `[activities, {type: health}]`, or either as JSON from the environment."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        import json

        value = json.loads(value)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return [{"type": item} if isinstance(item, str) else item for item in value]
    return value


Syncs = Annotated[tuple[SyncSettings, ...], NoDecode, BeforeValidator(_short_syncs)]


class AccountSettings(_Section):
    """One account of several: its own secrets, and its own syncs where they differ."""

    name: str = Field(min_length=1, description="The account's name in logs, metrics and reports.")
    secrets_dir: Path = Field(description="The directory with this account's secret files.")
    syncs: Syncs | None = Field(default=None, description="This account's syncs; the common ones where not given.")


class DeadlineSettings(_Section):
    """How long anything may take at most; the strictest holds."""

    request: Duration = Field(default=30.0, gt=0, description="One HTTP request, from connecting to the last byte.")
    sync: Duration | None = Field(default=3600.0, description="One sync, from trigger to end.")
    run: Duration | None = Field(default=7200.0, description="The whole run.")


class LimitSettings(_Section):
    """How much may happen at once; `concurrency` bounds the syncs of one account."""

    accounts: int = Field(default=50, ge=1, le=10_000, description="Accounts that are worked on at once.")
    connections: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Connections to the API's host at once; a request that finds none free waits.",
    )
    looks: float = Field(
        default=25.0,
        gt=0,
        description="Looks at running jobs a second, about; more jobs than that are looked at less often.",
    )


class RetrySettings(_Section):
    """When a request is tried again."""

    attempts: int = Field(default=5, ge=1, le=100, description="Tries of one request at most.")
    wait: Duration = Field(
        default=0.5, gt=0, description="Upper bound of the first random wait; doubles with each try."
    )
    max_wait: Duration = Field(default=30.0, gt=0, description="Upper bound of any random wait.")
    budget: int = Field(
        default=20,
        ge=0,
        description="Retries in store for the run, for each account at work; each good answer puts back half a one. "
        "When they are spent, the API counts as down.",
    )
    job_attempts: int = Field(default=1, ge=1, le=20, description="Triggers of one sync whose job fails at the server.")


class PollSettings(_Section):
    """How a running job is watched."""

    min: Duration = Field(
        default=0.05,
        gt=0,
        description="Time until the first look at a job, and the shortest between two; where a job tells no progress, looks "
        "are 20 times as far apart at least.",
    )
    max: Duration = Field(default=1800.0, gt=0, description="Longest time between two looks.")
    stall: Duration = Field(default=600.0, gt=0, description="Report a job that shows no progress for so long.")


class TlsSettings(_Section):
    """How the API's connection is secured."""

    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) to trust instead of the system's.")
    allow_http: bool = Field(default=False, description="Allow plain http to a host that is not this machine.")


class StateSettings(_Section):
    """What is kept between runs."""

    dir: Path | None = Field(
        default=None, description="Directory for tokens, used codes and the ledger; none: memory only."
    )
    kubernetes_secret: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        description="Name of a Kubernetes Secret of this pod's namespace to keep tokens and used codes in, instead of dir.",
    )


class LogSettings(_Section):
    """What goes to standard error."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: readable on a terminal, else JSON."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level shown.")
    progress: Literal["auto", "always", "never"] = Field(
        default="auto", description="Live bars; auto: on a terminal that shows readable lines."
    )
    progress_every: Duration = Field(default=30.0, gt=0, description="Log a running sync's progress so often at least.")
    progress_step: float = Field(
        default=10.0, gt=0, le=100, description="Log a running sync's progress each time it grew by so many per cent."
    )


class PushgatewaySettings(_Section):
    """Where metrics are pushed at the end of the run."""

    url: Url | None = Field(default=None, description="The Pushgateway, such as http://pushgateway:9091.")
    job: str = Field(default="sync_runner", min_length=1, description="The `job` grouping label.")
    instance: str | None = Field(default=None, description="The `instance` grouping label, where several runners push.")
    timeout: Duration = Field(default=1.8, gt=0, le=30, description="How long a push may take at most.")
    username: str | None = Field(default=None, min_length=1, description="The user for basic authentication.")
    password_file: Path | None = Field(default=None, description="The secret file with that user's password.")
    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) to trust instead of the system's.")
    stale_after: Duration | None = Field(
        default=None,
        gt=0,
        description="Delete groups of this job that nobody renewed for so long, such as 90d, but never the last "
        "success of a sync of this run; not given: never.",
    )


class OtlpSettings(_Section):
    """Where metrics are exported to as OTLP at the end of the run; needs the extra `otlp`, which the image has."""

    endpoint: Url | None = Field(
        default=None, description="The collector, such as http://collector:4318; /v1/metrics is added."
    )
    instance: str | None = Field(default=None, description="service.instance.id, where several runners export.")
    timeout: Duration = Field(default=1.8, gt=0, le=30, description="How long the export may take at most.")
    headers_file: Path | None = Field(
        default=None, description="A secret file with headers, in the form authorization=Bearer%20TOKEN,x-tenant=7."
    )
    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) to trust instead of the system's.")


class MetricsSettings(_Section):
    """The ways out for metrics; any mix."""

    listen: str | None = Field(
        default=None,
        pattern=r"^[^\s]*:\d{1,5}$",
        description="Serve /metrics here while the run lasts, such as :9464 or 127.0.0.1:9464.",
    )
    textfile: Annotated[Path, AfterValidator(_prom_file)] | None = Field(
        default=None, description="Write a node-exporter textfile here at the end (must end in .prom)."
    )
    pushgateway: PushgatewaySettings = Field(default={}, validate_default=True)
    otlp: OtlpSettings = Field(default={}, validate_default=True)


class ReportSettings(_Section):
    """The run's summaries."""

    file: str | None = Field(default=None, description="The JSON report: a file, or - for standard output.")
    junit: Path | None = Field(default=None, description="A JUnit XML file: one test case a sync.")
    html: Path | None = Field(default=None, description="One HTML page with a timeline of the run; needs no network.")
    github: Literal["auto", "always", "never"] = Field(
        default="auto", description="Step summary, outputs and annotations; auto: in a GitHub Actions step."
    )
    termination_log: Path | None = Field(
        default=Path("/dev/termination-log"), description="One line for Kubernetes; written only where the file exists."
    )


PingKind = Literal["start", "success", "failure", "log"]


class PingSettings(_Section):
    """Pings in the style of healthchecks.io: URL/start, URL, URL/fail, URL/log."""

    url: Url | None = Field(default=None, description="The check's address, such as https://hc-ping.com/UUID.")
    url_file: Path | None = Field(default=None, description="A secret file with that address, instead of url.")
    when: Words[PingKind] = Field(
        default=("start", "success", "failure", "log"),
        description="Which pings are sent; log: a run that a signal ended.",
    )


class WebhookSettings(_Section):
    """One POST at the end of the run, with a body of your own."""

    url: Url | None = Field(default=None, description="Where the body is posted.")
    url_file: Path | None = Field(
        default=None, description="A secret file with that address, instead of url; may hold a query."
    )
    when: Words[Literal["success", "failure"]] = Field(
        default=("failure",), description="After which runs; failure: every exit code but 0."
    )
    body: Annotated[str, AfterValidator(_webhook_body)] = Field(
        default='{"text": "${text}"}',
        description="The body; ${text}, ${run_id}, ${exit_code}, ${meaning}, ${result}, ${completed}, ${failed}, "
        "${total}, ${duration_seconds}, ${base_url}, ${error} are filled in, JSON stays well-formed; $$ is a dollar.",
    )
    content_type: str = Field(default="application/json", description="The body's Content-Type.")


class NotifySettings(_Section):
    """Who is told of the run. A failure to tell is logged and changes nothing else."""

    budget: Duration = Field(
        default=2.0, gt=0, le=30, description="Longest time for all pings and posts at the end, retries included."
    )
    ping: PingSettings = Field(default={}, validate_default=True)
    webhook: WebhookSettings = Field(default={}, validate_default=True)


class Settings(BaseSettings):
    """All settings of sync-runner. Strongest first: command line, SYNC_RUNNER_* variables, the YAML file, defaults."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,
    )

    base_url: Url = Field(description="The API's address, such as https://sync.example.org.")
    profile: str = Field(
        default="garminsync", description="How the API speaks: a built-in profile's name or a YAML file."
    )
    account: str = Field(
        default="default", min_length=1, description="The account's name in logs, metrics and reports."
    )
    secrets_dir: Path = Field(default=Path("/run/secrets"), description="The directory with the secret files.")
    accounts: tuple[AccountSettings, ...] = Field(default=(), description="Several accounts instead of one.")
    accounts_dir: Path | None = Field(
        default=None, description="A directory with a folder of secret files for each account, named as the account."
    )
    shard: Annotated[str, AfterValidator(_shard)] | None = Field(
        default=None, description="Work on this part of the accounts alone: 0/4 is the first of four, 3/4 the last."
    )
    shards: int | None = Field(
        default=None, ge=1, le=1000, description="How many parts there are; JOB_COMPLETION_INDEX tells which is ours."
    )
    syncs: Syncs = Field(
        default=(), description="What to run: `activities,health` or a list with type, start, end, ..."
    )
    params: dict[str, Any] = Field(default={}, description="Parameters that the profile knows, for every sync.")
    concurrency: int = Field(default=1, ge=1, le=10_000, description="Syncs of one account that may run at once.")
    on_failure: Literal["continue", "stop"] = Field(
        default="continue", description="After a failed sync: go on, or skip the rest."
    )
    on_interrupt: Literal["cancel", "detach"] = Field(
        default="cancel", description="On SIGTERM: cancel running jobs, or leave them to the next run."
    )
    time_zone: str = Field(default="UTC", description="IANA zone for relative dates, such as Europe/Berlin.")
    deadline: DeadlineSettings = Field(default={}, validate_default=True)
    limits: LimitSettings = Field(default={}, validate_default=True)
    retry: RetrySettings = Field(default={}, validate_default=True)
    poll: PollSettings = Field(default={}, validate_default=True)
    tls: TlsSettings = Field(default={}, validate_default=True)
    state: StateSettings = Field(default={}, validate_default=True)
    log: LogSettings = Field(default={}, validate_default=True)
    metrics: MetricsSettings = Field(default={}, validate_default=True)
    report: ReportSettings = Field(default={}, validate_default=True)
    notify: NotifySettings = Field(default={}, validate_default=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands in: it merges command line and file itself, so that each value's source is known."""
        return (init_settings,)


class Loaded(Frozen):
    """The effective settings and where each set value came from: a flag, a variable, or `file:line`."""

    settings: Settings
    sources: dict[tuple[str, ...], str]


def load(overrides: dict[str, Any], config: Path | None = None) -> Loaded:
    """Merge command line (`overrides`), environment and the YAML file. Raises UsageError naming key and place."""
    if config is None and os.environ.get(f"{ENV_PREFIX}CONFIG"):
        config = Path(os.environ[f"{ENV_PREFIX}CONFIG"])
    file = document.read(config) if config else document.Document("", {}, {})
    in_file = file.where if config else None
    layers = [
        (file.data, file.where),
        (_from_environment(), lambda place: ENV_PREFIX + "__".join(map(str, place)).upper()),
        (overrides, lambda _place: "command line"),
    ]
    merged: dict[str, Any] = {}
    sources: dict[tuple[str, ...], str] = {}
    for data, where in layers:
        for place, value in _leaves(data):
            _put(merged, place, value)
            sources[place] = where(place)
    try:
        return Loaded(Settings(**merged), sources)
    except ValidationError as error:
        raise UsageError(_explain(error, sources, in_file)) from None


def _from_environment() -> dict[str, Any]:
    from pydantic_settings import EnvSettingsSource, SettingsError

    for variable in sorted(os.environ):
        if variable.upper().startswith(ENV_PREFIX):
            _check_variable(variable)
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        name = f"{ENV_PREFIX}{field[1].upper()}" if field else f"a {ENV_PREFIX}* variable"
        raise UsageError(f"{name}: not valid JSON; lists and sections in one variable are written as JSON") from None


def _check_variable(variable: str) -> None:
    key = variable.upper().removeprefix(ENV_PREFIX).lower()
    secrets = {*SECRET_NAMES, *(f"{name}_file" for name in SECRET_NAMES)}
    known = {"__".join(place) for place in _known_places(Settings)} | secrets | {"config"}
    if key not in known and not key.startswith("params__"):
        import difflib

        near = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {ENV_PREFIX}{near[0].upper()}?" if near else "; `sync-runner config schema` lists all"
        raise UsageError(f"{variable}: no such setting{hint}")


def _known_places(model: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*place, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _known_places(field.annotation, (*place, name))


def _leaves(data: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in data.items():
        at = (*place, str(key))
        if isinstance(value, dict) and (value or place):
            yield from _leaves(value, at)
        elif value is None and not place and key in ("syncs", "accounts"):
            continue  # an empty YAML list
        else:
            yield at, value


def _put(target: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        inner = target.get(key)
        if not isinstance(inner, dict):
            inner = target[key] = {}
        target = inner
    target[place[-1]] = value


def _explain(
    error: ValidationError,
    sources: dict[tuple[str, ...], str],
    in_file: Callable[[Iterable[str | int]], str] | None,
) -> str:
    """One line for each fault: place, key, what is wrong, what to do. Never the value: it could be a secret."""
    lines = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        place = tuple(str(part) for part in fault["loc"])
        key = ".".join(place)
        source = next((sources[place[:n]] for n in range(len(place), 0, -1) if place[:n] in sources), "")
        if in_file and source == in_file(place[:1]):
            source = in_file(fault["loc"])  # the very line of a list's item
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "no such setting" + _nearest(place)
        elif fault["type"] == "missing":
            message = "is required" + (
                f": give --base-url, {ENV_PREFIX}BASE_URL or the key in the YAML file" if key == "base_url" else ""
            )
        lines.append(f"{source + ': ' if source else ''}{key}: {message}")
    return "\n".join(lines)


def _nearest(place: tuple[str, ...]) -> str:
    import difflib

    names: Iterable[str]
    section = tuple(part for part in place[:-1] if not part.isdigit())
    lists: dict[tuple[str, ...], type[BaseModel]] = {
        ("syncs",): SyncSettings, ("accounts",): AccountSettings, ("accounts", "syncs"): SyncSettings,
    }  # fmt: skip
    if section in lists:
        names = lists[section].model_fields
    else:
        names = [known[-1] for known in _known_places(Settings) if known[:-1] == section]
    near = difflib.get_close_matches(place[-1], names, 1)
    if not near:  # perhaps it stands in the wrong section
        near = [".".join(known) for known in _known_places(Settings) if known[-1] == place[-1]][:1]
    return f"; did you mean `{near[0]}`?" if near else f"; known here: {', '.join(names)}"
