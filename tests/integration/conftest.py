"""What several rooms' integration tests share."""

from collections.abc import Iterator

import pytest

from tests.support.postgresql import Server, postgresql


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    """A PostgreSQL of its own for the module's tests."""
    with postgresql() as server:
        yield server
