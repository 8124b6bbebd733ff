"""Parses single values of settings: durations, URLs, lists of words."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from runner.patterns import bounded

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
MAX_DURATION = 1e9  # seconds, about 31 years: the kernel and Python wait no longer than about ten times that
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: Any) -> Any:
    """Parses seconds from `30s`, `5m`, `1h30m`, `250ms`, `2d`; a plain number is seconds. Raises ValueError with the forms."""
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    text = value.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        text += "s"
    if not text or not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        raise ValueError("give a duration such as 250ms, 30s, 5m, 2h or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    if seconds > MAX_DURATION:
        raise ValueError("give a duration of at most 11574d")
    return seconds


def format_duration(seconds: float) -> str:
    """Formats seconds as the shortest text that `parse_duration` reads back: `30s`, `1h30m`, `250ms`."""
    if seconds != int(seconds):
        return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"
    text, remaining = "", int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, remaining = divmod(remaining, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


class Hidden:
    """Marks a setting whose value may contain a token: it is never shown."""


def _http_url(value: str) -> str:
    from runner.url import split_url

    parts = split_url(value)
    if parts.username or parts.password:
        raise ValueError("remove the user and password from the URL: they belong in secret files")
    if parts.query or parts.fragment:
        raise ValueError("the URL must not contain ? or #")
    return value.rstrip("/")


def _api_url(value: str) -> str:
    from runner.url import normal_url

    return normal_url(_http_url(value))


def _state_url(value: str) -> str:
    """Refuses a password in a database's address, which `config show` prints; libpq takes one from the query too."""
    from urllib.parse import parse_qsl, urlsplit

    try:
        parts = urlsplit(value)
        names = [name for name, _value in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError:
        raise ValueError("invalid address; write postgresql://user@host/database") from None
    if parts.password is not None or any("password" in name or "secret" in name for name in names):
        raise ValueError("contains a password; mount it as the secret `state_password`")
    return value


def _day(value: Any) -> Any:
    """Accepts a date object: YAML reads 2026-01-31 without quotes as a date."""
    from datetime import date, datetime

    if isinstance(value, datetime):
        raise ValueError("give a day such as 2026-01-31, without a time")  # noqa: TRY004 - pydantic wants it
    return value.isoformat() if isinstance(value, date) else value


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
        what = f"unknown value `{unknown[0]}`" if unknown else "a $ that starts no ${name}; write $$ for a dollar sign"
        raise ValueError(f"{what}; known: {', '.join(WEBHOOK_VALUES)}")
    return value


def _shard(value: str) -> str:
    index, _, count = value.partition("/")
    if not (re.fullmatch(r"[0-9]{1,4}/[0-9]{1,4}", value) and int(index) < int(count) <= 1000):
        raise ValueError("give the part and how many there are, such as 0/4; the last of four is 3/4")
    return value


def _prom_file(value: Path) -> Path:
    if value.suffix != ".prom":
        raise ValueError("must end in .prom: the node exporter reads no other file")
    return value


_Word = TypeVar("_Word")
Words = Annotated[tuple[_Word, ...], NoDecode, BeforeValidator(_words)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=MAX_DURATION)]
Url = Annotated[str, AfterValidator(_http_url)]
StateUrl = Annotated[str, AfterValidator(_state_url)]
ApiUrl = Annotated[str, AfterValidator(_api_url)]
Day = Annotated[str, BeforeValidator(_day)]
HiddenUrl = Annotated[str, AfterValidator(_http_url), Hidden()]
Shard = Annotated[str, AfterValidator(_shard)]
Pattern = Annotated[str, AfterValidator(bounded)]
PromFile = Annotated[Path, AfterValidator(_prom_file)]
WebhookBody = Annotated[str, AfterValidator(_webhook_body)]
