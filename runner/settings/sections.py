"""The sections of the settings: every key below the top, its meaning, its default."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from runner.settings.values import Day, Duration, HiddenUrl, PromFile, Url, WebhookBody, Words


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SyncSettings(_Section):
    """One sync to run."""

    type: str = Field(min_length=1, description="The sync type as the profile knows it, such as activities.")
    name: str = Field(default="", description="A name for logs and `after`; the type where not given.")
    start: Day | None = Field(
        default=None,
        description="First day: 2026-01-31, today, yesterday, -7d, or last-success (the day of the last completed run).",
    )
    end: Day | None = Field(default=None, description="Last day, in the same forms.")
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


class LoginSettings(_Section):
    """A login other than the profile's own, perhaps at another address."""

    use: str = Field(min_length=1, description="A built-in login's name, a YAML file, or `profile`: the profile's own.")
    address: Url | None = Field(default=None, description="Where it logs in; base_url where not given.")
    addresses: dict[str, Url] = Field(default={}, description="Further addresses, by the names that its steps use.")
    params: dict[str, Any] = Field(default={}, description="Parameters that the login knows, such as a realm.")
    secrets: dict[str, str] = Field(
        default={}, description="Other names for its secrets, such as password: sso_password, where two logins differ."
    )
    gate: bool = Field(
        default=False,
        description="It stands in front of base_url: what it gives goes with every request there, beside what the logins "
        "after it give. Only the first can.",
    )
    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) for its addresses, instead of tls.ca_file.")


def _short_logins(value: Any) -> Any:
    """`keycloak`, a mapping, a list of either, or JSON of these from the environment."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        import json

        value = json.loads(value)
    listed = value if isinstance(value, list | tuple) else [value]
    return [{"use": one} if isinstance(one, str) else one for one in listed]


Logins = Annotated[tuple[LoginSettings, ...], NoDecode, BeforeValidator(_short_logins)]


class AccountSettings(_Section):
    """One account of several: its own secrets, and its own syncs where they differ."""

    name: str = Field(min_length=1, description="The account's name in logs, metrics and reports.")
    secrets_dir: Path = Field(description="The directory with this account's secret files.")
    syncs: Syncs | None = Field(default=None, description="This account's syncs; the common ones where not given.")


class SelectSettings(_Section):
    """Which part of the configuration is worked on."""

    accounts: Words[str] = Field(
        default=(), description="Only these accounts, by name or pattern such as team-*; empty: all."
    )
    only_failed: bool = Field(default=False, description="Only syncs whose last run did not complete, by the state.")
    failed_in: Path | None = Field(default=None, description="Only syncs that did not complete in this JSON report.")


class RunSettings(_Section):
    """The run itself."""

    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Names what a scheduler may start several times, such as a Kubernetes Job or a pipeline. Runs with one "
        "key are tries of one: what completed under it is not run again. Needs state that is kept.",
    )


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
    state_connections: int = Field(
        default=4, ge=1, le=100, description="Connections to the database of `state.url` at once; one is kept at rest."
    )
    polls_per_second: float = Field(
        default=20.0,
        gt=0,
        description="Polls of running jobs a second, about; more jobs than that are polled less often.",
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
    connect_patience: Duration = Field(
        default=60.0,
        ge=0,
        description="How long a request that never left (refused, no name, no route) is tried again, within the deadline.",
    )
    job_attempts: int = Field(default=1, ge=1, le=20, description="Triggers of one sync whose job fails at the server.")


class PollSettings(_Section):
    """How a running job is watched."""

    min: Duration = Field(
        default=0.05,
        gt=0,
        description="Time until the first poll of a job, and the shortest between two; where a job tells no progress, polls "
        "are 20 times as far apart at least.",
    )
    max: Duration = Field(default=1800.0, gt=0, description="Longest time between two polls.")
    patience: Duration = Field(
        default=600.0, gt=0, description="How long a job is polled on without one good answer, within the deadline."
    )
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
    url: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9+.-]*://",
        description="Address of a database for sessions, used codes and the ledger, such as postgresql://user@host/db; the "
        "password is the secret state_password. Other schemes name entry points of `sync_runner.state`.",
    )

    keep: Duration = Field(
        default=34_560_000.0,
        ge=86_400,
        description="How long ended syncs, and the state of accounts that nobody uses, are remembered: 400d. What is open is "
        "never forgotten; of each sync the newest 24 are kept.",
    )

    @property
    def lasting(self) -> bool:
        """Whether anything outlives the process."""
        return bool(self.dir or self.kubernetes_secret or self.url)


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
    textfile: PromFile | None = Field(
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
    """One POST at the end of the run, with a body of your own."""

    url: HiddenUrl | None = Field(default=None, description="Where the body is posted.")
    url_file: Path | None = Field(
        default=None, description="A secret file with that address, instead of url; may hold a query."
    )
    when: Words[Literal["success", "failure", "code"]] = Field(
        default=("failure", "code"),
        description="After which runs; failure: every exit code but 0; code: at once, when a login waits for a person.",
    )
    body: WebhookBody = Field(
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
