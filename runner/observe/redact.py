"""The last guard over both output streams: every known secret is replaced, in each form it may be written in.

Only what others said is cleaned. Log lines and the report clean their own values before they are written, so that a
password which is also one of our words (`level`, `info`) breaks neither keys nor structure; they go past the guard.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

MIN_LENGTH = 4  # shorter secrets would blank out ordinary words
HIDDEN = "***"


class Redactor:
    """Knows the run's secrets and takes them out of text.

    A run of a thousand accounts knows some ten thousand secrets, and learns them one by one: they are looked up by their
    first characters, because one pattern of all of them would have to be compiled anew for each.
    """

    def __init__(self) -> None:
        """No secret known yet."""
        self._forms: set[str] = set()
        self._lengths: dict[str, list[int]] = {}  # of the forms that begin so, the longest first

    def add(self, secret: str) -> None:
        """Hide `secret` from now on; those under 4 characters can not be told from ordinary text."""
        if len(secret) < MIN_LENGTH or secret in self._forms:
            return
        for form in _forms(secret):
            if len(form) >= MIN_LENGTH and form not in self._forms:
                self._forms.add(form)
                lengths = self._lengths.setdefault(form[:MIN_LENGTH], [])
                lengths[:] = sorted({*lengths, len(form)}, reverse=True)

    def clean(self, text: str) -> str:
        """`text` with each known secret replaced by `***`."""
        parts, copied, at = [], 0, 0
        while at <= len(text) - MIN_LENGTH:
            lengths = self._lengths.get(text[at : at + MIN_LENGTH], ())
            found = next((length for length in lengths if text[at : at + length] in self._forms), 0)
            if found:
                parts += [text[copied:at], HIDDEN]
                copied = at + found
            at += found or 1
        return "".join([*parts, text[copied:]]) if parts else text

    def clean_lines(self, text: str) -> str:
        """`text` cleaned; of lines that are JSON objects only the values, so that they stay such with the same keys."""
        if not self._forms or not text.startswith("{"):
            return self.clean(text)
        return "\n".join(map(self._clean_line, text.split("\n")))

    def _clean_line(self, line: str) -> str:
        try:
            read = json.loads(line)
        except ValueError:
            return self.clean(line)
        cleaned = self._values(read)
        return line if cleaned == read else json.dumps(cleaned)

    def _values(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, dict):
            return {key: self._values(inner) for key, inner in value.items()}
        return [self._values(inner) for inner in value] if isinstance(value, list) else value


def _forms(secret: str) -> Iterable[str]:
    """Raw, URL-encoded, JSON-escaped and Base64, the latter with and without padding."""
    raw = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        yield encoded.decode()
        yield encoded.decode().rstrip("=")


class SturdyStream:
    """A text stream that outlives what it writes to. For text that holds no secret any more."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` gets what is written here; a stream that breaks is written to no more."""
        self._stream = stream
        self._broken = False

    def write(self, text: str) -> int:
        """Pass `text` on."""
        if not self._broken:
            try:
                self._stream.write(text.encode(errors="replace").decode())  # lone surrogates of an API
            except (OSError, ValueError):  # closed, a full disk, nobody reads: the run matters more than its output
                self._broken = True
        return len(text)

    def flush(self) -> None:
        """Pass on what is pending."""
        if not self._broken:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._broken = True

    def writelines(self, lines: Iterable[str]) -> None:
        """Take each line."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor underneath."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._stream.closed


class RedactedStream(SturdyStream):
    """Passes on whole lines, cleaned, so that a secret split over two writes is caught too."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        """`redactor` knows what may not reach `stream`."""
        super().__init__(stream)
        self._redactor = redactor
        self._pending = ""

    def write(self, text: str) -> int:
        """Take `text`; whole lines go out at once, the rest with the next newline or at the end."""
        self._pending += text
        whole, newline, self._pending = self._pending.rpartition("\n")
        if newline:
            self._out(whole + newline)
        return len(text)

    def flush(self) -> None:
        """Pass on what is pending."""
        pending, self._pending = self._pending, ""
        self._out(pending)
        super().flush()

    def _out(self, text: str) -> None:
        super().write(self._redactor.clean_lines(text))
