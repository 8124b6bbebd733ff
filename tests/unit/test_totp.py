"""Codes are right, and no step is used twice."""

import base64

import pytest

from runner.auth.totp import Algorithm, Seed, choose_step, code, parse_seed, step_at
from runner.errors import SecretError

# RFC 6238, Appendix B: the seed is as long as the hash.
KEYS: dict[Algorithm, bytes] = {
    "SHA1": b"12345678901234567890",
    "SHA256": b"12345678901234567890123456789012",
    "SHA512": b"1234567890" * 6 + b"1234",
}
VECTORS: list[tuple[int, Algorithm, str]] = [
    (59, "SHA1", "94287082"),
    (59, "SHA256", "46119246"),
    (59, "SHA512", "90693936"),
    (1111111109, "SHA1", "07081804"),
    (1111111109, "SHA256", "68084774"),
    (1111111109, "SHA512", "25091201"),
    (1111111111, "SHA1", "14050471"),
    (1111111111, "SHA256", "67062674"),
    (1111111111, "SHA512", "99943326"),
    (1234567890, "SHA1", "89005924"),
    (1234567890, "SHA256", "91819424"),
    (1234567890, "SHA512", "93441116"),
    (2000000000, "SHA1", "69279037"),
    (2000000000, "SHA256", "90698825"),
    (2000000000, "SHA512", "38618901"),
    (20000000000, "SHA1", "65353130"),
    (20000000000, "SHA256", "77737706"),
    (20000000000, "SHA512", "47863826"),
]


@pytest.mark.parametrize(("time", "algorithm", "expected"), VECTORS)
def test_the_vectors_of_rfc_6238_appendix_b_hold(time: int, algorithm: Algorithm, expected: str) -> None:
    seed = Seed(KEYS[algorithm], digits=8, algorithm=algorithm)
    assert code(seed, step_at(seed, time)) == expected


def test_a_seed_may_be_written_in_any_case_with_spaces_dashes_and_padding() -> None:
    key = b"0123456789"
    plain = base64.b32encode(key).decode()
    assert len(plain) == 16
    for text in (
        plain,
        plain.lower(),
        " ".join(plain[i : i + 4] for i in range(0, 16, 4)),
        plain[:8] + "-" + plain[8:],
    ):
        assert parse_seed(text).key == key
    assert parse_seed(base64.b32encode(b"0123456789a").decode()).key == b"0123456789a"


@pytest.mark.parametrize("text", ["", "123456", "not base32!", "otpauth://hotp/x?secret=AAAA", "otpauth://totp/x"])
def test_an_unusable_seed_is_an_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(SecretError) as caught:
        parse_seed(text)
    assert not text or text not in str(caught.value)


def test_a_used_step_is_never_chosen_again() -> None:
    seed = Seed(b"0123456789")
    assert choose_step(seed, 100.0, None).step == 3
    used = choose_step(seed, 100.0, 3)
    assert (used.step, used.wait, used.reason) == (4, 20.0, "used")


def test_near_the_end_of_a_step_the_next_is_awaited() -> None:
    choice = choose_step(Seed(b"0123456789"), 119.5, None)
    assert (choice.step, choice.wait, choice.reason) == (4, 0.5, "ending")
