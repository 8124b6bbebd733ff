"""Reads a job's log as its profile describes: section by section, part by part, each part streamed. Decides nothing."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.clock import Deadline
from runner.errors import ContractError, RunnerError
from runner.events.observer import Observer
from runner.http.body import decoded
from runner.http.messages import PreparedRequest, Response
from runner.http.streaming import SideClient, Streamed
from runner.models import JSON
from runner.profile import template
from runner.profile.expressions import find, shape
from runner.profile.extraction import value
from runner.profile.output_models import Logs
from runner.profile.parts import Request

MOST_SECTIONS = 1000  # of one job's log
MOST_PARTS = 100_000  # of one section, in one reading
LONGEST = 1 << 20  # bytes of one line of JSON

Sign = Callable[[str, Request, Mapping[str, Any]], Awaitable[PreparedRequest]]


@dataclass(slots=True)
class _Section:
    """How far one section of the log was read."""

    cursor: JSON
    titled: bool = False
    seen: int = 0  # bytes of a log that is always returned whole


class LogReader:
    """One job's log. Each `read` yields what is new since the previous one, as UTF-8."""

    def __init__(self, logs: Logs, client: SideClient, sign: Sign) -> None:
        """`sign` completes a request of the profile and adds the session; it receives the values that the request lacks."""
        self._logs, self._client, self._sign = logs, client, sign
        self._sections: dict[tuple[str, ...], _Section] = {}

    async def read(self, deadline: Deadline, observer: Observer) -> AsyncIterator[bytes]:
        """Yields the current content. Raises RunnerErrors."""
        for carried in await self._listed(deadline, observer):
            key = tuple(map(template.as_text, carried.values()))
            start = self._logs.cursor.start if self._logs.cursor else None
            section = self._sections.setdefault(key, _Section(start))
            title = self._title(carried)
            async for chunk in self._section(section, carried, deadline, observer):
                if title and not section.titled:
                    yield title
                section.titled = True
                yield chunk

    def _title(self, carried: Mapping[str, JSON]) -> bytes:
        if self._logs.sections is None or not self._logs.sections.title:
            return b""
        return f"{template.fill(self._logs.sections.title, carried)}\n".encode(errors="replace")

    async def _listed(self, deadline: Deadline, observer: Observer) -> list[Mapping[str, JSON]]:
        """Returns the values of each section; one without values where the log has no sections."""
        sections = self._logs.sections
        if sections is None:
            return [{}]
        call = await self._sign("logs", sections.request, {})
        answer = await self._client.fetch(call, deadline, observer)
        if answer.status not in sections.accepted:
            raise ContractError(f"logs: the API answered {answer.status} to the request for sections")
        found = find(answer.body, sections.list_, call.values)
        if not isinstance(found, list):
            raise ContractError(f"logs: `{sections.list_}` must be a list (shape: {shape(answer.body)})")
        carry = sections.carry.items()
        return [{name: find(one, place, call.values) for name, place in carry} for one in found[-MOST_SECTIONS:]]

    async def _section(
        self, section: _Section, carried: Mapping[str, JSON], deadline: Deadline, observer: Observer
    ) -> AsyncIterator[bytes]:
        for _ in range(MOST_PARTS):
            call = await self._sign("logs", self._logs.request, {**carried, "cursor": section.cursor})
            part = _Part(self._logs, section, ranged=any(name.lower() == "range" for name in call.headers))
            read = self._whole if self._logs.form == "json" else self._streamed
            async for chunk in read(part, call, deadline, observer):
                yield chunk
            if not part.moved():
                return

    async def _whole(
        self, part: "_Part", call: PreparedRequest, deadline: Deadline, observer: Observer
    ) -> AsyncIterator[bytes]:
        answer = await self._client.fetch(call, deadline, observer)
        if part.is_there(answer):
            part.answer = answer
            body = _nested(answer.body, self._logs.nested) if self._logs.nested else answer.body
            yield part.counted(_text_of(find(body, self._logs.text, call.values), part))

    async def _streamed(
        self, part: "_Part", call: PreparedRequest, deadline: Deadline, observer: Observer
    ) -> AsyncIterator[bytes]:
        async with self._client.stream(call, deadline, observer) as answer:
            if not part.is_there(answer):
                return
            part.answer = Response(answer.status, answer.headers, None, False, 0.0, 0.0, 0.0)
            async for chunk in (
                _lines(answer, self._logs.text, part, call.values) if self._logs.text else answer.chunks()
            ):
                if new := part.counted(chunk):
                    yield new


class _Part:
    """One response of a section, and its effect on the cursor."""

    def __init__(self, logs: Logs, section: _Section, *, ranged: bool = False) -> None:
        """`ranged`: the request asks for a range of bytes, which a server may ignore (RFC 9110, 14.2)."""
        self._logs, self._section, self._ranged = logs, section, ranged
        self._known = section.seen if logs.cursor is None else 0  # bytes at the beginning that were read before
        self.answer: Response | None = None
        self.bytes = self.lines = self.items = 0

    def is_there(self, answer: Response | Streamed) -> bool:
        """Whether there is a log. Raises ContractError for a response that the profile does not accept."""
        if answer.status in self._logs.missing or (answer.status == 416 and self._logs.cursor is not None):
            return False  # 416: nothing behind the cursor, at present
        if answer.status not in self._logs.accepted:
            raise ContractError(f"logs: the API answered {answer.status}")
        if self._ranged and answer.status == 200 and self._by_bytes:
            self._known = self._section.cursor - self._start
        return True

    @property
    def _by_bytes(self) -> bool:
        return self._logs.cursor is not None and self._logs.cursor.count == "bytes"

    @property
    def _start(self) -> JSON:
        return self._logs.cursor.start if self._logs.cursor else None

    def counted(self, chunk: bytes) -> bytes:
        """Returns the new part of the chunk: of a log that is always returned whole, the known part is skipped."""
        before = self.bytes
        self.bytes += len(chunk)
        chunk = chunk[max(0, self._known - before) :]
        if self._logs.cursor is None:
            self._section.seen = max(self._section.seen, self.bytes)
        self.lines += chunk.count(b"\n")
        return chunk

    def moved(self) -> bool:
        """Moves the section's cursor; returns whether more may be available immediately."""
        cursor, before = self._logs.cursor, self._section.cursor
        if cursor is None or self.answer is None:
            return False
        if cursor.count is not None:
            step = 1 if cursor.count == "parts" and self.bytes else 0
            self._section.cursor = before - self._known + {"parts": step, **self._counts()}[cursor.count]
        else:
            found = value(self.answer, cursor.next)
            if found is not None:
                self._section.cursor = found
        more = value(self.answer, cursor.more) if cursor.more else True
        ended = more in (None, False) or str(more).strip().lower() in ("false", "0", "")
        return self._section.cursor != before and not ended

    def _counts(self) -> dict[str, int]:
        return {"bytes": self.bytes, "lines": self.lines, "items": self.items}


def _nested(data: JSON, place: str) -> JSON:
    """Parses a JSON text within the body; None where it is invalid."""
    found = find(data, place)
    return decoded(found.encode(errors="replace"), "logs")[0] if isinstance(found, str) else None


def _text_of(found: JSON, part: _Part) -> bytes:
    """Returns the text at its place, as UTF-8: a text unchanged, of a list each item as a line."""
    if isinstance(found, list):
        part.items += len(found)
        found = "".join(f"{_line_of(one)}\n" for one in found)
    return b"" if found is None else _line_of(found).encode(errors="replace")


def _line_of(found: JSON) -> str:
    return "" if found is None else found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


async def _lines(answer: Streamed, place: str, part: _Part, values: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """Returns the text of each line that is a JSON object; other lines unchanged."""
    pending = b""
    async for chunk in answer.chunks():
        *whole, pending = (pending + chunk).split(b"\n")
        for line in whole:
            yield _of_line(line, place, part, values)
        if len(pending) > LONGEST:
            yield pending
            pending = b""
    if pending:
        yield _of_line(pending, place, part, values)


def _of_line(line: bytes, place: str, part: _Part, values: Mapping[str, Any]) -> bytes:
    part.items += 1
    try:
        found = find(json.loads(line), place, values)
    except (ValueError, RecursionError, RunnerError):
        return line + b"\n"
    return (_line_of(found) + "\n").encode(errors="replace")
