"""One-time codes (RFC 6238): reads seeds, chooses the time step, generates the code. Pure; codes come from pyotp."""
# Decision 0007.

import base64
import re
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from runner.errors import SecretError
from runner.frozen import Frozen

Algorithm = Literal["SHA1", "SHA256", "SHA512"]
MIN_KEY = 10  # bytes: 16 Base32 characters, which many services still issue
MARGIN = 2.0  # seconds: a code with less time left may arrive after its step ended
FAR_AHEAD = 3600.0  # seconds: a later record comes from a clock that has been set back since


class Seed(Frozen):
    """A TOTP seed with its parameters; `period` in seconds. Its repr shows none of them."""

    key: bytes
    digits: int = 6
    period: int = 30
    algorithm: Algorithm = "SHA1"

    def __repr__(self) -> str:
        return "Seed(***)"


class Choice(Frozen):
    """The step whose code to send, after `wait` seconds; `reason` says why the current one is not used immediately."""

    step: int
    wait: float = 0.0
    reason: Literal["", "used", "ending"] = ""


def parse_seed(text: str) -> Seed:
    """Parses a seed from Base32 (any case, spaces, dashes, padding or none) or an `otpauth://totp` URI. Raises SecretError."""
    return read_seed(text, "totp")[0]


def read_seed(text: str, kind: Literal["totp", "hotp"]) -> tuple[Seed, dict[str, str]]:
    """Returns the seed and the parameters of an `otpauth:` URI, which must be of that kind. Raises SecretError."""
    text, name = text.strip(), f"{kind}_seed"
    if not text.lower().startswith("otpauth:"):
        return Seed(_key(text, name)), {}
    try:
        parts = urlsplit(text)
        query = {key.lower(): values[-1] for key, values in parse_qs(parts.query).items()}
    except ValueError:
        raise SecretError(f"{name}: not a valid otpauth:// URI") from None
    if parts.netloc.lower() != kind:
        raise SecretError(f"{name}: the otpauth:// URI is not of type {kind}; {_OTHER[kind]}")
    return _from_query(query, name), query


_OTHER = {
    "totp": "for a counter-based one (hotp) set `code.source: hotp` and mount it as the secret `hotp_seed`",
    "hotp": "a time-based seed is `totp_seed`",
}


def _from_query(query: dict[str, str], name: str) -> Seed:
    if "secret" not in query:
        raise SecretError(f"{name}: the otpauth:// URI has no `secret` parameter")
    algorithm = query.get("algorithm", "SHA1").upper().replace("-", "")
    if algorithm not in ("SHA1", "SHA256", "SHA512"):
        raise SecretError(f"{name}: unknown `algorithm` in the otpauth:// URI; SHA1, SHA256 and SHA512 are supported")
    digits, period = query.get("digits", "6"), query.get("period", "30")
    if digits not in ("6", "7", "8"):
        raise SecretError(f"{name}: `digits` in the otpauth:// URI must be 6, 7 or 8")
    if not re.fullmatch(r"[0-9]{1,3}", period) or not 5 <= int(period) <= 300:
        raise SecretError(f"{name}: `period` in the otpauth:// URI must be 5 to 300 seconds")
    return Seed(_key(unquote(query["secret"]), name), int(digits), int(period), algorithm)  # type: ignore[arg-type]


def _key(text: str, name: str) -> bytes:
    bare = re.sub(r"[\s\-]", "", text).rstrip("=")
    if not bare:
        raise SecretError(f"{name}: empty; give the Base32 seed that the service shows when an authenticator is set up")
    try:
        key = base64.b32decode(bare + "=" * (-len(bare) % 8), casefold=True)
    except ValueError:
        raise SecretError(
            f"{name}: not Base32 (letters A-Z and digits 2-7); give the seed that the service shows as text, not a code"
        ) from None
    if len(key) < MIN_KEY:
        raise SecretError(f"{name}: too short; a seed has 16 characters or more (is it a one-time code?)")
    return key


def step_at(seed: Seed, unix_time: float) -> int:
    """Returns the time step of a time in Unix seconds (RFC 6238, 4.2: T0 is 0)."""
    return int(unix_time // seed.period)


def code(seed: Seed, step: int) -> str:
    """Returns the code of a time step."""
    import hashlib

    import pyotp

    digest = {"SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA512": hashlib.sha512}[seed.algorithm]
    # pyotp refuses keys under 14 bytes. HMAC pads keys to its block size with zero bytes (RFC 2104, 2), so zero bytes
    # added here change no code.
    key = base64.b32encode(seed.key.ljust(20, b"\0")).decode()
    return pyotp.OTP(key, digits=seed.digits, digest=digest).generate_otp(step)


def choose_step(seed: Seed, now: float, last_step: int | None, margin: float = MARGIN) -> Choice:
    """Returns the step to use at server time `now` (Unix seconds): never one up to `last_step`, never one about to end.

    A record more than an hour ahead comes from a wrong clock and is ignored.
    """
    current = step_at(seed, now)
    if last_step is not None and last_step - current > FAR_AHEAD / seed.period:
        last_step = None
    step, reason = current, ""
    if (current + 1) * seed.period - now < margin:
        step, reason = current + 1, "ending"
    if last_step is not None and step <= last_step:
        step, reason = last_step + 1, "used"
    return Choice(step, max(0.0, step * seed.period - now), reason)  # type: ignore[arg-type]
