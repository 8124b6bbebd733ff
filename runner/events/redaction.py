"""Redacts both output streams: replaces every known secret, in whatever encoding it is written.

Text is decoded and then searched (`unfolding`, `secret_index`). Only external text is redacted. Log lines and the report
redact their own values before they are written, so that a password which is also one of our words (`level`, `info`) breaks
neither keys nor structure; they bypass this filter.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TextIO

from runner.events.secret_forms import (
    DEPTH,
    in_base32,
    in_base64,
    of_number,
    of_seed,
    of_url,
    raw_of,
    unescapings,
    variants,
)
from runner.events.secret_index import PART, SecretIndex
from runner.events.unfolding import Child, Pieces, Span, composed, letters, squeezed, unfold, unwrapped
from runner.external import HIDDEN

OUR_WORDS = frozenset({
    "password", "passwords", "username", "usernames", "totp_seed", "api_token", "client_secret", "client_key", "refresh_token",
    "access_token", "state_key", "credentials",
})  # fmt: skip
MIN_LENGTH = 4  # bytes; shorter secrets would redact ordinary words
WORK = 40  # bytes decoded per byte of text; only hostile text needs more, and it is redacted as a whole
_LEAST_WORK = 4096


class AddSecret(Protocol):
    """Adds a secret to the redactor; of a name (`parts` false), only the whole is redacted."""

    def __call__(self, secret: str, /, *, parts: bool = True) -> None: ...


class Redactor:
    """Knows the run's secrets and redacts them in text, as a whole or in parts of 8 bytes and more. Linear in the text."""

    def __init__(self) -> None:
        """Starts without secrets."""
        self._index = SecretIndex()
        self._seeds = SecretIndex()  # what is searched in text without separators
        self._known: set[tuple[str, bool]] = set()

    def add(self, secret: str, *, parts: bool = True) -> bool:
        """Redacts `secret` from now on; false where it has under 4 bytes without edge spaces: it may be an ordinary
        word.

        `parts` false is for names: only the whole is redacted, since `example.org` of a user's address is not secret.
        """
        hidden = len(raw_of(secret.strip())) >= MIN_LENGTH
        if (secret, parts) in self._known:
            return hidden
        self._known.add((secret, parts))
        self._index.spaces |= " " in secret.strip()
        in_url = of_url(secret)
        if in_url or not parts:
            for word in _forms(secret):
                self._add_word(word)
        for grouped in of_number(secret):
            self._index.add_word(raw_of(grouped))
        if parts:
            self._add_parts(in_url or [secret, secret.strip()])
            self._index.gaps |= any(squeezed(raw)[0] != raw for raw in unescapings(raw_of(secret.strip())))
        return hidden

    def _add_parts(self, secrets: Iterable[str]) -> None:
        for secret in set(secrets):
            seed = of_seed(secret)
            for form in seed:
                self._seeds.add_parts(form)
            if seed and raw_of(secret) == seed[0]:
                continue
            for raw in _forms(secret):
                if len(raw) >= PART:
                    for part in {raw, squeezed(raw)[0]}:
                        self._index.add_parts(part)
                elif len(raw) >= MIN_LENGTH:
                    self._add_word(raw)

    def _add_word(self, raw: bytes) -> None:
        """A word is too short to be found within other Base64, Base32 or hex data: its encoded forms are words too."""
        for form in (raw, raw.hex().encode(), *in_base64(raw), *in_base32(raw)):
            if len(form) >= MIN_LENGTH:
                self._index.add_word(form)

    @property
    def _empty(self) -> bool:
        return not (self._index or self._seeds)

    def redact(self, text: str) -> str:
        """Returns `text` with each known secret replaced by `***`."""
        if self._empty or len(text) < MIN_LENGTH:
            return text
        raw = raw_of(text)
        search = _Search(self._index, self._seeds, WORK * len(raw) + _LEAST_WORK)
        try:
            spans = search.spans(raw)
        except _TooMuchWork:
            return HIDDEN
        hidden = [span for span in _merged(raw, spans) if not self._ours(raw[slice(*span)])]
        return _replaced(raw, hidden) if hidden else text

    def _ours(self, found: bytes) -> bool:
        """Whether it is a part of a secret that is one of our own words, such as `password` of `my-password-7`."""
        text = found.decode(errors="replace").lower()
        return text in OUR_WORDS and (text, True) not in self._known and (text, False) not in self._known

    def redact_lines(self, text: str) -> str:
        """Returns `text` redacted; in lines that are JSON objects, only the values, so that keys and structure stay valid."""
        if self._empty or not text.startswith("{"):
            return self.redact(text)
        return "\n".join(map(self._redact_line, text.split("\n")))

    def _redact_line(self, line: str) -> str:
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):
            return self.redact(line)
        redacted = self._values(read)
        return line if redacted == read else json.dumps(redacted)

    def _values(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {key: self._values(inner) for key, inner in value.items()}
        return [self._values(inner) for inner in value] if isinstance(value, list) else value


class _TooMuchWork(Exception):
    """The text decodes to far more than legitimate text does."""


def _forms(secret: str) -> set[bytes]:
    return {raw for variant in variants(secret) for raw in unescapings(variant)}


class _Search:
    """One search through a text and its decoded forms."""

    def __init__(self, index: SecretIndex, seeds: SecretIndex, work: int) -> None:
        self._index, self._seeds, self._work = index, seeds, work

    def spans(self, text: bytes) -> list[Span]:
        """Returns the spans of secrets. Raises _TooMuchWork."""
        plain, back = squeezed(text)
        whole = len(plain) == len(text)
        apart = [] if whole else map(back, self._index.parts(plain))
        found = self._index.spans(text) if whole or self._index.gaps else self._index.words(text)
        return [*found, *apart, *self._of_seeds(text), *self._unfolded(text, 1)]

    def _of_seeds(self, text: bytes) -> Iterable[Span]:
        if not self._seeds:
            return ()
        plain, back = letters(text)
        return map(back, self._seeds.parts(plain))

    def _unfolded(self, text: bytes, depth: int) -> list[Span]:
        found: list[Span] = []
        for (child, back), separated in unfold(text, self._index.alphabet, spaces=self._index.spaces):
            self._work -= len(child)
            if self._work < 0:
                raise _TooMuchWork
            if separated:
                plain, apart = squeezed(child)
                found += [back(apart(span)) for span in self._index.parts(plain)]
                found += map(back, self._of_seeds(child))
            searched = self._index.words if separated and not self._index.gaps else self._index.spans
            if b"\n " in child:  # a folded line, or the space is the secret's
                found += map(back, searched(child))
            child, back = _unwrapped(child, back)
            pieces = Pieces(child, self._index.marks, self._index.least)
            inner = [*searched(pieces.text), *(() if separated else self._of_seeds(pieces.text))]
            if depth < DEPTH and pieces.text:
                inner += self._unfolded(pieces.text, depth + 1)
            found += [back(pieces.back(span)) for span in inner]
        return found


def _unwrapped(child: bytes, back: Callable[[Span], Span]) -> Child:
    whole, inner = unwrapped(child)
    return whole, composed(inner, back)


def _replaced(raw: bytes, spans: list[Span]) -> str:
    parts: list[bytes] = []
    done = 0
    for start, end in spans:
        parts += (raw[done:start], HIDDEN.encode())
        done = end
    return b"".join((*parts, raw[done:])).decode(errors="surrogatepass")


def _merged(raw: bytes, spans: list[Span]) -> list[Span]:
    """Returns the spans in order, extended to whole characters, with adjacent ones merged."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        while start and raw[start] & 0xC0 == 0x80:
            start -= 1
        while end < len(raw) and raw[end] & 0xC0 == 0x80:
            end += 1
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


class SturdyStream:
    """A text stream that survives the failure of its destination, and a signal while no process reads from it: both end
    its output. For text without secrets."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is the destination; after a failure, nothing more is written to it."""
        self._stream = stream
        self._broken = False

    def write(self, text: str) -> int:
        """Passes `text` on."""
        if not self._broken:
            try:
                self._stream.write(text.encode(errors="replace").decode())  # lone surrogates of an API
            except (OSError, ValueError):  # closed, a full disk, no reader: the run has priority over its output
                self._broken = True
            except SystemExit:  # a signal: another try would wait for a reader again
                self._broken = True
                raise
        return len(text)

    def flush(self) -> None:
        """Passes on pending text."""
        if not self._broken:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._broken = True
            except SystemExit:
                self._broken = True
                raise

    def discard_if_broken(self) -> None:
        """Flushes; where that fails, discards pending text, so that a later flush succeeds."""
        try:
            self.flush()
        finally:
            if self._broken:
                with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
                    os.dup2(nowhere.fileno(), self._stream.fileno())

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each line."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """The file descriptor."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._stream.closed


@contextmanager
def sturdy_streams() -> Iterator[None]:
    """Within this block, standard output and error may be closed, full or broken (`| head`, `>&-`, /dev/full): output
    is lost.

    This does not affect the exit code, and neither does Python's own flush at exit (120).
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next opened file would get its number and receive the output
            os.open(os.devnull, os.O_RDWR)
    plain = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a Path would take time at every start
        out, err = SturdyStream(plain[0] or nowhere), SturdyStream(plain[1] or nowhere)
        sys.stdout, sys.stderr = out, err
        try:
            yield
        finally:
            for stream in (out, err):
                stream.discard_if_broken()
            sys.stdout, sys.stderr = plain


class RedactedStream(SturdyStream):
    """Passes on whole lines, redacted, so that a secret split over two writes is found too."""

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        """`redactor` knows the secrets that must not reach `stream`."""
        super().__init__(stream)
        self._redactor = redactor
        self._pending = ""

    def write(self, text: str) -> int:
        """Writes `text`; whole lines are passed on immediately, the rest with the next newline or at the end."""
        self._pending += text
        whole, newline, self._pending = self._pending.rpartition("\n")
        if newline:
            self._out(whole + newline)
        return len(text)

    def flush(self) -> None:
        """Passes on pending text."""
        pending, self._pending = self._pending, ""
        self._out(pending)
        super().flush()

    def _out(self, text: str) -> None:
        super().write(self._redactor.redact_lines(text))
