"""A project of compose.yaml, as a user starts it."""

import os
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.containers.engine import ROOT, docker, json_lines
from tests.support.monitoring import Prometheus


@dataclass(frozen=True)
class Project:
    """One Compose project of its own name, on a free port; `files` come on top of compose.yaml."""

    name: str
    files: tuple[str, ...] = ()

    def compose(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`docker compose` with the words given."""
        surroundings = os.environ | {"PROMETHEUS_PORT": "0"} | environment
        files = [word for file in ("compose.yaml", *self.files) for word in ("--file", file)]
        return subprocess.run(
            ["docker", "compose", "--project-name", self.name, *files, *words],
            capture_output=True, text=True, check=False, cwd=ROOT, env=surroundings,
        )  # fmt: skip

    def log_lines(self, service: str) -> list[dict[str, Any]]:
        """What a service wrote, each line a JSON object."""
        logged = docker("logs", self.compose("ps", "--all", "--quiet", service).stdout.strip())
        return json_lines(logged.stdout + logged.stderr)

    def prometheus(self) -> Prometheus:
        """The project's Prometheus, once it is up."""
        return Prometheus(f"http://{self.compose('port', 'prometheus', '9090').stdout.strip()}")
