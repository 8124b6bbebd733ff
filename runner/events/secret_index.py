"""An index of the known secrets that searches text for all of them at once. Its cost does not grow with their number.

A part of `PART` bytes is found by samples of four bytes: of a secret at every position, of the text at every fourth, so
the search is one operation on sets. Each match of a sample is compared in full.
"""

from collections.abc import Iterator
from itertools import compress, count

from runner.events.unfolding import PRINTABLE, Span, marks_of

PART = 8  # bytes of a secret that are redacted anywhere
WINDOW = 7  # compared at every second position of a secret: any part of eight bytes contains one
_MASK = (1 << 8 * WINDOW) - 1
_SAMPLE = 4
_FEW = 24  # up to this many whole words are searched one by one; more, by samples too


class SecretIndex:
    """Finds secrets by any part of eight bytes, and words as a whole. ASCII letters match in any case."""

    def __init__(self) -> None:
        """Starts empty."""
        self._samples: set[int] = set()
        self._windows: set[int] = set()
        self._words: set[bytes] = set()
        # By a sample: its place in the word, and the word. Of a long word, each sample of the text finds one of four.
        self._long: dict[int, list[tuple[int, bytes]]] = {}
        self._short: dict[int, list[tuple[int, bytes]]] = {}
        self.alphabet: frozenset[int] = frozenset()  # the bytes that occur in them, in either case
        self.spaces = False  # whether one contains a space
        self.gaps = False  # whether one contains what `squeezed` leaves out
        self.marks = marks_of(PRINTABLE)  # the bytes in which a secret may be written, plain or encoded again

    def __bool__(self) -> bool:
        """Whether there is anything to search."""
        return bool(self._samples or self._words)

    def add_parts(self, secret: bytes) -> None:
        """Adds every part of `secret`; one of fewer than `PART` bytes has none."""
        low = secret.lower()
        if len(low) < PART:
            return
        self._widen(low)
        for start in range(_SAMPLE):
            self._samples.update(_fours(low, start))
        for start in (*range(0, len(low) - WINDOW + 1, 2), len(low) - WINDOW):
            self._windows.add(int.from_bytes(low[start : start + WINDOW], "little"))

    def add_word(self, word: bytes) -> None:
        """Adds `word` as a whole; it has at least four bytes."""
        low = word.lower()
        if low in self._words:
            return
        self._widen(low)
        self._words.add(low)
        long = len(low) >= 2 * _SAMPLE - 1
        for offset in range(_SAMPLE if long else 1):
            sample = _fours(low[: offset + _SAMPLE], offset)[0]
            (self._long if long else self._short).setdefault(sample, []).append((offset, low))

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
        sampled = _fours(low, 0)
        hits = self._samples.intersection(sampled)
        if not hits:
            return []
        found: list[Span] = []
        seen = 0  # windows that start before here were compared
        before, behind = _fours(low, _SAMPLE - 1), _fours(low, 1)
        for index in compress(count(), map(hits.__contains__, sampled)):
            # A window contains the sample and the byte before it or after it.
            around = (*before[max(0, index - 1) : index], *behind[index : index + 1])
            if self._samples.isdisjoint(around):
                continue
            at = _SAMPLE * index
            for start in range(max(seen, at - WINDOW + _SAMPLE, 0), min(at, len(low) - WINDOW) + 1):
                if int.from_bytes(low[start : start + WINDOW], "little") in self._windows:
                    found.append((start, start + WINDOW))
            seen = max(seen, at + 1)
        return found

    def _whole(self, low: bytes) -> Iterator[Span]:
        if len(self._words) <= _FEW:
            for word in self._words:
                yield from _occurrences(low, word)
            return
        yield from _sampled(low, self._long, 0)
        for start in range(_SAMPLE if self._short else 0):
            yield from _sampled(low, self._short, start)


def _sampled(text: bytes, words: dict[int, list[tuple[int, bytes]]], start: int) -> Iterator[Span]:
    """Returns the spans of words that have a sample at each fourth byte from `start` on."""
    samples = _fours(text, start)
    for index in compress(count(), map(words.__contains__, samples)):
        for offset, word in words[samples[index]]:
            at = _SAMPLE * index + start - offset
            if at >= 0 and text.startswith(word, at):
                yield at, at + len(word)


def _fours(text: bytes, start: int) -> memoryview:
    """Returns each four bytes from `start` on as a number."""
    end = start + max(0, len(text) - start) // _SAMPLE * _SAMPLE
    return memoryview(text)[start:end].cast("I")


def _occurrences(text: bytes, word: bytes) -> Iterator[Span]:
    at = text.find(word)
    while at >= 0:
        yield at, at + len(word)
        at = text.find(word, at + len(word))
