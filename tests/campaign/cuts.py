"""Parts of secrets that were cut at eight characters, in up to three writings one within another: none may be shown.

`python -m tests.campaign.cuts runs=200000 [seed=N]` is the campaign; `tests/unit/events/test_redaction.py` tries some of each kind.
Half of the secrets are made to look like escapes, which is what a redactor that decodes takes them for.
"""
# Decision 0204.

import base64
import random
import string
from collections import Counter
from collections.abc import Callable

from runner.events.redaction import Redactor
from tests.campaign.figures import BROKEN, Figures, in_parts, main
from tests.support.leak_scanner import CHARACTERS, PART, canary

LIKE_ESCAPES = (
    "%41", "%7e", "%25", "%5c", "%", "%%", "&lt;", "&#39;", "&amp;", "&quot;", "&", "&&", "\\", "\\\\", "\\n", "\\x41", "\\u0041", "\\'", "\\&",
    "\\%", "\\/", "+", "'", '"', "<", ">", "/", "é", "€", "$", "#", "{", "}",
)  # fmt: skip
OTHERS: list[tuple[str, Callable[[str], str]]] = [
    ("shell", lambda one: one if one.isalnum() or not one.isascii() else f"\\{one}"),
    ("decimal entities", lambda one: f"&#{ord(one)};"),
    ("hex entities", lambda one: f"&#x{ord(one):X};"),
    ("\\u", lambda one: f"\\u{ord(one):04x}"),
    ("\\x", lambda one: "".join(f"\\x{byte:02x}" for byte in one.encode())),
    ("octal", lambda one: "".join(f"\\{byte:03o}" for byte in one.encode())),
    ("%u", lambda one: one if one.isalnum() and one.isascii() else f"%u{ord(one):04x}"),
]
DIGITS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "base64": (6, base64.b64encode),
    "base64, url": (6, base64.urlsafe_b64encode),
    "base32": (5, base64.b32encode),
    "base32, lower": (5, lambda raw: base64.b32encode(raw).lower()),
    "hex": (4, lambda raw: raw.hex().encode()),
    "HEX": (4, lambda raw: raw.hex().upper().encode()),
}
AROUND = (("t ", " z"), ("t", "z"), ('{"e": "', '"}'), ("", ""))


def secret(rng: random.Random) -> str:
    """One that looks like escapes in many places."""
    letters = string.ascii_letters + string.digits + " -_"
    return "".join(rng.choice(LIKE_ESCAPES if rng.random() < 0.45 else letters) for _ in range(rng.randrange(12, 30)))


def cut(known: str, rng: random.Random) -> tuple[str, str]:
    """The writings, and eight characters of the secret in them, cut where these begin and end."""
    at = rng.randrange(len(known) - PART + 1)
    units, kinds = list(known[at : at + PART]), []
    for kind, write in rng.choices(CHARACTERS + OTHERS, k=rng.choice((0, 1, 1, 2, 2, 3))):
        units = ["".join(map(write, unit)) for unit in units]
        kinds.append(kind)
    written = "".join(units)
    if len(kinds) == 3 or rng.random() < 0.6:
        return " > ".join(kinds) or "raw", written
    kind, (bits, encode) = rng.choice(list(DIGITS.items()))
    before, part = rng.randbytes(rng.randrange(6)), written.encode()
    digits = encode(before + part + rng.randbytes(rng.randrange(6))).decode()
    return " > ".join([*kinds, kind]), digits[len(before) * 8 // bits : -(-(len(before) + len(part)) * 8 // bits)]


def part(seed: int, numbers: range) -> Counter[str]:
    """The writings of the cuts that were shown, of so many."""
    shown: Counter[str] = Counter()
    for number in numbers:
        rng = random.Random(f"{seed} {number}")
        random.seed(f"{seed} {number}")
        known = secret(rng) if number % 2 else canary()
        redactor = Redactor()
        redactor.add(known)
        for _ in range(20):
            kinds, text = cut(known, rng)
            before, after = rng.choice(AROUND)
            if text in redactor.redact(f"{before}{text}{after}"):
                shown[f"{kinds}: {number}"] += 1
    return shown


def campaign(runs: int = 200_000, seed: int = 0, processes: int = 2) -> Figures:
    """So many cuts, of twenty for each secret."""
    shown: Counter[str] = Counter()
    for found in in_parts(part, runs=runs // 20, seed=seed, first=0, processes=processes):
        shown += found
    return {"seed": seed, "cuts": runs, "shown": shown.total(), BROKEN: list(shown)[:20]}


if __name__ == "__main__":
    main({"cuts": campaign}, __doc__)
