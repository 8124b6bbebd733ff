"""Shows the values that a trial read: each with its unit, and a warning where the unit may be wrong."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from runner.auth.session_reading import SHORTEST
from runner.errors import ContractError
from runner.external import ExternalText, show
from runner.http.messages import Response
from runner.jobs.results import Misfit, fitting
from runner.models import SyncJob
from runner.profile import Profile, extraction
from runner.profile.auth_models import SessionFields
from runner.profile.output_models import Results

YEAR = 366 * 86400.0
Row = tuple[str, bool, str, str]  # part, whether it fits, the value, a possible correction
_UNITS = {"progress": " per cent", "total_items": " items", "processed_items": " items"}


def of_job(profile: Profile, job: SyncJob) -> Iterator[Row]:
    """Returns each value of a job that the profile has a place for."""
    for name in type(profile.jobs.fields).model_fields:
        at = getattr(profile.jobs.fields, name)
        value = getattr(job, name)
        if at is None and value is None:
            continue
        if name in job.unreadable:
            yield (
                f"jobs.fields.{name}",
                False,
                "is unreadable and left out",
                "see the shape of the response to jobs.status",
            )
        elif value is not None:
            yield f"jobs.fields.{name}", True, _shown(name, value), ""


def _shown(name: str, value: Any) -> str:
    text = show(value, 120) if isinstance(value, str | ExternalText) else str(value)
    if name.endswith("_time"):
        return f"{text} ({_zone(value)})"
    return text + _UNITS.get(name, "")


def _zone(value: Any) -> str:
    try:
        at = datetime.fromisoformat(value.raw if isinstance(value, ExternalText) else str(value))
    except ValueError:
        return "not an RFC 3339 time: only shown"
    return "RFC 3339" if at.tzinfo else "RFC 3339 without a zone: read as UTC"


def of_session(fields: SessionFields, answer: Response, known: Mapping[str, Any]) -> Iterator[Row]:
    """Yields the lifetime in the last response of the login."""
    now = answer.received_at
    for name in ("expires_in", "expires_at"):
        sources = getattr(fields, name)
        if sources is None:
            continue
        try:
            read = extraction.seconds if name == "expires_in" else extraction.moment
            found = read(answer, sources, known)
        except ContractError as error:
            yield f"auth.session.{name}", False, str(error), "see its `unit`"
            continue
        if found is None:
            continue
        left = found if name == "expires_in" else found - now
        if left > YEAR:
            text = f"{left:.0f} s, which is {left / YEAR:.0f} years: implausible"
            yield f"auth.session.{name}", False, text, "perhaps it is in milliseconds: set `unit: ms`"
        elif left < 0:
            yield f"auth.session.{name}", False, f"expired {-left:.0f} s ago", "see its place and its `unit`"
        elif left < SHORTEST:
            text = f"{left:.0f} s, which is too short to be believed: the session is used until the API refuses it"
            yield f"auth.session.{name}", False, text, "perhaps it is in minutes or hours, or stands elsewhere"
        else:
            yield f"auth.session.{name}", True, f"{left:.0f} s, until {_utc(now + left)}", ""


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def of_results(results: Results, answer: Response, values: Mapping[str, Any]) -> Iterator[Row]:
    """Yields each named result."""
    for name, result in results.values.items():
        part = f"jobs.results.{name}"
        try:
            found = fitting(answer, result, values)
        except (ContractError, Misfit) as error:
            yield part, False, str(error) or f"is not a {result.type}, or too long", "see its `type`"
            continue
        if found is None:
            yield part, False, "not in the response", "see its place"
        else:
            yield part, True, f"{show(str(found), 80)} ({result.type})", ""
