"""A PostgreSQL server and a PgBouncer of the test's own, run as an unprivileged user in a temporary directory."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port

PASSWORD = "the-databases-password"
_MISSING = "PostgreSQL is missing: apt-get install postgresql pgbouncer; pip install 'psycopg[binary]'"


def _find(name: str) -> str | None:
    """A program's path; PostgreSQL's own stand in a directory of their version."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def program(name: str) -> str:
    """As `_find`; skips the test where it is missing, and fails it in CI."""
    found = _find(name)
    if found is None or importlib.util.find_spec("psycopg") is None:
        if os.environ.get("CI"):
            pytest.fail(_MISSING)
        pytest.skip(_MISSING)
    return found


def _unprivileged() -> list[str]:
    """What runs a command as another user: PostgreSQL does not start as root."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


@dataclass
class Server:
    """A running server, or one that was stopped."""

    command: list[str]
    port: int
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """The address for `state.url`."""
        return f"postgresql://runner@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        with (self.directory / f"log-{self.port}").open("ab") as log:
            self.process = subprocess.Popen([*_unprivileged(), *self.command], stdout=log, stderr=log, cwd="/")
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return
            if self.process.poll() is not None:
                raise AssertionError((self.directory / f"log-{self.port}").read_text())
            time.sleep(0.05)
        raise AssertionError("PostgreSQL does not start")

    def stop(self) -> None:
        """Stop at once, as a server that loses its power, but for what is on disk."""
        if self.process is not None:
            self.process.terminate() if "pgbouncer" in self.command[0] else self.process.send_signal(3)
            self.process.wait(30)
            self.process = None

    def sql(self, statement: str) -> str:
        """What psql prints for a statement."""
        command = [
            program("psql"),
            "-h",
            self.host,
            "-p",
            str(self.port),
            "-U",
            "runner",
            "-At",
            "-c",
            statement,
            "postgres",
        ]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def _hand_over(directory: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)


@contextmanager
def postgresql(host: str = "127.0.0.1", connections: int = 300) -> Iterator[Server]:
    """A server at `host` with the user `runner`, who needs PASSWORD, and room for so many connections."""
    initdb, postgres = program("initdb"), program("postgres")
    with tempfile.TemporaryDirectory(prefix="sync-runner-postgresql-", dir="/tmp") as name:
        directory = Path(name)
        _hand_over(directory)
        server = _made(directory, initdb, postgres, host, connections)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _made(directory: Path, initdb: str, postgres: str, host: str, connections: int) -> Server:
    password = directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    data = directory / "data"
    command = [initdb, "-D", str(data), "-U", "runner", "-A", "scram-sha-256", "--pwfile", str(password), "-N"]
    made = subprocess.run([*_unprivileged(), *command], capture_output=True, text=True, cwd="/")
    assert made.returncode == 0, made.stdout + made.stderr
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    port = free_port()
    quick = ["-c", "fsync=off", "-c", f"unix_socket_directories={directory}", "-c", f"max_connections={connections}"]
    return Server([postgres, "-D", str(data), "-p", str(port), "-h", host, *quick], port, directory, host=host)


@contextmanager
def pgbouncer(server: Server, connections: int = 5) -> Iterator[Server]:
    """A PgBouncer in transaction mode before the server."""
    port, directory = free_port(), server.directory
    verifier = server.sql(
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'runner'"
    )  # as its auth_query would have it
    (directory / "users.txt").write_text(f'"runner" "{verifier}"\n')
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\nlisten_addr={server.host}\nlisten_port={port}\n"
        f"auth_type=scram-sha-256\nauth_file={directory}/users.txt\npool_mode=transaction\n"
        f"default_pool_size={connections}\nmax_client_conn=1000\nunix_socket_dir=\n"
    )
    for name in ("users.txt", "pgbouncer.ini"):
        (directory / name).chmod(0o644)
    bouncer = Server([program("pgbouncer"), str(directory / "pgbouncer.ini")], port, directory, host=server.host)
    bouncer.start()
    try:
        yield bouncer
    finally:
        bouncer.stop()
