"""The settings model: every top-level key, its meaning and its default. `loading` reads files and the environment."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from runner.settings.code_section import CodeSettings
from runner.settings.output_sections import ArtifactsSettings, LogsSettings
from runner.settings.sections import (
    AccountSettings,
    DeadlineSettings,
    LimitSettings,
    Logins,
    LogSettings,
    MetricsSettings,
    NotifySettings,
    PollSettings,
    ReportSettings,
    RetrySettings,
    RunSettings,
    SelectSettings,
    StateSettings,
    Syncs,
    TlsSettings,
)
from runner.settings.values import ApiUrl, Shard

ENV_PREFIX = "SYNC_RUNNER_"
SECRET_NAMES = (
    "username", "password", "totp_seed", "refresh_token", "api_token", "client_id", "client_secret", "client_key",
    "state_key", "state_password", "hotp_seed", "imap_password",
)  # fmt: skip


class Settings(BaseSettings):
    """All settings of sync-runner. In order of precedence: command line, SYNC_RUNNER_* variables, YAML file, defaults."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,
    )

    base_url: ApiUrl = Field(description="The API's address, such as https://sync.example.org.")
    profile: str = Field(
        default="garminsync", description="The API's profile: a built-in profile's name or a YAML file."
    )
    login: Logins = Field(
        default=(),
        description="How to log in, if not as in the profile: `keycloak`, a section with use, address, params, ..., or a "
        "list of them, each of which starts with the session of the previous one.",
    )
    code: CodeSettings = Field(default={}, validate_default=True)
    account: str = Field(
        default="default", min_length=1, description="The account's name in logs, metrics and reports."
    )
    secrets_dir: Path = Field(default=Path("/run/secrets"), description="The directory with the secret files.")
    secret_sources: tuple[str, ...] = Field(
        default=(), description="Further sources of secrets, read last: entry points of `sync_runner.secret_sources`."
    )
    accounts: tuple[AccountSettings, ...] = Field(default=(), description="Several accounts instead of one.")
    accounts_dir: Path | None = Field(
        default=None, description="A directory with one folder of secret files for each account, named after it."
    )
    accounts_query: str | None = Field(
        default=None,
        min_length=1,
        description="A SELECT on the database of state.url that returns the accounts: `name`, and where needed `secrets_dir` "
        "(below secrets_dir; default: the name) and `syncs`. Also written accounts.query.",
    )
    select: SelectSettings = Field(default={}, validate_default=True)
    shard: Shard | None = Field(
        default=None, description="Process only this part of the accounts: 0/4 is the first of four, 3/4 the last."
    )
    shards: int | None = Field(
        default=None, ge=1, le=1000, description="Number of parts; JOB_COMPLETION_INDEX selects this process's part."
    )
    syncs: Syncs = Field(
        default=(), description="Syncs to run: `activities,health` or a list with type, start, end, ..."
    )
    params: dict[str, Any] = Field(default={}, description="Parameters that the profile knows, for every sync.")
    concurrency: int = Field(default=1, ge=1, le=10_000, description="Syncs of one account that may run at once.")
    on_failure: Literal["continue", "stop"] = Field(
        default="continue", description="After a failed sync: continue, or skip the rest."
    )
    on_interrupt: Literal["cancel", "detach"] = Field(
        default="cancel", description="On SIGTERM: cancel running jobs, or leave them for the next run."
    )
    time_zone: str = Field(default="UTC", description="IANA zone for relative dates, such as Europe/Berlin.")
    run: RunSettings = Field(default={}, validate_default=True)
    deadline: DeadlineSettings = Field(default={}, validate_default=True)
    limits: LimitSettings = Field(default={}, validate_default=True)
    retry: RetrySettings = Field(default={}, validate_default=True)
    poll: PollSettings = Field(default={}, validate_default=True)
    tls: TlsSettings = Field(default={}, validate_default=True)
    state: StateSettings = Field(default={}, validate_default=True)
    log: LogSettings = Field(default={}, validate_default=True)
    logs: LogsSettings = Field(default={}, validate_default=True)
    artifacts: ArtifactsSettings = Field(default={}, validate_default=True)
    metrics: MetricsSettings = Field(default={}, validate_default=True)
    report: ReportSettings = Field(default={}, validate_default=True)
    notify: NotifySettings = Field(default={}, validate_default=True)
    outputs: dict[str, dict[str, Any]] = Field(
        default={},
        description="Outputs of other packages, by the name of their entry point, each with its own settings.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Accepts only values from `load`, which merges command line and file itself so that each value's source is known."""
        return (init_settings,)
