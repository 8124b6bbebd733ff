"""Makes the text of a job's log printable, as a stream in bounded memory. Pure.

A line is redacted as a whole, however it arrives in pieces. A line longer than `LONG` is cut, but only where the cut
splits no redacted text.
"""
# Decision 0141.

import re
from collections.abc import Sequence

from runner.external import HIDDEN, show_lines

LONG = 1 << 16  # characters of a line that are held in memory
AHEAD = 1 << 12  # characters after a cut that show whether it splits a secret, in any encoding
STEP = 61  # characters between two candidates for a cut
NEAR = 1 << 9  # characters on each side of a candidate that are looked at first, since the whole costs much more
WIDTH = 1000  # characters of a line that is shown
KEPT = 1 << 17  # bytes of a log's end that are held in memory
_COLOUR = re.compile(r"\x1b\[[0-9;:]*[mK]")


def shown(lines: Sequence[str], limit: int = 1 << 30) -> list[str]:
    """Returns printable lines, each at most `limit` characters. Colours are removed first, so that they hide no secret."""
    return show_lines([_COLOUR.sub("", line.rstrip("\r\n")) for line in lines], limit)


class ShownLines:
    """Converts pieces of text to whole printable lines."""

    def __init__(self) -> None:
        """Starts empty."""
        self._pending = ""
        self._hiding = False  # until the line's end

    def add(self, text: str) -> str:
        """Returns the lines that `text` completes, with line ends; of a very long line, the part that is certain."""
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
        """Returns the rest."""
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
    """Returns the beginning of a long line, printable, and its raw rest.

    The cut is at the first place where the two parts are redacted like the whole. Where there is none, the line is all
    secret or all encoded: the rest is None, and the whole line is hidden.
    """
    head = line[: LONG + AHEAD]
    whole = shown([head])[0]
    for at in range(LONG, LONG + AHEAD // 2, STEP):
        near = head[at - NEAR : at + NEAR]
        if "".join(_both(near, NEAR)) != shown([near])[0]:
            continue
        first, second = _both(head, at)
        if first + second == whole:
            return first, line[at:]
    return HIDDEN, None


def _both(line: str, at: int) -> tuple[str, str]:
    return shown([line[:at]])[0], shown([line[at:]])[0]


class Tail:
    """The last lines of a log, in at most `KEPT` bytes."""

    def __init__(self) -> None:
        """Starts empty."""
        self._held = bytearray()
        self._cut = False
        self.dropped = 0  # lines before the held ones

    def add(self, chunk: bytes) -> None:
        """Adds the next bytes of the log."""
        self._held += chunk
        surplus = len(self._held) - KEPT
        if surplus > KEPT:  # not for each piece
            self._drop(surplus)

    def _drop(self, count: int) -> None:
        self.dropped += self._held.count(b"\n", 0, count)
        del self._held[:count]
        self._cut = True

    def take(self, most: int, *, whole: bool = False) -> list[str]:
        """Returns the last whole lines since the last call, at most `most`, printable; with `whole` also an unfinished one."""
        if len(self._held) > KEPT:
            self._drop(len(self._held) - KEPT)
        end = len(self._held) if whole else self._held.rfind(b"\n") + 1
        text = self._held[:end].decode(errors="replace")
        del self._held[:end]
        lines = text.removesuffix("\n").split("\n") if text else []
        fragment: list[str] = []
        if self._cut and lines:  # the start of the first line is lost: it may begin within a secret
            fragment = [HIDDEN + shown(lines)[0][AHEAD:][:WIDTH]] if len(lines) == 1 else []
            lines, self._cut = lines[1:], False
        self.dropped += max(0, len(lines) - most)
        return fragment or shown(lines[-most:], WIDTH)
