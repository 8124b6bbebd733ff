"""Codes against an independent implementation: oathtool of the OATH Toolkit."""

import base64
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from runner.auth.totp import Algorithm, code, parse_seed, step_at
from tests.support.programs import need

CASES = 1000
LENGTHS = (10, 16, 20, 32, 64)  # bytes; 10 is the 16-character seed that many services still issue
ALGORITHMS: tuple[Algorithm, ...] = ("SHA1", "SHA256", "SHA512")


def _written(rng: random.Random, key: bytes, digits: int, period: int, algorithm: Algorithm) -> str:
    """The seed in one of the forms that services show."""
    plain = base64.b32encode(key).decode()
    bare = plain.rstrip("=")
    grouped = " ".join(bare[i : i + 4] for i in range(0, len(bare), 4))
    if (digits, period, algorithm) == (6, 30, "SHA1") and rng.random() < 0.5:
        return rng.choice([plain, bare, bare.lower(), grouped, grouped.replace(" ", "-"), grouped.lower()])
    secret = rng.choice([bare, bare.lower(), quote(plain)])
    name = rng.choice([algorithm, algorithm.lower()])
    return (
        f"otpauth://totp/Service:user?secret={secret}&issuer=Service&algorithm={name}&digits={digits}&period={period}"
    )


def _oathtool(key: bytes, digits: int, period: int, algorithm: Algorithm, at: int) -> str:
    mode = f"--totp={algorithm.lower()}"
    options = [f"--digits={digits}", f"--time-step-size={period}s", f"--now=@{at}", key.hex()]
    return subprocess.run(["oathtool", mode, *options], capture_output=True, text=True, check=True).stdout.strip()


def test_a_thousand_random_codes_are_those_of_oathtool() -> None:
    need("oathtool")
    rng = random.Random(6238)
    cases = []
    for number in range(CASES):
        algorithm = rng.choice(ALGORITHMS)
        digits, period = rng.choice((6, 8)), rng.choice((30, 60))
        key = rng.randbytes(LENGTHS[number % len(LENGTHS)])
        cases.append((key, digits, period, algorithm, rng.randrange(0, 4_000_000_000)))
    with ThreadPoolExecutor(4) as pool:
        expected = list(pool.map(lambda case: _oathtool(*case), cases))
    for (key, digits, period, algorithm, at), code_there in zip(cases, expected, strict=True):
        seed = parse_seed(_written(rng, key, digits, period, algorithm))
        assert (seed.digits, seed.period, seed.algorithm) == (digits, period, algorithm)
        assert code(seed, step_at(seed, at)) == code_there
