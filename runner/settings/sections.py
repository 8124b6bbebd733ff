"""The sections of the settings: every nested key, its meaning and its default."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from runner.settings.values import Day, Duration, HiddenUrl, PromFile, StateUrl, Url, WebhookBody, Words


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SyncSettings(_Section):
    """One sync to run."""

    type: str = Field(min_length=1, description="A sync type of the profile, such as activities.")
    name: str = Field(default="", description="A name for logs and `after`; default: the type.")
    start: Day | None = Field(
        default=None,
        description="First day: 2026-01-31, today, yesterday, -7d, or last-success (the day of the last completed run).",
    )
    end: Day | None = Field(default=None, description="Last day, in the same forms.")
    force_full: bool = Field(default=False, description="Request a full sync, not only new data.")
    after: tuple[str, ...] = Field(default=(), description="Names of syncs that must have completed first.")
    params: dict[str, Any] = Field(default={}, description="Parameters of the profile, for this sync.")

    def model_post_init(self, _context: Any) -> None:
        """Names the sync after its type unless a name is given."""
        if not self.name:
            object.__setattr__(self, "name", self.type)


def _short_syncs(value: Any) -> Any:
    """Parses `activities,health`, `[activities, {type: health}]`, or either as JSON from the environment."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        import json

        value = json.loads(value)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return [{"type": item} if isinstance(item, str) else item for item in value]
    return value


Syncs = Annotated[tuple[SyncSettings, ...], NoDecode, BeforeValidator(_short_syncs)]


class LoginSettings(_Section):
    """A login other than the profile's own, possibly at another address."""

    use: str = Field(min_length=1, description="A built-in login's name, a YAML file, or `profile`: the profile's own.")
    address: Url | None = Field(default=None, description="The login's address; default: base_url.")
    addresses: dict[str, Url] = Field(default={}, description="Further addresses, by the names that its steps use.")
    params: dict[str, Any] = Field(default={}, description="Parameters of the login, such as a realm.")
    secrets: dict[str, str] = Field(
        default={}, description="Other names for its secrets, such as password: sso_password, where two logins differ."
    )
    gate: bool = Field(
        default=False,
        description="The login of a gateway in front of base_url: its credentials go with every request there, in "
        "addition to those of the logins after it. Only the first login can be one.",
    )
    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) for its addresses, instead of tls.ca_file.")


def _short_logins(value: Any) -> Any:
    """Parses `keycloak`, a mapping, a list of either, or JSON of these from the environment."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        import json

        value = json.loads(value)
    listed = value if isinstance(value, list | tuple) else [value]
    return [{"use": one} if isinstance(one, str) else one for one in listed]


Logins = Annotated[tuple[LoginSettings, ...], NoDecode, BeforeValidator(_short_logins)]


class AccountSettings(_Section):
    """One account of several, with its own secrets and, where they differ, its own syncs."""

    name: str = Field(min_length=1, description="The account's name in logs, metrics and reports.")
    secrets_dir: Path = Field(description="The directory with this account's secret files.")
    syncs: Syncs | None = Field(default=None, description="This account's syncs; default: the common ones.")


class SelectSettings(_Section):
    """The part of the configuration that the run processes."""

    accounts: Words[str] = Field(
        default=(), description="Only these accounts, by name or pattern such as team-*; empty: all."
    )
    only_failed: bool = Field(
        default=False, description="Only syncs whose last run did not complete, according to the state."
    )
    failed_in: Path | None = Field(default=None, description="Only syncs that did not complete in this JSON report.")


class RunSettings(_Section):
    """The run itself."""

    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Identifies a run that a scheduler may start several times, such as a Kubernetes Job or a pipeline. "
        "Runs with the same key are tries of one run: a sync that completed is not run again. Needs persistent state.",
    )


class DeadlineSettings(_Section):
    """Time limits; the strictest applies."""

    request: Duration = Field(default=30.0, gt=0, description="One HTTP request, from connecting to the last byte.")
    sync: Duration | None = Field(default=3600.0, description="One sync, from trigger to end.")
    run: Duration | None = Field(default=7200.0, description="The whole run.")


class LimitSettings(_Section):
    """Limits of concurrency; `concurrency` limits the syncs of one account."""

    accounts: int = Field(default=50, ge=1, le=10_000, description="Accounts processed at once.")
    connections: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Connections to the API's host at once; a request waits for a free one.",
    )
    state_connections: int = Field(
        default=4,
        ge=1,
        le=100,
        description="Connections to the database of `state.url` at once; one stays open when idle.",
    )
    polls_per_second: float = Field(
        default=20.0,
        gt=0,
        description="Approximate polls of running jobs per second; with more jobs, each is polled less often.",
    )


class RetrySettings(_Section):
    """When a request is retried."""

    attempts: int = Field(default=5, ge=1, le=100, description="Maximum number of tries of one request.")
    wait: Duration = Field(
        default=0.5, gt=0, description="Upper bound of the first random wait; doubles with each try."
    )
    max_wait: Duration = Field(default=30.0, gt=0, description="Upper bound of any random wait.")
    budget: int = Field(
        default=20,
        ge=0,
        description="Retries in store for the run, for each active account; each good response restores half a retry. "
        "When none is left, the API counts as down.",
    )
    connect_patience: Duration = Field(
        default=60.0,
        ge=0,
        description="How long a request that was never sent (refused, no name, no route) is retried, within the deadline.",
    )
    job_attempts: int = Field(default=1, ge=1, le=20, description="Triggers of one sync whose job fails at the server.")


class PollSettings(_Section):
    """How a running job is polled."""

    min: Duration = Field(
        default=0.05,
        gt=0,
        description="Time until the first poll of a job, and the shortest time between two polls; where a job reports no "
        "progress, polls are at least 20 times as far apart.",
    )
    max: Duration = Field(default=1800.0, gt=0, description="Longest time between two polls.")
    patience: Duration = Field(
        default=600.0, gt=0, description="How long polling continues without a good response, within the deadline."
    )
    stall: Duration = Field(default=600.0, gt=0, description="Report a job that shows no progress for this long.")


class TlsSettings(_Section):
    """How the API's connection is secured."""

    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) to trust instead of the system's.")
    allow_http: bool = Field(default=False, description="Allow plain http to a host that is not this machine.")


class StateSettings(_Section):
    """The state between runs."""

    dir: Path | None = Field(
        default=None, description="Directory for tokens, used codes and the ledger; not given: memory only."
    )
    kubernetes_secret: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        description="Name of a Kubernetes Secret in this pod's namespace that stores tokens and used codes, instead of dir.",
    )
    url: StateUrl | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9+.-]*://",
        description="Address of a database for sessions, used codes and the ledger, such as postgresql://user@host/db; the "
        "password is the secret state_password. Other schemes name entry points of `sync_runner.state`.",
    )

    keep: Duration = Field(
        default=34_560_000.0,
        ge=86_400,
        description="How long ended syncs and the state of unused accounts are kept: 400d. Open syncs are "
        "never deleted; the newest 24 entries of each sync are kept.",
    )

    @property
    def lasting(self) -> bool:
        """Whether the state outlives the process."""
        return bool(self.dir or self.kubernetes_secret or self.url)


class LogSettings(_Section):
    """What is written to standard error."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: readable on a terminal, else JSON."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Lowest level shown.")
    progress: Literal["auto", "always", "never"] = Field(
        default="auto", description="Live bars; auto: on a terminal that shows readable lines."
    )
    progress_every: Duration = Field(
        default=30.0, gt=0, description="Log a running sync's progress at least this often."
    )
    progress_step: float = Field(
        default=10.0, gt=0, le=100, description="Log a running sync's progress each time it grew by this many per cent."
    )


class PushgatewaySettings(_Section):
    """Where metrics are pushed at the end of the run."""

    url: Url | None = Field(default=None, description="The Pushgateway, such as http://pushgateway:9091.")
    job: str = Field(default="sync_runner", min_length=1, description="The `job` grouping label.")
    instance: str | None = Field(default=None, description="The `instance` grouping label, where several runners push.")
    timeout: Duration = Field(default=1.8, gt=0, le=30, description="Longest time for a push.")
    username: str | None = Field(default=None, min_length=1, description="The user for basic authentication.")
    password_file: Path | None = Field(default=None, description="The secret file with that user's password.")
    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) to trust instead of the system's.")
    stale_after: Duration | None = Field(
        default=None,
        gt=0,
        description="Delete groups of this job that were not renewed for this long, such as 90d, but never the last "
        "success of a sync of this run; not given: never.",
    )


class OtlpSettings(_Section):
    """Where metrics are exported as OTLP at the end of the run; needs the extra `otlp`, which the image has."""

    endpoint: Url | None = Field(
        default=None, description="The collector, such as http://collector:4318; /v1/metrics is added."
    )
    instance: str | None = Field(default=None, description="service.instance.id, where several runners export.")
    timeout: Duration = Field(default=1.8, gt=0, le=30, description="Longest time for the export.")
    headers_file: Path | None = Field(
        default=None, description="A secret file with headers, in the form authorization=Bearer%20TOKEN,x-tenant=7."
    )
    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) to trust instead of the system's.")


class MetricsSettings(_Section):
    """The outputs for metrics, in any combination."""

    listen: str | None = Field(
        default=None,
        pattern=r"^[^\s]*:\d{1,5}$",
        description="Serve /metrics here while the run lasts, such as :9464 or 127.0.0.1:9464.",
    )
    textfile: PromFile | None = Field(
        default=None, description="Write a node-exporter textfile here at the end (must end in .prom)."
    )
    pushgateway: PushgatewaySettings = Field(default={}, validate_default=True)
    otlp: OtlpSettings = Field(default={}, validate_default=True)


class ReportSettings(_Section):
    """The run's summaries."""

    file: str | None = Field(default=None, description="The JSON report: a file, or - for standard output.")
    junit: Path | None = Field(default=None, description="A JUnit XML file: one test case per sync.")
    html: Path | None = Field(default=None, description="One HTML page with a timeline of the run; needs no network.")
    github: Literal["auto", "always", "never"] = Field(
        default="auto", description="Step summary, outputs and annotations; auto: in a GitHub Actions step."
    )
    termination_log: Path | None = Field(
        default=Path("/dev/termination-log"),
        description="One line for Kubernetes, and the results of jobs; written only where the file exists.",
    )
    dotenv: Path | None = Field(
        default=None, description="A dotenv file with the results of jobs, for GitLab's `artifacts:reports:dotenv`."
    )
    xcom: Path | None = Field(
        default=Path("/airflow/xcom/return.json"),
        description="The results of jobs as JSON, for an XCom of a pod; written only where its directory exists.",
    )


PingKind = Literal["start", "success", "failure", "log", "code"]


class PingSettings(_Section):
    """Pings in the style of healthchecks.io: URL/start, URL, URL/fail, URL/log."""

    url: HiddenUrl | None = Field(default=None, description="The check's address, such as https://hc-ping.com/UUID.")
    url_file: Path | None = Field(default=None, description="A secret file with that address, instead of url.")
    when: Words[PingKind] = Field(
        default=("start", "success", "failure", "log", "code"),
        description="Which pings are sent; log: a run that a signal ended; code: a login waits for a person, sent to URL/log.",
    )


class WebhookSettings(_Section):
    """One POST at the end of the run, with a configurable body."""

    url: HiddenUrl | None = Field(default=None, description="Where the body is posted.")
    url_file: Path | None = Field(
        default=None, description="A secret file with that address, instead of url; may hold a query."
    )
    when: Words[Literal["success", "failure", "code"]] = Field(
        default=("failure", "code"),
        description="After which runs; failure: every exit code except 0; code: immediately, when a login waits for a person.",
    )
    body: WebhookBody = Field(
        default='{"text": "${text}"}',
        description="The body; ${text}, ${run_id}, ${exit_code}, ${meaning}, ${result}, ${completed}, ${failed}, "
        "${total}, ${duration_seconds}, ${base_url}, ${error} are replaced, JSON stays well-formed; $$ is a dollar sign.",
    )
    content_type: str = Field(default="application/json", description="The body's Content-Type.")


class NotifySettings(_Section):
    """Notifications of the run. A failed notification is logged and changes nothing else."""

    budget: Duration = Field(
        default=2.0, gt=0, le=30, description="Longest time for all pings and posts at the end, retries included."
    )
    ping: PingSettings = Field(default={}, validate_default=True)
    webhook: WebhookSettings = Field(default={}, validate_default=True)
