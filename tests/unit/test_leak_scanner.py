"""The judge of leaks itself: every part of a secret is found in every writing, and nothing is found where nothing is."""

import base64
import html
import itertools
import json
import random
from collections.abc import Callable
from functools import partial
from urllib.parse import quote, quote_plus

import pytest

from tests.support.leak_scanner import PART, Listening, canary


def _encoded(encode: Callable[[bytes], bytes], shift: int, part: str) -> str:
    return encode(b"?" * shift + part.encode() + b"?").decode()


WRITERS: dict[str, tuple[str, Callable[[str], str]]] = {
    "plain": ("raw", str),
    "percent": ("url", lambda part: quote(part, safe="")),
    "percent, lower case": ("url", lambda part: quote(part, safe="").lower()),
    "percent, every byte": ("url", lambda part: "".join(f"%{byte:02X}" for byte in part.encode())),
    "form": ("url", quote_plus),
    "JSON": ("json", lambda part: json.dumps(part)[1:-1]),
    "JSON of PHP": ("json", lambda part: json.dumps(part)[1:-1].replace("/", "\\/")),
    "Python": ("json", lambda part: repr(part)[1:-1]),
    "HTML": ("markup", html.escape),
    "hex": ("hex", lambda part: part.encode().hex()),
    "HEX": ("hex", lambda part: part.encode().hex().upper()),
    **{f"Base64 {shift}": ("base64", partial(_encoded, base64.b64encode, shift)) for shift in range(3)},
    "Base64 of URLs": ("base64", lambda part: base64.urlsafe_b64encode(part.encode()).decode()),
    **{f"Base32 {shift}": ("base32", partial(_encoded, base64.b32encode, shift)) for shift in range(5)},
    "Base32, lower case": ("base32", lambda part: base64.b32encode(part.encode()).decode().lower()),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_every_part_of_a_secret_is_found_in_every_writing(name: str) -> None:
    kind, write = WRITERS[name]
    for seed in range(20):
        random.seed(seed)
        secret = canary()
        length = PART + 2 if kind in ("base64", "base32") else PART
        for at in range(len(secret) - length + 1):
            found = Listening([secret]).found(f'{{"message": "x {write(secret[at : at + length])} y"}}')
            # A writing that changes nothing is the plain one.
            assert found & {kind, "raw"}, (secret, at)


def test_less_than_a_part_and_another_secret_are_no_leak() -> None:
    random.seed(7)
    secrets = [canary() for _ in range(50)]
    for secret, other in itertools.pairwise(secrets):
        told = "\n".join([write(other) for _, write in WRITERS.values()] + [secret[:7], secret[-7:]])
        assert Listening([secret]).found(told) == set()


def test_a_name_is_found_as_a_whole_and_a_code_as_a_number_of_its_own() -> None:
    heard = Listening()
    heard.names.add("someone@example.org")
    heard.codes.add("123456")
    assert heard.leaks({"log": "someone%40example.org", "page": "at example.org"}) == {("log", "url")}
    assert heard.leaks({"log": "code 123456", "page": "1123456 123456.5"}) == {("log", "code")}
