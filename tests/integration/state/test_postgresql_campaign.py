"""The campaign of the token refresh through PostgreSQL and PgBouncer, small."""

import pytest

from tests.campaign import login

pytestmark = pytest.mark.xdist_group("postgresql")


def test_processes_that_find_one_expired_session_in_the_database_refresh_it_once() -> None:
    told = login.refresh_postgresql(rounds=1, processes=6)
    for way in ("PostgreSQL", "PgBouncer"):
        assert (told[way]["refreshes a round"], told[way]["revoked"]) == (1, 0)
