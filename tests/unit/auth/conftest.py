"""What the logins' unit tests share."""

from collections.abc import Iterator

import pytest

from runner.auth import refusals


@pytest.fixture(scope="session", autouse=True)
def cheap_fingerprints() -> Iterator[None]:
    """Fingerprints of refused secrets do not take their 20 ms each; tests/integration/auth has their price."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refusals, "SCRYPT_COST", 2)
        yield
