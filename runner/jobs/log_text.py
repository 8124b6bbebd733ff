"""Text of a job's log made fit to print, as it comes, in bounded memory. Pure.

A line is redacted whole, whatever pieces it came in. One that is longer than `LONG` is cut, and only where the cut divides
nothing that is redacted.
"""
# Decision 0141.

import re
from collections.abc import Sequence

from runner.external import HIDDEN, show_lines

LONG = 1 << 16  # characters of a line that are held at once
AHEAD = 1 << 12  # characters behind a cut that decide whether it divides a secret, in any encoding
STEP = 61  # characters between two places that are tried for a cut
WIDTH = 1000  # characters of a line that is shown
KEPT = 1 << 17  # bytes of a log's end that are held
_COLOUR = re.compile(r"\x1b\[[0-9;:]*[mK]")


def shown(lines: Sequence[str], limit: int = 1 << 30) -> list[str]:
    """Lines fit to print, each at most `limit` characters. Colours are dropped first, so that they hide no secret."""
    return show_lines([_COLOUR.sub("", line.rstrip("\r\n")) for line in lines], limit)


class ShownLines:
    """Turns pieces of text into whole lines that are fit to print."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._pending = ""
        self._hiding = False  # until the line's end

    def add(self, text: str) -> str:
        """The lines that `text` ends, each with its line end; of a very long one what is certain of it."""
        made = ""
        if self._hiding:
            _hidden, end, text = text.partition("\n")
            self._hiding, made = not end, end
        *whole, self._pending = (self._pending + text).split("\n")
        made += self._fit(whole)
        while len(self._pending) > LONG + AHEAD:
            part, rest = divided(self._pending)
            made += part
            self._pending, self._hiding = rest or "", rest is None
        return made

    def end(self) -> str:
        """What is left."""
        pending, self._pending = self._pending, ""
        return self._fit([pending]) if pending else "\n" if self._hiding else ""

    def _fit(self, lines: list[str]) -> str:
        if all(len(line) <= LONG + AHEAD for line in lines):
            return "".join(f"{line}\n" for line in shown(lines))
        return "".join(map(self._in_parts, lines))

    def _in_parts(self, line: str) -> str:
        made, rest = "", line or None
        while rest is not None and len(rest) > LONG + AHEAD:
            part, rest = divided(rest)
            made += part
        return made + (shown([rest])[0] if rest else "") + "\n"


def divided(line: str) -> tuple[str, str | None]:
    """The beginning of a long line, fit to print, and its raw rest.

    The cut is at the first place where the two parts are redacted as the whole is. Where there is none, the line is all
    secret there, or all encoded: the rest is None, and the whole is hidden.
    """
    head = line[: LONG + AHEAD]
    whole = shown([head])[0]
    for at in range(LONG, LONG + AHEAD // 2, STEP):
        first, second = shown([head[:at]])[0], shown([head[at:]])[0]
        if first + second == whole:
            return first, line[at:]
    return HIDDEN, None


class Tail:
    """The last lines of a log, in at most `KEPT` bytes."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._held = bytearray()
        self._cut = False
        self.dropped = 0  # lines that went before those that are held

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the log."""
        self._held += chunk
        surplus = len(self._held) - KEPT
        if surplus > KEPT:  # not with each piece
            self._drop(surplus)

    def _drop(self, count: int) -> None:
        self.dropped += self._held.count(b"\n", 0, count)
        del self._held[:count]
        self._cut = True

    def take(self, most: int, *, whole: bool = False) -> list[str]:
        """The last whole lines since the last call, `most` at most, fit to print; with `whole` also one without an end."""
        if len(self._held) > KEPT:
            self._drop(len(self._held) - KEPT)
        end = len(self._held) if whole else self._held.rfind(b"\n") + 1
        text = self._held[:end].decode(errors="replace")
        del self._held[:end]
        lines = text.removesuffix("\n").split("\n") if text else []
        fragment: list[str] = []
        if self._cut and lines:  # the beginning of the first line is gone: it may begin within a secret
            fragment = [HIDDEN + shown(lines)[0][AHEAD:][:WIDTH]] if len(lines) == 1 else []
            lines, self._cut = lines[1:], False
        self.dropped += max(0, len(lines) - most)
        return fragment or shown(lines[-most:], WIDTH)
