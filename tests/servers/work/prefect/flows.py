"""Flows that Prefect itself runs, served as deployments named `default`.

Run in Prefect's environment, with PREFECT_API_URL set.
"""

import time

from prefect import flow, serve


@flow
def quick(word: str = "none") -> str:
    """Ends well."""
    return word


@flow
def nap(seconds: float = 1.0) -> None:
    """Ends well, after a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)


@flow
def fails() -> None:
    """Ends badly."""
    raise RuntimeError("there is no data today")


@flow(retries=1, retry_delay_seconds=5)
def retries(marker: str) -> None:
    """Ends well at its second try; `marker` is a file that the first one leaves behind."""
    from pathlib import Path

    if not Path(marker).exists():
        Path(marker).touch()
        raise RuntimeError("the first try")


if __name__ == "__main__":
    serve(*(each.to_deployment("default") for each in (quick, nap, fails, retries)))
