"""Reads values from responses as the profile describes. Every misfit is a ContractError that names its place."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from runner.errors import ContractError
from runner.external import ExternalText, show
from runner.models import JSON, MAX_ID, JobStatus, SyncJob
from runner.profile import informing
from runner.profile.expressions import find, shape
from runner.profile.informing import Informing
from runner.profile.models import Errors, Jobs, Source
from runner.profile.parts import Rule
from runner.profile.template import PathText
from runner.profile.transforms import searched, transformed

MAX_MESSAGE = 200  # maximum shown characters of the API's own words


class Seen(Protocol):
    """The parts of a response that a profile can use. Names of headers are in lower case."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, ExternalText]: ...
    @property
    def text(self) -> str: ...
    @property
    def cookies(self) -> Mapping[str, str]: ...
    @property
    def cookie_ends(self) -> Mapping[str, float]: ...
    @property
    def body(self) -> JSON: ...
    @property
    def is_json(self) -> bool: ...


Known = Mapping[str, JSON]  # values by name


def value(answer: Seen, sources: tuple[Source, ...] | None, known: Known | None = None) -> JSON:
    """Returns the first of `sources` in the response or the `known` values; None where there is none."""
    for source in sources or ():
        found = _one(answer, source, known or {})
        if found is not None and source.transformed:
            found = transformed(found, source)
        if found is not None:
            return found
    return None


def stands_in(answer: Seen, sources: tuple[Source, ...]) -> bool:
    """Whether one of `sources` is in the response itself, not among the known values."""
    return value(answer, tuple(one for one in sources if one.value is None)) is not None


def _one(answer: Seen, source: Source, known: Known) -> JSON:
    if source.header is not None:
        return _header(answer, source.header)
    if source.cookie is not None:
        return answer.cookies.get(source.cookie)
    if source.value is not None:
        return known.get(source.value)
    if source.cookie_expires is not None:
        return answer.cookie_ends.get(source.cookie_expires)
    if source.text is not None:
        return searched(source.text, answer.text)
    if source.html is not None:
        return _selected(answer, source.html, known)
    return find(answer.body, source.body, known)


def _header(answer: Seen, name: str) -> str | None:
    found = answer.headers.get(name.lower())
    return None if found is None else found.raw


def _selected(answer: Seen, selector: str, known: Known) -> str | None:
    """Returns what the CSS selector finds in a page; None for a response that is not a page."""
    if not answer.text:
        return None
    from runner.profile import html

    return html.select(answer.text, html.selector(selector, known))


def fits(rules: tuple[Rule, ...], answer: Seen, known: Known | None = None) -> bool:
    """Whether one of the rules matches the response."""
    return any(meant(rule, answer, known) for rule in rules)


def meant(rule: Rule, answer: Seen, known: Known | None = None) -> bool:
    """Whether the rule matches the response: status, content type, headers and body, where it names them."""
    if rule.status is not None and answer.status not in rule.status:
        return False
    if rule.type is not None and not (_header(answer, "content-type") or "").lower().startswith(rule.type.lower()):
        return False
    if not all(searched(pattern, _header(answer, name)) is not None for name, pattern in rule.header.items()):
        return False
    if rule.text is not None and searched(rule.text, answer.text) is None:
        return False
    if rule.html is not None and _selected(answer, rule.html, known or {}) is None:
        return False
    return rule.when is None or bool(find(answer.body, rule.when, known))


def unnamed(rules: tuple[Rule, ...], answer: Seen) -> bool:
    """Whether no rule is about the response's status, so that its meaning is unknown."""
    return not any(rule.status is None or answer.status in rule.status for rule in rules)


def tells(rules: tuple[Rule, ...], answer: Seen, known: Known | None = None) -> bool:
    """Whether one of the rules matches a response from the API itself: JSON, or of a type that the rule names."""
    return any((answer.is_json or rule.without_json) and meant(rule, answer, known) for rule in rules)


def redirects(rules: tuple[Rule, ...]) -> bool:
    """Whether one of the rules may match a redirect."""
    return any(300 <= status < 400 for rule in rules for status in rule.status or ())


def named(sources: tuple[Source, ...] | None) -> str:
    """Describes the expected place of a value, for messages."""
    return " or ".join(str(source) for source in sources or ())


def text(answer: Seen, sources: tuple[Source, ...] | None, known: Known | None = None) -> str | None:
    """Returns a text, or a whole number as text (17 for 17.0 too); None where there is none. Raises ContractError otherwise."""
    return _as_text(value(answer, sources, known), named(sources))


def structure(answer: Seen, sources: tuple[Source, ...] | None, known: Known | None = None) -> JSON:
    """Returns a value to be carried: an object, list or boolean unchanged, everything else as `text`."""
    found = value(answer, sources, known)
    if isinstance(found, dict | list | bool):
        return found
    written = _as_text(found, named(sources))
    return PathText(written) if written is not None and any(one.path for one in sources or ()) else written


def flag(answer: Seen, sources: tuple[Source, ...] | None, known: Known | None = None) -> bool | None:
    """Returns true or false; None where there is neither. Raises ContractError for anything else."""
    found = value(answer, sources, known)
    if found is None or isinstance(found, bool):
        return found
    raise ContractError(f"`{named(sources)}` must be true or false, is {shape(found)}")


def seconds(answer: Seen, sources: tuple[Source, ...] | None, known: Known | None = None) -> float | None:
    """Returns a lifetime in seconds. Raises ContractError for a negative value or one that is not a number."""
    found = value(answer, sources, known)
    if isinstance(found, str) and _digits(found):
        found = int(found.strip()[:16])
    lifetime = _as_number(found, named(sources))
    lifetime = None if lifetime is None else lifetime / _unit(sources)
    if lifetime is not None and lifetime < 0:
        raise ContractError(f"`{named(sources)}` must be a lifetime in seconds, is negative")
    return lifetime


def _unit(sources: tuple[Source, ...] | None) -> float:
    """Returns how many of the number's units are a second."""
    return 1000.0 if sources and any(source.unit == "ms" for source in sources) else 1.0


def _digits(text: str) -> bool:
    """Whether it is a whole number: one from a header or cookie is text."""
    return text.strip().isascii() and text.strip().isdigit()


def moment(answer: Seen, sources: tuple[Source, ...] | None, known: Known | None = None) -> float | None:
    """Parses a time to Unix seconds, from a number or RFC 3339. Raises ContractError for anything else."""
    found = value(answer, sources, known)
    if isinstance(found, str) and _digits(found):
        found = int(found.strip()[:16])
    if not isinstance(found, str):
        number = _as_number(found, named(sources))
        return None if number is None else number / _unit(sources)
    try:
        at = datetime.fromisoformat(found.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ContractError(f"`{named(sources)}` must be a time (Unix seconds or RFC 3339)") from None


def job(profile: Jobs, data: JSON, *, job_id: str | None = None, begun: bool = False) -> SyncJob:
    """Reads the job in `data`. One that has just `begun` is pending where its status is missing or unknown: a poll shows it.

    Raises ContractError for an invalid id or status; an invalid informational value is left out and listed in
    `unreadable`.
    """
    fields = profile.fields
    found = None if profile.single else _as_text(own_id(profile, data), str(fields.job_id or ""))
    found = found or job_id
    if not found:
        raise ContractError(f"the response has no job id at `{fields.job_id}` (shape: {shape(data)})")
    if len(found) > MAX_ID:
        raise ContractError(
            f"the job id at `{fields.job_id}` has {len(found)} characters; at most {MAX_ID} are accepted"
        )
    reader = Informing(data)
    total = reader.read("total_items", fields.total_items, informing.count)
    processed = reader.read("processed_items", fields.processed_items, informing.count)
    values: dict[str, Any] = {
        "sync_type": sync_type(profile, reader.read("sync_type", fields.sync_type, informing.word)),
        "user_id": reader.read("user_id", fields.user_id, informing.word),
        "progress": _progress(profile, reader, total, processed),
        "start_time": reader.read("start_time", fields.start_time, informing.time),
        "end_time": reader.read("end_time", fields.end_time, informing.time),
        "error_message": reader.read("error_message", fields.error_message, informing.word),
    }
    status = _status(profile, data, begun=begun)
    return SyncJob(
        ExternalText(found), status, total_items=total, processed_items=processed, **values, unreadable=reader.unreadable
    )  # fmt: skip


def own_id(profile: Jobs, data: JSON) -> JSON:
    """Returns the job's id as the job's object has it, or as the address there names it. Raises ContractError."""
    at = profile.fields.job_id
    if not isinstance(at, Source):
        return find(data, at)
    found = find(data, at.body)
    return transformed(found, at) if isinstance(found, str) and at.transformed else found


def idle(profile: Jobs, data: JSON) -> bool:
    """Whether an API of one job at a time says that there is no job."""
    return profile.single is not None and _is_among(find(data, profile.fields.status), profile.single.idle)


def message(errors: Errors, answer: Seen) -> str | None:
    """Returns the API's own words about an error, printable; None where it has none."""
    try:
        found = value(answer, errors.message)
    except ContractError:
        found = None
    plain = (_header(answer, "content-type") or "").lower().startswith("text/plain") and not answer.is_json
    words = found if isinstance(found, str) else answer.text.strip() if plain else None
    return show(words, MAX_MESSAGE) if words else None


def said(expression: str, body: JSON) -> str | None:
    """Returns the words at `expression`, printable; None where there are none."""
    try:
        found = find(body, expression) if isinstance(body, dict) else None
    except ContractError:
        return None
    return show(found, MAX_MESSAGE) if isinstance(found, str) else None


def _status(profile: Jobs, data: JSON, *, begun: bool) -> JobStatus:
    word = find(data, profile.fields.status)
    for state, words in profile.words.items():
        if _is_among(word, words):
            return state
    if begun:
        return JobStatus.PENDING
    known = ", ".join(str(word) for words in profile.words.values() for word in words)
    shown = f"'{show(word, 40)}'" if isinstance(word, str) else str(word) if type(word) is int else shape(word)
    raise ContractError(f"unknown job status {shown} at `{profile.fields.status}`; the profile knows: {known}")


def _is_among(word: JSON, words: tuple[str | int, ...]) -> bool:
    """Whether they are equal and of one type: JSON's `true` is not 1."""
    return any(type(word) is type(one) and word == one for one in words)


def sync_type(profile: Jobs, word: ExternalText | None) -> ExternalText | str | None:
    """Returns the job's type in our word, where there is one."""
    return next((ours for ours, theirs in profile.sync_types.items() if word == str(theirs)), word)


def _progress(profile: Jobs, reader: Informing, total: int | None, processed: int | None) -> float | None:
    if profile.progress == "items":
        return None if not total or processed is None else 100.0 * min(processed, total) / total
    unit = informing.fraction if profile.progress == "fraction" else informing.percent
    return reader.read("progress", profile.fields.progress, unit)


def _as_text(found: JSON, place: str) -> str | None:
    if isinstance(
        found, str
    ):  # lone surrogates, which JSON allows but no file, header or database accepts, are escaped
        return found.encode("utf-8", "backslashreplace").decode()
    if found is None:
        return None
    if informing.is_whole(found):
        return str(int(found))
    raise ContractError(f"`{place}` must be text, is {shape(found)}")


def _as_number(found: JSON, place: str) -> float | None:
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or abs(found) > 1e15:
        raise ContractError(f"`{place}` must be a number, is {shape(found)}")
    return float(found)
