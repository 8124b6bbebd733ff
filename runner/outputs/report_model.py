"""The typed data of a run's report. Its JSON Schema and its page in the docs are generated from these classes.

`report_version` increases when a field is removed or changes its meaning; new fields need no new version.
"""
# Decision 0092.

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from runner import __version__
from runner.clock import rfc3339
from runner.errors import ExitCode
from runner.frozen import Frozen
from runner.models import JobStatus, Outcome, RunResult, SyncResult
from runner.outcomes import MEANINGS, Severity

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
# Text types, so that nothing is parsed only to be written again; the schema defines their format.
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class ArtifactReport(Frozen):
    """One file of a job."""

    name: Annotated[str, Field(description="Its path as the API names it.")]
    path: Annotated[str | None, Field(description="Its local path; null: it was not stored.")]
    size: Annotated[int | None, Field(ge=0, description="Its size in bytes.")]
    sha256: Annotated[str | None, Field(description="Its SHA-256 in hex.")]
    error: Annotated[str | None, Field(description="Why it was not stored.")]


class SyncReport(Frozen):
    """One sync. A value of its job is None where the API does not report it."""

    account: Annotated[str, Field(description="Name of the account.")]
    name: Annotated[str, Field(description="Name of the sync.")]
    sync_type: Annotated[str, Field(description="Its type.")]
    outcome: Annotated[Outcome, Field(description="Its outcome.")]
    severity: Annotated[Severity, Field(description="info: completed; warning: skipped; error: everything else.")]
    job_id: Annotated[str | None, Field(description="The job's id at the API.")]
    status: Annotated[JobStatus | None, Field(description="The job's last known state.")]
    progress: Annotated[float | None, Field(ge=0, le=100, description="Its progress in per cent.")]
    total_items: Annotated[int | None, Field(ge=0, description="Items that the job had to process.")]
    processed_items: Annotated[int | None, Field(ge=0, description="Items that it processed.")]
    started_at: Annotated[Time | None, Field(description="When it started.")]
    duration_seconds: Annotated[Seconds, Field(description="From its start to its end.")]
    attempts: Annotated[Count, Field(description="Number of triggers sent for it.")]
    adopted: Annotated[bool, Field(description="Whether the job was already running.")]
    error: Annotated[str | None, Field(description="Why it did not complete.")]
    remedy: Annotated[str | None, Field(description="What to do next, where it did not complete.")]
    note: Annotated[str | None, Field(description="Why nothing was done, if so.")] = None
    results: Annotated[dict[str, Any], Field(description="The result values of its job, by the profile's names.")] = (
        field(default_factory=dict)
    )
    log: Annotated[tuple[str, ...], Field(description="The last lines of its job's log.")] = ()
    log_file: Annotated[str | None, Field(description="The file with the job's whole log.")] = None
    artifacts: Annotated[tuple[ArtifactReport, ...], Field(description="The files of its job.")] = ()

    @property
    def completed(self) -> bool:
        """Whether it completed."""
        return self.outcome is Outcome.COMPLETED

    @property
    def items(self) -> str:
        """`12/400`; empty where the API does not count."""
        return "" if self.total_items is None else f"{self.processed_items or 0}/{self.total_items}"

    @property
    def reason(self) -> str:
        """Why it did not complete; the outcome where no reason is known."""
        return self.error or self.outcome.value


class AccountReport(Frozen):
    """One account. User and session are those of its last session in this run."""

    account: Annotated[str, Field(description="Name of the account.")]
    exit_code: Annotated[ExitCode, Field(description="The exit code of a run of this account alone.")]
    completed: Annotated[Count, Field(description="Its syncs that completed.")]
    total: Annotated[Count, Field(description="All its syncs.")]
    user_id: Annotated[str | None, Field(description="The user's id at the API.")] = None
    session_id: Annotated[str | None, Field(description="The id of the session.")] = None


class Report(Frozen):
    """One run of sync-runner."""

    report_version: Literal[1]
    runner_version: str
    run_id: Id
    exit_code: Annotated[ExitCode, Field(description="The exit code of the process.")]
    meaning: Annotated[str, Field(description="The exit code in words.")]
    remedy: Annotated[str | None, Field(description="What to do next, where the exit code is not 0.")]
    started_at: Time
    ended_at: Time
    duration_seconds: Seconds
    base_url: str
    profile: str
    shard: Annotated[
        str | None, Field(pattern=r"^[0-9]+/[0-9]+$", description="The part of the accounts: index/count.")
    ]
    totals: Annotated[dict[Outcome, Annotated[int, Field(ge=1)]], Field(description="Number of syncs by outcome.")]
    accounts: tuple[AccountReport, ...]
    syncs: Annotated[tuple[SyncReport, ...], Field(description="In the order of the plan.")]
    errors: Annotated[tuple[str, ...], Field(description="Errors that prevented the run from starting.")]

    @property
    def good(self) -> bool:
        """Whether every sync completed."""
        return self.exit_code == ExitCode.COMPLETED

    @property
    def result(self) -> Literal["success", "failure"]:
        """The run's result in one word."""
        return "success" if self.good else "failure"

    @property
    def completed(self) -> int:
        """The number of syncs that completed."""
        return self.totals.get(Outcome.COMPLETED, 0)

    @cached_property
    def failed(self) -> tuple[SyncReport, ...]:
        """Returns the syncs that did not complete: errors first, then those that were skipped because of them."""
        found = [one for one in self.syncs if not one.completed]
        return tuple(sorted(found, key=lambda one: one.severity))

    @cached_property
    def several_accounts(self) -> bool:
        """Whether the accounts are needed to identify a sync."""
        return len({one.account for one in self.syncs}) > 1

    def place(self, sync: SyncReport) -> str:
        """Returns the sync's name, with its account where there are several."""
        return f"{sync.account}/{sync.name}" if self.several_accounts else sync.name


def build_report(run: RunResult, redact: Callable[[str], str] = str) -> Report:
    """Builds the report of a run.

    `redact` redacts external text and errors; names from the configuration stay unchanged.
    """
    code = ExitCode(run.exit_code)
    return Report(
        report_version=1,
        runner_version=__version__,
        run_id=run.run_id,
        exit_code=code,
        meaning=code.meaning,
        remedy=code.remedy or None,
        started_at=rfc3339(run.started_at),
        ended_at=rfc3339(run.ended_at),
        duration_seconds=round(max(0.0, run.ended_at - run.started_at), 3),
        base_url=run.base_url,
        profile=run.profile,
        shard=run.shard,
        totals=dict(sorted(Counter(result.outcome for result in run.results).items())),
        accounts=tuple(
            AccountReport(
                account=one.account,
                exit_code=ExitCode(one.exit_code),
                completed=one.completed,
                total=one.total,
                user_id=one.user_id and redact(one.user_id),
                session_id=one.session_id and redact(one.session_id),
            )
            for one in run.accounts
        ),
        syncs=tuple(_sync(result, redact) for result in run.results),
        errors=tuple(redact(error) for error in run.errors),
    )


def _sync(result: SyncResult, redact: Callable[[str], str]) -> SyncReport:
    job, meaning = result.job, MEANINGS[result.outcome]
    return SyncReport(
        account=result.account,
        name=result.name,
        sync_type=result.sync_type,
        outcome=result.outcome,
        severity=meaning.severity,
        job_id=redact(job.shown_id) if job else None,
        status=job.status if job else None,
        progress=job.progress if job else None,
        total_items=job.total_items if job else None,
        processed_items=job.processed_items if job else None,
        started_at=None if result.started_at is None else rfc3339(result.started_at),
        duration_seconds=round(result.duration, 3),
        attempts=result.attempts,
        adopted=result.adopted,
        error=None if result.error is None else redact(result.error),
        remedy=meaning.remedy or None,
        note=result.note,
        results=redacted(result.results, redact),
        log=result.log,  # made printable when it was read
        log_file=result.log_file,
        artifacts=tuple(
            ArtifactReport(
                name=one.name, path=one.path, size=one.size, sha256=one.sha256, error=one.error and redact(one.error)
            )
            for one in result.artifacts
        ),
    )


def redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Returns a JSON value with all its texts and keys redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(inner, redact) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner, redact) for inner in value]
    return value


def plain(value: Any) -> Any:
    """Converts a report, or a part of it, for `json.dumps`, in the order of the fields."""
    if isinstance(value, Frozen):
        return {name: plain(getattr(value, name)) for name in value._names}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def read_report(text: str | bytes) -> Report:
    """Parses a report from JSON. Raises ValueError for anything else, or another version."""
    from pydantic import TypeAdapter

    return TypeAdapter(Report).validate_json(text)


def schema() -> dict[str, Any]:
    """Returns the report's JSON Schema (draft 2020-12)."""
    from pydantic import TypeAdapter

    made: dict[str, Any] = TypeAdapter(Report).json_schema(mode="serialization")
    closed: dict[str, Any] = _closed(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "sync-runner report"}
    )
    return closed


def _closed(node: Any) -> Any:
    """Closes every object's set of fields; removes titles that only repeat a field's name."""
    if isinstance(node, list):
        return [_closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: _closed(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}
    if "properties" in made:
        made |= {"additionalProperties": False, "required": [*made["properties"]]}
    return made
