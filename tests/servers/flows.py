"""Flows that Prefect itself runs, served as deployments named `default`: one that ends well, one badly, one not soon.

Run in the servers' environment, with PREFECT_API_URL set.
"""

import time

from prefect import flow, serve


@flow
def quick(word: str = "none") -> str:
    """Ends well."""
    return word


@flow
def broken() -> None:
    """Ends badly."""
    raise RuntimeError("there is no data today")


@flow
def long() -> None:
    """Ends when it is cancelled."""
    for _ in range(6000):
        time.sleep(0.1)


if __name__ == "__main__":
    serve(*(each.to_deployment("default") for each in (quick, broken, long)))
