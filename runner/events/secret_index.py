"""The known secrets, in a form in which text can be searched for all of them at once. Its cost does not grow with their number.

A part of `PART` bytes is found by samples of four bytes: of a secret at every position, of the text at every fourth, so that
the search is one operation on sets. What a sample finds is compared in full.
"""

from collections.abc import Iterator
from sys import byteorder

from runner.events.unfolding import PRINTABLE, Span, marks_of

PART = 8  # bytes of a secret that are hidden wherever they stand
WINDOW = 7  # compared at every second position of a secret: any part of eight bytes holds one
_MASK = (1 << 8 * WINDOW) - 1
_SAMPLE = 4
_FEW = 24  # whole words that are looked for one by one; beyond, by their first four bytes


class SecretIndex:
    """Secrets to find by any part of eight bytes, and words to find as a whole. ASCII letters match in any case."""

    def __init__(self) -> None:
        """Nothing known yet."""
        self._samples: set[int] = set()
        self._windows: set[int] = set()
        self._words: list[bytes] = []
        self._by_start: dict[int, list[bytes]] = {}
        self.alphabet: frozenset[int] = frozenset()  # the bytes that occur in them, in either case
        self.spaces = False  # whether one holds a space
        self.marks = marks_of(PRINTABLE)  # the bytes among which a secret may stand, written as it is or encoded again

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._samples or self._words)

    def add_parts(self, secret: bytes) -> None:
        """Find every part of `secret`; one of fewer than `PART` bytes has none."""
        low = secret.lower()
        if len(low) < PART:
            return
        self._widen(low)
        for start in range(_SAMPLE):
            self._samples.update(_fours(low, start))
        for start in (*range(0, len(low) - WINDOW + 1, 2), len(low) - WINDOW):
            self._windows.add(int.from_bytes(low[start : start + WINDOW], "little"))

    def add_word(self, word: bytes) -> None:
        """Find `word` as a whole; it has at least four bytes."""
        low = word.lower()
        words = self._by_start.setdefault(_fours(low[:_SAMPLE], 0)[0], [])
        if low not in words:
            self._widen(low)
            words.append(low)
            self._words.append(low)

    def _widen(self, low: bytes) -> None:
        if not self.alphabet.issuperset(low):
            self.alphabet |= {*low, *low.upper()}
            self.marks = marks_of(PRINTABLE + bytes(self.alphabet))

    def spans(self, text: bytes) -> list[Span]:
        """Where parts and words stand in `text`; spans may overlap."""
        low = text.lower()
        return [*self._parts(low), *self._whole(low)]

    def parts(self, text: bytes) -> list[Span]:
        """Where parts stand in `text`; no words, which text whose spaces were left out is full of."""
        return self._parts(text.lower())

    def _parts(self, low: bytes) -> list[Span]:
        sampled = _fours(low, 0)
        if self._samples.isdisjoint(sampled):
            return []
        hits = self._samples.intersection(sampled)
        found: list[Span] = []
        seen = 0  # windows that start before here were compared
        for at in _positions(low, hits, sampled):
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
        starts = self._by_start.keys()
        for start in range(_SAMPLE):
            samples = _fours(low, start)
            if not starts.isdisjoint(samples):
                for index, sample in enumerate(samples):
                    at = 4 * index + start
                    for word in self._by_start.get(sample, ()):
                        if low.startswith(word, at):
                            yield at, at + len(word)


def _positions(text: bytes, hits: set[int], sampled: memoryview) -> list[int]:
    """Where the samples stand; few are looked for one by one, which costs a hundredth."""
    if len(hits) <= _FEW:
        return sorted(start for hit in hits for start, _end in _occurrences(text, hit.to_bytes(_SAMPLE, byteorder)))
    return [_SAMPLE * index for index, sample in enumerate(sampled) if sample in hits]


def _fours(text: bytes, start: int) -> memoryview:
    """Each four bytes from `start` on as a number."""
    end = start + max(0, len(text) - start) // _SAMPLE * _SAMPLE
    return memoryview(text)[start:end].cast("I")


def _occurrences(text: bytes, word: bytes) -> Iterator[Span]:
    at = text.find(word)
    while at >= 0:
        yield at, at + len(word)
        at = text.find(word, at + len(word))
