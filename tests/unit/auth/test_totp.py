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
        plain + "=",
    ):
        assert parse_seed(text).key == key
    assert parse_seed(base64.b32encode(b"0123456789a").decode()).key == b"0123456789a"
    assert base64.b32encode(parse_seed("GEZDGNBVGY3TQOJX").key) == b"GEZDGNBVGY3TQOJX"


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


KEY_TEXT = base64.b32encode(b"0123456789").decode()
NO_BASE32 = (
    "totp_seed: not Base32 (letters A-Z and digits 2-7); give the seed that the service shows as text, not a code"
)
ODD_ALGORITHM = "totp_seed: unknown `algorithm` in the otpauth:// URI; SHA1, SHA256 and SHA512 are supported"
ODD_DIGITS = "totp_seed: `digits` in the otpauth:// URI must be 6, 7 or 8"
ODD_PERIOD = "totp_seed: `period` in the otpauth:// URI must be 5 to 300 seconds"
OTHER_TYPE = (
    "totp_seed: the otpauth:// URI is not of type totp; for a counter-based one (hotp) set "
    "`code.source: hotp` and mount it as the secret `hotp_seed`"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "totp_seed: empty; give the Base32 seed that the service shows when an authenticator is set up"),
        ("==", "totp_seed: empty; give the Base32 seed that the service shows when an authenticator is set up"),
        ("not base32!", NO_BASE32),
        (KEY_TEXT[:-1] + "1", NO_BASE32),
        ("\u00df" * 16, NO_BASE32),
        ("GEZDGNBV", "totp_seed: too short; a seed has 16 characters or more (is it a one-time code?)"),
        ("otpauth://[x", "totp_seed: not a valid otpauth:// URI"),
        (f"otpauth://hotp/x?secret={KEY_TEXT}", OTHER_TYPE),
        ("otpauth://totp/x?issuer=y", "totp_seed: the otpauth:// URI has no `secret` parameter"),
        (f"otpauth://totp/x?secret={KEY_TEXT}&algorithm=MD5", ODD_ALGORITHM),
        (f"otpauth://totp/x?secret={KEY_TEXT}&digits=9", ODD_DIGITS),
        (f"otpauth://totp/x?secret={KEY_TEXT}&digits=x", ODD_DIGITS),
        (f"otpauth://totp/x?secret={KEY_TEXT}&period=4", ODD_PERIOD),
        (f"otpauth://totp/x?secret={KEY_TEXT}&period=301", ODD_PERIOD),
        (f"otpauth://totp/x?secret={KEY_TEXT}&period=0030", ODD_PERIOD),
        (f"otpauth://totp/x?secret={KEY_TEXT}&period=3x", ODD_PERIOD),
    ],
)
def test_each_fault_of_a_seed_says_what_to_do(text: str, told: str) -> None:
    with pytest.raises(SecretError) as caught:
        parse_seed(text)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        (f" \n{KEY_TEXT}\n", Seed(b"0123456789")),
        (f"otpauth://totp/x?secret={KEY_TEXT}", Seed(b"0123456789", 6, 30, "SHA1")),
        (f"OTPAUTH://TOTP/x?SECRET={KEY_TEXT.lower()}&Digits=8&PERIOD=60&Algorithm=sha-256", Seed(b"0123456789", 8, 60, "SHA256")),
        (f"otpauth://totp/x?secret={KEY_TEXT}&digits=7&period=5&algorithm=SHA512", Seed(b"0123456789", 7, 5, "SHA512")),
        (f"otpauth://totp/x?secret={KEY_TEXT}&digits=6&period=300", Seed(b"0123456789", 6, 300)),
        (f"otpauth://totp/x?secret=AAAA&secret={KEY_TEXT}", Seed(b"0123456789")),
        (f"otpauth://totp/x?secret={base64.b32encode(b'0123456789a').decode().replace('=', '%253D')}", Seed(b"0123456789a")),
    ],
)  # fmt: skip
def test_an_uri_gives_all_that_it_says_and_the_usual_for_the_rest(text: str, seed: Seed) -> None:
    assert parse_seed(text) == seed


def test_a_seed_shows_nothing() -> None:
    assert repr(Seed(b"0123456789")) == "Seed(***)"


def test_a_short_key_gives_the_same_code_as_in_the_standard_way() -> None:
    import pyotp

    key = b"0123456789abcdef"
    assert code(Seed(key), 7) == pyotp.OTP(base64.b32encode(key).decode()).generate_otp(7)
    assert len(code(Seed(b"0123456789", digits=8), 7)) == 8


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        (90.0, None, (3, 0.0, "")),
        (118.0, None, (3, 0.0, "")),
        (118.01, None, (4, 1.99, "ending")),
        (90.0, 2, (3, 0.0, "")),
        (90.0, 3, (4, 30.0, "used")),
        (90.0, 5, (6, 90.0, "used")),
        (119.0, 3, (4, 1.0, "ending")),
        (119.0, 4, (5, 31.0, "used")),
        (90.0, 123, (124, 3630.0, "used")),
        (90.0, 124, (3, 0.0, "")),
    ],
)
def test_the_step_is_chosen_by_the_time_and_the_record(
    now: float, last: int | None, expected: tuple[int, float, str]
) -> None:
    choice = choose_step(Seed(b"0123456789"), now, last)
    assert (choice.step, round(choice.wait, 6), choice.reason) == expected


def test_the_step_is_a_whole_number_of_periods() -> None:
    assert (step_at(Seed(b"0123456789"), 89.9), step_at(Seed(b"0123456789", period=60), 120.0)) == (2, 2)
    assert isinstance(step_at(Seed(b"0123456789"), 89.9), int)
