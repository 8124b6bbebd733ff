"""A real Dovecot with TLS and one mailbox, for this test alone."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.programs import need

USER, PASSWORD = "runner@example.org", 'pass word "with" \\ and ä'


class Dovecot:
    """Serves one Maildir over IMAPS on a free port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.maildir = home / "mail"
        for part in ("cur", "new", "tmp"):
            (self.maildir / part).mkdir(parents=True)
        self.ca_file = home / "cert.pem"
        subprocess.run(
            [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
             "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            cwd=home, check=True, capture_output=True,
        )  # fmt: skip
        self.port = free_port()
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Dovecot":
        configuration = self.home / "dovecot.conf"
        configuration.write_text(self._configuration(), encoding="utf-8")
        (self.home / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n", encoding="utf-8")
        # Dovecot's processes run as other users, and must get through to the directory.
        self.home.chmod(0o755)
        subprocess.run(["chown", "-R", "nobody", str(self.maildir)], check=True)
        self._process = subprocess.Popen([need("dovecot"), "-F", "-c", str(configuration)], start_new_session=True)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise AssertionError((self.home / "log").read_text(encoding="utf-8"))

    def __exit__(self, *_error: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within, no process of it answers."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _configuration(self) -> str:
        home = self.home
        return f"""
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{home}/cert.pem
ssl_key = <{home}/key.pem
auth_mechanisms = plain login
mail_location = maildir:{self.maildir}
first_valid_uid = 1
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {self.port}
  }}
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {home}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={home}/mail
}}
"""

    def deliver(
        self, text: str, *, sender: str = "login@example.org", subject: str = "Your code", kind: str = "plain"
    ) -> None:
        """One more message, as a mail server leaves it."""
        self._count += 1
        name = f"{time.time():.6f}.{self._count}.test"
        path = self.maildir / "tmp" / name
        path.write_text(
            f"From: The service <{sender}>\nTo: {USER}\nSubject: {subject}\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n"
            f"MIME-Version: 1.0\nContent-Type: text/{kind}; charset=utf-8\n\n{text}\n",
            encoding="utf-8",
        )
        path.rename(self.maildir / "new" / name)

    def seen(self) -> list[str]:
        """The bodies of the messages that are marked as seen."""
        paths = (self.maildir / "cur").iterdir()
        return [
            path.read_text(encoding="utf-8").partition("\n\n")[2].strip()
            for path in paths
            if "S" in path.name.partition(":2,")[2]
        ]

    @property
    def count(self) -> int:
        """How many messages there are."""
        return sum(1 for part in ("new", "cur") for _ in (self.maildir / part).iterdir())
