"""The cluster: the program that starts it, and kubectl."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.support.manifests import ROOT, Object

NAMED = os.environ.get("SYNC_RUNNER_CLUSTER")  # a program with the commands up, load, lose, find, cut, join, env
PROGRAM = Path(NAMED) if NAMED else ROOT.parent / "shared" / "tools" / "cluster"
HOST = "10.251.0.1"  # where pods reach this machine
PATIENCE = 240.0  # seconds for what is awaited by looking; far above what a slow machine needs


def cluster(*words: str) -> str:
    """The program that starts the cluster; what it printed."""
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{PROGRAM} {' '.join(words)}: {done.stderr}"
    return done.stdout


def environment() -> dict[str, str]:
    """This process's variables, with those that lead kubectl and helm to the cluster."""
    script = f"{cluster('env')}\nenv --null"
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    return dict(one.split("=", 1) for one in done.stdout.split("\0") if one)


def kubectl(*words: str | Path, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One kubectl command; what it wrote is in the error where it fails."""
    done = subprocess.run(["kubectl", *words], input=given, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(
            f"kubectl {' '.join(map(str, words))} ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
    return done


def apply(*objects: Object) -> None:
    """Apply objects, server-side and in strict mode."""
    words = ("apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-")
    kubectl(*words, given=yaml.safe_dump_all(objects))


def get(*words: str) -> Any:
    """What `kubectl get` finds."""
    return json.loads(kubectl("get", *words, "-o", "json").stdout)


def awaited(what: str, look: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true answer of `look`. Fails when there is none within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := look():
            return answer
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds:g} s in vain for {what}")


def in_new_step(within: float = 4.0) -> None:
    """Wait until a time step of one-time codes has just begun: what follows soon then happens in the same one."""
    time.sleep(30 - time.time() % 30 if time.time() % 30 > within else 0)
