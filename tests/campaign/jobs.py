"""Job control under faults, signals, deadlines, crowds and hostile answers. `python -m tests.campaign.jobs NAME`."""

from tests.campaign.faults import faults
from tests.campaign.figures import main

CAMPAIGNS = {"faults": faults}

if __name__ == "__main__":
    main(CAMPAIGNS, __doc__)
