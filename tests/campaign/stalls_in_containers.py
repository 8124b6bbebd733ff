"""The stalls for real: containers of the image, a name server that is silent, a file system whose process is stopped.

The engine's record says when a container ended. Needs root (port 53, `bindfs`) and an engine on this machine.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.campaign.stalls import Case, pod

USER = 65532  # the image's
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--network", "host")
MOUNTED = 20.0  # seconds


class Containers:
    """Runs are containers of an image, as its own user, with nothing to write to but what the case mounts."""

    def __init__(self, image: str) -> None:
        self.image = image
        self._name = ""

    @contextlib.contextmanager
    def names(self, home: Path) -> Iterator[Case]:
        """The container's own resolver asks a name server that takes questions and never answers."""
        config, address = home / "resolv.conf", f"127.{os.getpid() % 255}.{random.randrange(256)}.53"
        config.write_text(f"nameserver {address}\n")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind((address, 53))
            yield Case("https://sync.example.org", mounts={str(config): "/etc/resolv.conf"})

    @contextlib.contextmanager
    def state(self, home: Path, at_start: bool) -> Iterator[Case]:
        """A file system in user space; its process is stopped, so that every call on a file there waits."""
        kept, seen = home / "kept", home / "state"
        for place in (kept, seen):
            place.mkdir(mode=0o700)
            os.chown(place, USER, 0)
        with subprocess.Popen(["bindfs", "-f", "-o", "allow_other", str(kept), str(seen)]) as serving:
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    while not os.path.ismount(seen):
                        serving.wait(0.05)
                begun, waiting = "run.started" if at_start else "sync.triggered", _waiting(seen)
                made = Case(None, {"state.dir": str(seen)}, begun=begun, freeze=lambda: _freeze(serving, waiting))
                if at_start:
                    _freeze(serving, waiting)
                    made.freeze = None
                yield made
            finally:
                serving.send_signal(signal.SIGCONT)
                subprocess.run(["umount", "--lazy", str(seen)], check=True)

    @contextlib.contextmanager
    def cluster(self, home: Path, port: int) -> Iterator[Case]:
        """The service account's files are where a kubelet mounts them."""
        yield pod(home, port)

    def start(self, words: list[str], made: Case, home: Path) -> "subprocess.Popen[Any]":
        """`docker run`, which hands signals on."""
        _let_in(home)
        options = [*HARDENED, "--volume", f"{home}:{home}"]
        options += [word for here, there in made.mounts.items() for word in ("--volume", f"{here}:{there}:ro")]
        options += [word for name, value in made.environment.items() for word in ("--env", f"{name}={value}")]
        self._name = f"stalls-{uuid.uuid4().hex}"
        command = ["docker", "run", "--name", self._name, *options, self.image, *words]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def ended(self, process: "subprocess.Popen[Any]") -> float:
        """As the engine's record has it. Removes the container."""
        told = subprocess.check_output(
            ["docker", "inspect", "--format", "{{.State.FinishedAt}}", self._name], text=True
        )
        subprocess.run(["docker", "rm", self._name], check=True, stdout=subprocess.DEVNULL)
        return datetime.strptime(f"{told[:26]}+0000", "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def _let_in(home: Path) -> None:
    """The image's user may read the secrets and write the report."""
    home.chmod(0o755)
    os.chown(home / "out", USER, 0)
    for place in (home / "secrets", *(home / "secrets").iterdir()):
        os.chown(place, USER, 0)


def _waiting(mount: Path) -> Path:
    """The kernel's count of the calls that wait for this file system."""
    place = Path("/sys/fs/fuse/connections")
    if not os.path.ismount(place):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", str(place)], check=True)
    return place / str(os.minor(mount.stat().st_dev)) / "waiting"


def _freeze(serving: "subprocess.Popen[bytes]", waiting: Path) -> None:
    """Stops it between two calls: one that it has read and does not answer would keep the container from ending, even killed."""
    for _ in range(1000):
        serving.send_signal(signal.SIGSTOP)
        time.sleep(0.005)
        if waiting.read_text().strip() == "0":
            return
        serving.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    raise AssertionError("the file system was never idle")
