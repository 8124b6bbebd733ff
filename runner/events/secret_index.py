"""An index of the known secrets that searches text for all of them at once. Its cost does not grow with their number.

A part of `PART` bytes is found by anchors of four bytes: of a secret at every fifth position, of the text at every position,
so the search is four operations on sets. Each match of an anchor is compared in full.
"""
# Decision 0197.

import sys
from array import array
from collections.abc import Iterable, Iterator, Set
from itertools import compress, count

from runner.events.unfolding import PRINTABLE, Span, marks_of

PART = 8  # bytes of a secret that are redacted anywhere
WINDOW = 7  # bytes that are compared
_ANCHOR = 4
_EVERY = PART - _ANCHOR + 1  # from one anchor of a secret to the next: any part of eight bytes contains one ...
_AROUND = (-3, -1, 1)  # ... and a window at one of these positions beside it
_FEW = 24  # up to this many whole words are searched one by one; more, by anchors too


class SecretIndex:
    """Finds secrets by any part of eight bytes, and words as a whole. ASCII letters match in any case."""

    def __init__(self) -> None:
        """Starts empty."""
        self._anchors: set[int] = set()
        self._windows = _Windows()
        self._words: set[bytes] = set()
        self._lengths: dict[int, tuple[int, ...]] = {}  # of the words, by their first four bytes
        self.alphabet: frozenset[int] = frozenset()  # the bytes that occur in them, in either case
        self.spaces = False  # whether one contains a space
        self.gaps = False  # whether one contains what `squeezed` leaves out
        self.least = WINDOW  # bytes of the shortest that is searched for
        self.marks = marks_of(PRINTABLE)  # the bytes in which a secret may be written, plain or encoded again

    def __bool__(self) -> bool:
        """Whether there is anything to search."""
        return bool(self._anchors or self._words)

    def add_parts(self, secret: bytes) -> None:
        """Adds every part of `secret`; one of fewer than `PART` bytes has none."""
        low = secret.lower()
        if len(low) < PART:
            return
        self._widen(low)
        for at in (*range(-_AROUND[0], len(low) - _ANCHOR, _EVERY), len(low) - _ANCHOR):
            self._anchors.add(_anchor(low, at))
            for start in _starts(low, at):
                self._windows.add(low[start : start + WINDOW])

    def add_word(self, word: bytes) -> None:
        """Adds `word` as a whole; it has at least four bytes."""
        low = word.lower()
        if low in self._words:
            return
        self._widen(low)
        self._words.add(low)
        self.least = min(self.least, len(low))
        anchor = _anchor(low, 0)
        known = self._lengths.get(anchor, ())
        if len(low) not in known:
            self._lengths[anchor] = (*known, len(low))

    def _widen(self, low: bytes) -> None:
        if not self.alphabet.issuperset(low):
            self.alphabet |= {*low, *low.upper()}
            self.marks = marks_of(PRINTABLE + bytes(self.alphabet))

    def spans(self, text: bytes) -> list[Span]:
        """Returns the spans of parts and words in `text`; they may overlap."""
        low = text.lower()
        return [*self._parts(low), *self._whole(low)]

    def parts(self, text: bytes) -> list[Span]:
        """Returns the spans of parts in `text`, but of no words: text without its spaces contains many by chance."""
        return self._parts(text.lower())

    def words(self, text: bytes) -> list[Span]:
        """Returns the spans of words in `text`, and of no parts."""
        return list(self._whole(text.lower()))

    def _parts(self, low: bytes) -> list[Span]:
        starts = {start for at in _places(low, self._anchors) for start in _starts(low, at)}
        return _joined(start for start in sorted(starts) if low[start : start + WINDOW] in self._windows)

    def _whole(self, low: bytes) -> Iterator[Span]:
        if len(self._words) <= _FEW:
            for word in self._words:
                yield from _occurrences(low, word)
            return
        for at in _places(low, self._lengths.keys()):
            for length in self._lengths[_anchor(low, at)]:
                if low[at : at + length] in self._words:
                    yield at, at + length


class _Windows:
    """A set of `WINDOW` bytes in 8 bytes each, at most half full. Python's own takes 70 bytes for each."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1021))  # each a number, or 0 while it is free
        self._used = 0

    def add(self, window: bytes) -> None:
        if 2 * self._used > len(self._slots):
            before, self._slots = self._slots, array("Q", bytes(8 * (2 * len(self._slots) + 1)))
            for number in filter(None, before):
                self._slots[self._place(number)] = number
        number = _number(window)
        place = self._place(number)
        self._used += not self._slots[place]
        self._slots[place] = number

    def __contains__(self, window: bytes) -> bool:
        number = _number(window)
        return self._slots[self._place(number)] == number

    def _place(self, number: int) -> int:
        """Returns the index of the slot with the number, else of the free one where it belongs."""
        slots, size = self._slots, len(self._slots)
        at = number % size
        while (found := slots[at]) and found != number:
            at = (at + 1) % size
        return at


def _number(window: bytes) -> int:
    return 1 + int.from_bytes(window, "little")


def _starts(text: bytes, at: int) -> list[int]:
    """Returns the positions of the windows beside the anchor at `at`."""
    return [at + beside for beside in _AROUND if 0 <= at + beside <= len(text) - WINDOW]


def _joined(starts: Iterable[int]) -> list[Span]:
    """Returns the windows at these ascending positions, as one span where they overlap: mapping a span back through every
    encoding costs more than finding it."""
    found: list[Span] = []
    for start in starts:
        first = found.pop()[0] if found and start < found[-1][1] else start
        found.append((first, start + WINDOW))
    return found


def _anchor(text: bytes, start: int) -> int:
    return int.from_bytes(text[start : start + _ANCHOR], sys.byteorder)


def _places(text: bytes, anchors: Set[int]) -> list[int]:
    """Returns the positions in `text` of four bytes that are among `anchors`, in order."""
    found: list[int] = []
    for start in range(min(_ANCHOR, len(text))):
        end = start + (len(text) - start) // _ANCHOR * _ANCHOR
        read = memoryview(text)[start:end].cast("I")
        if not anchors.isdisjoint(read):
            found += [_ANCHOR * index + start for index in compress(count(), map(anchors.__contains__, read))]
    return sorted(found)


def _occurrences(text: bytes, word: bytes) -> Iterator[Span]:
    at = text.find(word)
    while at >= 0:
        yield at, at + len(word)
        at = text.find(word, at + len(word))
