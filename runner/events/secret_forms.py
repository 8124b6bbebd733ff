"""The forms of one secret that decoding the text does not lead to: other cases, character sets and groupings."""
# Decisions 0191, 0197.

import re
from base64 import b32decode, b32encode, b64encode
from binascii import Error as NotEncoded
from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from runner.events.secret_index import WINDOW
from runner.events.unfolding import UNWRAPPED, unescape

DEPTH = 3  # nested encodings
_MOST_VARIED = 1024  # characters of a secret with other cases and character sets: no token in a header has these
_SCHEMES = frozenset(
    {"http", "https", "otpauth", "postgres", "postgresql", "socks5", "socks5h"}
)  # a password may hold `://`
_SEED = re.compile(r"[A-Za-z2-7]{16,256}")
_NUMBER = re.compile(r"[0-9]{6,20}")
_BETWEEN_DIGITS = " -,.'_"


def raw_of(text: str) -> bytes:
    """Returns the text's bytes in UTF-8, also of lone surrogates: an API may return a token that is not valid text."""
    return text.encode(errors="surrogatepass")


def variants(secret: str) -> set[bytes]:
    """Returns the bytes of a secret as other programs write them: in another case, normal form or character set, or UTF-8
    misread as Latin-1. The index ignores the case of ASCII letters, so of an ASCII secret there is one."""
    if secret.isascii() or len(secret) > _MOST_VARIED:
        return {raw_of(secret)}
    from unicodedata import normalize  # rarely needed

    formed = {secret, *(normalize(form, secret) for form in ("NFC", "NFD", "NFKC"))}
    found: set[bytes] = set()
    for text in {cased for one in formed for cased in (one, one.lower(), one.upper(), one.casefold())}:
        found |= {raw_of(text), *_in_other_sets(text)}
    return found


def _in_other_sets(text: str) -> Iterator[bytes]:
    raw = raw_of(text)
    for charset in ("latin-1", "cp1252"):
        with suppress(UnicodeEncodeError):
            yield text.encode(charset)
        yield raw_of(raw.decode(charset, errors="replace"))
    yield text.encode("utf-16-le", "surrogatepass").translate(None, UNWRAPPED)
    asked = text.encode("ascii", errors="replace")
    if asked.count(b"?") <= len(asked) // 2 and b"?" * WINDOW not in asked:
        yield asked


def unescapings(raw: bytes) -> Iterable[bytes]:
    """Returns `raw` and its unescaped form: a password may look like an escape."""
    for _ in range(DEPTH + 1):
        yield raw
        plain = unescape(raw)
        if plain == raw:
            return
        raw = plain


def of_seed(secret: str) -> list[bytes]:
    """Returns what to search in text of which only letters and digits are left (`unfolding.letters`): a seed, and what is
    written of the key that it encodes, in hex and Base64; nothing for another secret.

    The key's own bytes are not searched in decoded text: an index of all byte values would make every search slow.
    """
    plain = re.sub(r"[\s-]", "", secret).rstrip("=")
    if not _SEED.fullmatch(plain):
        return []
    try:
        key = b32decode(plain.upper() + "=" * (-len(plain) % 8))
    except NotEncoded:
        return [plain.encode()]
    return [plain.encode(), key.hex().encode(), *{written.translate(None, b"+/-_") for written in in_base64(key)}]


def of_number(secret: str) -> Iterable[str]:
    """Returns digits, such as a one-time code or a PIN, in groups of three from the right, as people and programs show
    them."""
    if _NUMBER.fullmatch(secret):
        first = len(secret) % 3
        groups = [one for one in (secret[:first], *(secret[at : at + 3] for at in range(first, len(secret), 3))) if one]
        yield from (sign.join(groups) for sign in _BETWEEN_DIGITS)


def of_url(secret: str) -> list[str]:
    """Returns the secret parts of a URL: its password, and what follows its host; nothing for other text."""
    try:
        parts = urlsplit(secret)
    except ValueError:
        return []
    if not parts.netloc or parts.scheme not in _SCHEMES:
        return []
    values = [value for _name, value in parse_qsl(parts.query)]
    return [*values, parts.password or "", parts.fragment, *parts.path.split("/")]


_IN_URLS = bytes.maketrans(b"+/", b"-_")


def in_base64(raw: bytes) -> Iterator[bytes]:
    """Returns the characters that `raw` alone determines within a longer text, at each alignment."""
    for before in range(3):
        shifted = b64encode(bytes(before) + raw)
        form = shifted[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        yield from {form, form.translate(_IN_URLS)}


def in_base32(raw: bytes) -> Iterator[bytes]:
    """Returns the same in Base32."""
    for before in range(5):
        shifted = b32encode(bytes(before) + raw)
        yield shifted[(0, 2, 4, 5, 7)[before] : (before + len(raw)) * 8 // 5]
