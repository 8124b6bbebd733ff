"""Real servers: each is started once for all tests that want it, on a free port, and ended with the session."""
# Decisions 0035, 0070.

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers.airflow_server import Airflow
from tests.servers.allauth_server import Allauth
from tests.servers.dagster_server import Dagster
from tests.servers.directus_server import Directus
from tests.servers.flower_server import Flower
from tests.servers.home_assistant_server import HomeAssistant
from tests.servers.interface import Place, RealServer
from tests.servers.keycloak_server import Keycloak
from tests.servers.n8n_server import N8n
from tests.servers.prefect_server import Prefect

SERVERS: dict[str, Callable[[Path, ExitStack], Any]] = {
    "airflow": Airflow,
    "allauth": Allauth,
    "dagster": Dagster,
    "directus": Directus,
    "flower": Flower,
    "home-assistant": HomeAssistant,
    "n8n": N8n,
    "prefect": Prefect,
}


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    """Ends what a module's tests have started."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> Keycloak:
    """One for all tests of a module; each has a user of its own."""
    return Keycloak(tmp_path_factory.mktemp("keycloak"), stack)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The server whose name the test's parameter is."""
    with ExitStack() as stack:
        yield SERVERS[request.param](tmp_path_factory.mktemp(request.param), stack)


@pytest.fixture
def place(server: RealServer, tmp_path: Path) -> Place:
    """A user's place beside it."""
    return Place(server, tmp_path)
