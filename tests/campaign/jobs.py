"""Job control under faults, signals, deadlines, crowds and hostile answers. `python -m tests.campaign.jobs NAME`."""

from collections.abc import Callable

from tests.campaign.chains import chains
from tests.campaign.crowd import crowd
from tests.campaign.deadlines import deadlines
from tests.campaign.faults import faults
from tests.campaign.figures import Figures, main
from tests.campaign.hostile import hostile
from tests.campaign.interrupts import interrupts
from tests.campaign.restarts import restarts
from tests.campaign.watching import watch_fake, watch_real

CAMPAIGNS: dict[str, Callable[[], Figures]] = {
    "faults": faults,
    "interrupts": interrupts,
    "deadlines": deadlines,
    "crowd": crowd,
    "hostile": hostile,
    "chains": chains,
    "restarts": restarts,
    "watch_fake": watch_fake,
    "watch_real": watch_real,
}

if __name__ == "__main__":
    main(CAMPAIGNS, __doc__)
