"""Transforms a value before use: a part of an address, a claim of a JWT, the match of a pattern. Pure."""

import base64
import json
import re
from urllib.parse import parse_qs, urlsplit

from runner.errors import ContractError
from runner.models import JSON
from runner.profile.expressions import find
from runner.profile.parts import Source

MAX_SEARCHED = 2000  # maximum characters that a pattern searches; limits its time together with `parts.bounded`


def transformed(found: JSON, source: Source) -> JSON:
    """Returns the transformed value; None where an address has no such parameter, or the pattern has no match.

    Raises ContractError for a value of another type.
    """
    if source.segment is not None:
        found = _segment(found, source.segment, str(source))
    if source.query is not None:
        values = parse_qs(_split(found, str(source))[1]).get(source.query)
        found = values[0] if values else None
    if source.jwt is not None and found is not None:
        found = find(claims(found, str(source)), source.jwt)
    if source.pattern is not None and isinstance(found, str):
        found = searched(source.pattern, found)
    return found


def searched(pattern: str, text: str | None) -> str | None:
    """Returns the first group of the pattern, or the match where it has none; None without a match."""
    match = re.search(pattern, (text or "")[:MAX_SEARCHED])
    return None if match is None or text is None else match[1] if match.re.groups else match[0]


def _split(found: JSON, place: str) -> tuple[str, str]:
    """Returns path and query of an address."""
    try:
        parts = urlsplit(found if isinstance(found, str) else "")
    except ValueError:
        raise ContractError(f"`{place}` is not an address") from None
    return parts.path, parts.query


def _segment(found: JSON, number: int, place: str) -> JSON:
    parts = [part for part in _split(found, place)[0].split("/") if part]
    try:
        return parts[number]
    except IndexError:
        raise ContractError(f"`{place}` has no part {number} between slashes") from None


def claims(token: JSON, place: str) -> JSON:
    """Returns the claims of a JWT (RFC 7519), not verified: its origin is known. Raises ContractError for an invalid one."""
    try:
        payload = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError, AttributeError, RecursionError):
        raise ContractError(f"`{place}` must be a JWT (three parts separated by dots)") from None
