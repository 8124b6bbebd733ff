"""The campaign of signals in small, on the real image."""

import pytest

from tests.campaign.interrupts import interrupts
from tests.containers.engine import RUNNER


@pytest.mark.usefixtures("images")
def test_a_container_that_gets_a_signal_at_any_instant_leaves_nothing_behind() -> None:
    assert interrupts(6, 3, RUNNER)["signals"] == 6


@pytest.mark.usefixtures("images")
def test_the_campaign_catches_jobs_that_go_on() -> None:
    with pytest.raises(AssertionError, match="jobs still run"):
        interrupts(8, 4, RUNNER, options=["--set", "on_interrupt=detach"])
