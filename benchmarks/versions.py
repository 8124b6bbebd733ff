"""On what and with what was measured."""

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.places import BUILD, PEERS, UV, interpreter

NAMED = ("httpx", "pydantic", "pydantic-settings", "structlog", "tenacity", "prometheus-client", "pyotp")


def machine() -> dict[str, str]:
    """The machine at this moment, the tools and the libraries."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}, Linux {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f}",
        "Python": _python(),
        "libraries": _packages("runner", NAMED),
        "peers": ", ".join(_packages(name, packages) for name, packages in PEERS.items() if (BUILD / name).exists()),
        "curl": _first_line("curl", "--version").split(" (")[0],
        "jq": _first_line("jq", "--version"),
        "oathtool": _first_line("oathtool", "--version"),
    }


def _python() -> str:
    command = [interpreter(), "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return f"{version}{'' if interpreter() == sys.executable else ', of the distribution'}"


def _packages(environment: str, names: tuple[str, ...] | list[str]) -> str:
    command = [*UV, "pip", "freeze", "--python", str(BUILD / environment / "bin" / "python")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return ", ".join(line.replace("==", " ") for line in lines if line.partition("==")[0] in names)


def _first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("\n")[0]
