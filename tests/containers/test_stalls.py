"""What stalls holds up no container: the campaign of stalls in small, by the engine's own record of the end."""

import os

import pytest

from tests.campaign.stalls import ended
from tests.campaign.stalls_in_containers import Containers
from tests.containers.engine import RUNNER
from tests.support.programs import need

CODES = {"deadline": 6, "SIGTERM": 143}


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("by", CODES)
@pytest.mark.parametrize("case", ["API: TLS", "DNS: headers", "Kubernetes: TLS", "state directory: in mid-run"])
def test_a_container_ends_whatever_stalls(case: str, by: str) -> None:
    if case.startswith("state directory"):
        need("bindfs")
        if not os.access("/dev/fuse", os.W_OK):
            pytest.skip("this machine has no file systems in user space (/dev/fuse)")
    told = ended(case, by, Containers(RUNNER))
    assert (told.code, told.reported, told.orphans) == (CODES[by], True, 0)
