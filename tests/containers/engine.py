"""Docker as the container tests use it: images, a sandbox to run against, and the runner as `docker run` starts it."""

import base64
import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

ROOT = Path(__file__).parents[2]
RUNNER = "sync-runner:test"
SANDBOX = "sync-runner-sandbox:test"
PUSHGATEWAY = "prom/pushgateway:v1.11.0"
PATIENCE = 90.0  # seconds for what is awaited by looking; far above what a slow machine needs

# What a careful operator gives every container.
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true")


@dataclass(frozen=True)
class Ended:
    """A container that has ended: its exit code and what it wrote."""

    code: int
    out: str
    lines: list[dict[str, Any]]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [line for line in self.lines if line["event"] == name]

    @property
    def told(self) -> str:
        """Every error it logged."""
        return "\n".join(str(line["error"]) for line in self.lines if "error" in line)


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The docker command line; what it wrote is in the error where it fails."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, cwd=ROOT)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def json_lines(text: str) -> list[dict[str, Any]]:
    """Standard error as log lines. Fails on one that is not a JSON object."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines


def awaited(what: str, poll: Callable[[], Any]) -> Any:
    """The first true answer of `look`. Fails when there is none within the patience."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if answer := poll():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for {what}")


def new_credentials() -> dict[str, str]:
    """A user's secrets, fresh."""
    return {
        "username": "demo",
        "password": f"pass word-{secrets.token_hex(8)}",
        "totp_seed": base64.b32encode(secrets.token_bytes(20)).decode(),
    }


def write_secrets(directory: Path, values: dict[str, str]) -> Path:
    """Secret files that any user of a container can read, as Compose mounts them."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (directory / name).write_text(value.removesuffix("\n") + "\n", encoding="utf-8")
        (directory / name).chmod(0o444)
    directory.chmod(0o755)
    return directory


@dataclass(frozen=True)
class Place:
    """A network of its own with a sandbox in it, and the secrets that the sandbox knows."""

    network: str
    secrets: Path
    credentials: dict[str, str]
    admin_token: str

    def options(self, secrets_dir: Path | None = None) -> list[str]:
        """`docker run` options for a runner here."""
        return [
            *("--network", self.network),
            *("--volume", f"{secrets_dir or self.secrets}:/run/secrets:ro"),
            *("--env", "SYNC_RUNNER_BASE_URL=http://sandbox:8001"),
            *("--env", "SYNC_RUNNER_TLS__ALLOW_HTTP=true"),
        ]

    def run(self, *arguments: str, options: Sequence[str] = (), secrets_dir: Path | None = None) -> Ended:
        """One runner to its end, hardened. No secret may show in anything it writes."""
        done = docker(
            "run", "--rm", *HARDENED, *self.options(secrets_dir), *options, RUNNER, *arguments, check=False
        )  # fmt: skip
        for secret in (self.credentials["password"], self.credentials["totp_seed"]):
            assert secret not in done.stdout + done.stderr
        return Ended(done.returncode, done.stdout, json_lines(done.stderr))

    def python(self, code: str) -> str:
        """What a Python program prints that runs in this network."""
        return docker("run", "--rm", "--network", self.network, "--entrypoint", "python", RUNNER, "-c", code).stdout

    def admin(self, path: str, body: dict[str, str] | None = None) -> None:
        """Have the sandbox do something."""
        request = f"r.Request('http://sandbox:8001/admin/{path}', {json.dumps(body or {}).encode()!r})"
        header = f"q.add_header('Authorization', 'Bearer {self.admin_token}')"
        self.python(f"import urllib.request as r; q = {request}; {header}; r.urlopen(q, timeout=20)")

    def fetch(self, url: str) -> str:
        """An answer's body, as somebody in this network gets it."""
        return self.python(f"import urllib.request as r; print(r.urlopen({url!r}, timeout=20).read().decode(), end='')")


@contextlib.contextmanager
def place(
    directory: Path,
    *sandbox_options: str,
    credentials: dict[str, str] | None = None,
    mounts: Mapping[Path, str] | None = None,
) -> Iterator[Place]:
    """A sandbox in a network without a way out, for as long as the block lasts. Its log lines are checked too.

    `mounts` are more directories for the sandbox to read, and where.
    """
    credentials = credentials or new_credentials()
    mounted = write_secrets(directory / "secrets", credentials)
    with Network(docker_network_kw={"internal": True}) as network:
        sandbox = (
            DockerContainer(SANDBOX)
            .with_network(network)
            .with_network_aliases("sandbox")
            .with_volume_mapping(str(mounted), "/run/secrets", "ro")
            .with_command(
                [
                    *("sandbox", "--host=0.0.0.0", "--kdf=fast", "--print-credentials"),
                    *("--username", credentials["username"]),
                    *("--password-file=/run/secrets/password", "--totp-seed-file=/run/secrets/totp_seed"),
                    *sandbox_options,
                ]
            )
            .with_tmpfs_mount("/tmp")
            .with_kwargs(read_only=True, cap_drop=["ALL"])
            .waiting_for(LogMessageWaitStrategy("sandbox.serving"))
        )
        for path, where in (mounts or {}).items():
            sandbox.with_volume_mapping(str(path), where, "ro")
        with sandbox:
            printed = json.loads(sandbox.get_logs()[0])
            yield Place(network.name, mounted, credentials, printed["admin_token"])
            json_lines(sandbox.get_logs()[1].decode())


@contextlib.contextmanager
def pushgateway_in(where: Place) -> Iterator[str]:
    """A Pushgateway in the sandbox's network; its address."""
    container = docker(
        "run", "--detach", "--network", where.network, "--network-alias", "pushgateway", PUSHGATEWAY
    ).stdout.strip()  # fmt: skip
    try:
        yield "http://pushgateway:9091"
    finally:
        docker("rm", "--force", "--volumes", container)


def last_successes(where: Place, gateway: str) -> dict[str, str]:
    """When each sync type last completed, as the Pushgateway tells."""
    lines = where.fetch(f"{gateway}/metrics").splitlines()
    found = [line for line in lines if line.startswith("sync_runner_last_success_timestamp_seconds{")]
    return {line.split('sync_type="')[1].split('"')[0]: line.split()[-1] for line in found}


def kubernetes_layout(directory: Path, files: dict[str, str]) -> Path:
    """Files as Kubernetes mounts a Secret or ConfigMap: links into `..data`, itself a link to a dated directory.

    A name may have a folder; the link is then the folder's. A second call rotates: `..data` changes at once.
    """
    number = len(list(directory.glob("..2*")))
    version = f"..2026_01_31_06_00_00.12345678{number}"
    for name, value in files.items():
        path = directory / version / name
        write_secrets(path.parent, {path.name: value})
    (directory / version).chmod(0o755)
    (directory / "..data_tmp").symlink_to(version)
    (directory / "..data_tmp").rename(directory / "..data")
    for name in {name.split("/")[0] for name in files}:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    return directory
