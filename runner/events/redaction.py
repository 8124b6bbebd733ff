"""The last guard over both output streams: every known secret is replaced, in each form it may be written in.

Only what others said is cleaned. Log lines and the report clean their own values before they are written, so that a
password which is also one of our words (`level`, `info`) breaks neither keys nor structure; they go past the guard.
"""

import base64
import json
import re
from bisect import insort
from collections.abc import Iterable
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

MIN_LENGTH = 4  # shorter secrets would blank out ordinary words
HIDDEN = "***"
_URL_SAFE = str.maketrans("+/", "-_")
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")  # what neither a URL nor JSON writes in another way


class Redactor:
    """Knows the run's secrets and takes them out of text."""

    def __init__(self) -> None:
        """No secret known yet."""
        # By their first characters: the cost of a text does not grow with the number of accounts, as a pattern's would.
        self._forms: dict[str, list[str]] = {}
        self._known: set[str] = set()

    def add(self, secret: str) -> None:
        """Hide `secret` from now on; those under 4 characters can not be told from ordinary text."""
        if len(secret) < MIN_LENGTH or secret in self._known:
            return
        self._known.add(secret)
        for form in {form for form in _forms(secret) if len(form) >= MIN_LENGTH}:
            insort(self._forms.setdefault(form[:MIN_LENGTH], []), form, key=_longest_first)

    def redact(self, text: str) -> str:
        """`text` with each known secret replaced by `***`."""
        begun = [at for at in range(len(text) - MIN_LENGTH + 1) if text[at : at + MIN_LENGTH] in self._forms]
        parts: list[str] = []
        done = 0
        for at in begun:
            forms = self._forms[text[at : at + MIN_LENGTH]] if at >= done else ()
            form = next((form for form in forms if text.startswith(form, at)), None)
            if form is not None:
                parts += (text[done:at], HIDDEN)
                done = at + len(form)
        return "".join((*parts, text[done:]))

    def redact_lines(self, text: str) -> str:
        """`text` cleaned; of lines that are JSON objects only the values, so that they stay such with the same keys."""
        if not self._forms or not text.startswith("{"):
            return self.redact(text)
        return "\n".join(map(self._redact_line, text.split("\n")))

    def _redact_line(self, line: str) -> str:
        try:
            read = json.loads(line)
        except ValueError:
            return self.redact(line)
        redacted = self._values(read)
        return line if redacted == read else json.dumps(redacted)

    def _values(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {key: self._values(inner) for key, inner in value.items()}
        return [self._values(inner) for inner in value] if isinstance(value, list) else value


def _longest_first(form: str) -> int:
    return -len(form)


def _forms(secret: str) -> Iterable[str]:
    """Raw, URL-encoded, JSON-escaped, and Base64: alone, with and without padding, and as part of a longer text."""
    raw = secret.encode(errors="surrogatepass")  # an API may give a token that is no text
    yield secret
    if not _PLAIN.fullmatch(secret):
        yield quote(raw, safe="")
        yield quote(raw)
        yield quote_plus(raw)
        yield json.dumps(secret)[1:-1]
        yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for form in _in_base64(raw):
        yield form
        yield form.translate(_URL_SAFE)


def _in_base64(raw: bytes) -> Iterable[str]:
    encoded = base64.b64encode(raw).decode()
    yield encoded
    yield encoded.rstrip("=")
    for before in range(3):  # `user:password` of basic auth; edge characters also hold bits of their neighbours
        shifted = base64.b64encode(bytes(before) + raw).decode()
        yield shifted[(0, 2, 3)[before] : (before + len(raw)) // 3 * 4]


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
        super().write(self._redactor.redact_lines(text))
