"""Jobs that the real Dagster runs: one as long as it is told, one that fails."""

import time

from dagster import Config, Definitions, job, op


class Nap(Config):
    """How long, in seconds."""

    seconds: float = 1.0


@op
def sleep(config: Nap) -> None:
    """Ends well, after a while."""
    time.sleep(config.seconds)


@job
def nap() -> None:
    """As long as it is told."""
    sleep()


@op
def boom() -> None:
    """Ends badly."""
    raise RuntimeError("there is no data today")


@job
def fails() -> None:
    """Fails at once."""
    boom()


defs = Definitions(jobs=[nap, fails])
