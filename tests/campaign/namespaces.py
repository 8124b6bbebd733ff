"""Processes in several network namespaces, as pods on several nodes are: `python -m tests.campaign.namespaces`. Needs root.

Each campaign returns its figures, and fails where a promise is broken.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.campaign.figures import Figures, main
from tests.campaign.login import in_postgresql, refresh
from tests.support.postgresql import pgbouncer, postgresql

CLONE_NEWNET = 0x40000000  # linux/sched.h
BRIDGE, ADDRESS = "campaign-br", "10.253.7.1"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """So many namespaces, each with an address of its own on one bridge; the host is ADDRESS to all of them."""
    names = [f"campaign-{number}" for number in range(count)]
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("addr", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(names):
            inside, outside = f"campaign-i{number}", f"campaign-o{number}"
            _ip("netns", "add", name)
            _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
            _ip("link", "set", outside, "master", BRIDGE, "up")
            _ip("-n", name, "addr", "add", f"10.253.7.{number + 10}/24", "dev", inside)
            _ip("-n", name, "link", "set", inside, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        _ip("link", "delete", BRIDGE)


def enter(names: list[str]) -> None:
    """Move this process into one of the namespaces, by its id."""
    with open(f"/run/netns/{names[os.getpid() % len(names)]}", "rb") as place:
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def refresh_postgresql(rounds: int = 20, processes: int = 256, through: str = "PostgreSQL", hosts: int = 4) -> Figures:
    """Processes on one expired token, through PostgreSQL or a PgBouncer in transaction mode: one refresh a round."""
    with (
        namespaces(hosts) as names,
        postgresql(ADDRESS, 2 * processes + 20) as server,
        pgbouncer(server, connections=20) as bouncer,
    ):
        url = {"PostgreSQL": server.url, "PgBouncer": bouncer.url}[through]
        figures = refresh(rounds, processes, partial(in_postgresql, url), partial(enter, names), ADDRESS)
    return {"through": through, "namespaces": hosts, **figures}


CAMPAIGNS = {"refresh_postgresql": refresh_postgresql}

if __name__ == "__main__":
    main(CAMPAIGNS, __doc__)
