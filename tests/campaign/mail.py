"""How long after an e-mail is sent its code has logged in, with a real Dovecot over TLS.

`python -m tests.campaign.mail [code rounds=20]`. The message is sent when the API has the password, as services do.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from runner.auth import totp
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.campaign.figures import Figures, main
from tests.support.command_line import CommandLine, Running
from tests.support.dovecot import PASSWORD, USER, Dovecot


def _seconds(mail: Dovecot) -> float:
    """From the moment at which the message is there to the API's answer to its code."""
    with tempfile.TemporaryDirectory() as home, SandboxServer(SandboxSettings(port=0, kdf="fast")) as server:
        cli = CommandLine(server, Path(home))
        (cli.secrets / "imap_password").write_text(PASSWORD, encoding="utf-8")
        (cli.secrets / "imap_password").chmod(0o600)
        wanted = (
            "source=imap", "imap.host=localhost", f"imap.port={mail.port}", f"imap.username={USER}",
            f"imap.ca_file={mail.ca_file}", "imap.subject=your code",
        )  # fmt: skip
        run = cli.start(*(word for one in wanted for word in ("--set", f"code.{one}")), "login")
        _until(run, lambda: _logins(cli))
        seed = totp.parse_seed(server.credentials["totp_seed"])
        mail.deliver(f"Your code: {totp.code(seed, totp.step_at(seed, time.time()))}")
        sent = time.monotonic()
        _until(run, lambda: len(_logins(cli)) > 1)
        took = time.monotonic() - sent
        ended = run.finish()
        assert (ended.code, ended.events("session.started")[0]["mfa"]) == (0, True), ended.stderr
        return took


def _until(run: Running, met: Callable[[], object]) -> None:
    while not met() and run.process.poll() is None:
        time.sleep(0.01)


def _logins(cli: CommandLine) -> list[int]:
    return [one["status"] for one in list(cli.server.sandbox.record) if one["endpoint"] == "login"]


def code(rounds: int = 20) -> Figures:
    """Median and longest time, in seconds."""
    # Dovecot's processes run as other users, so not below the campaign's own directory.
    with tempfile.TemporaryDirectory(prefix="dovecot-", dir="/tmp") as home, Dovecot(Path(home)) as mail:
        took = [_seconds(mail) for _ in range(rounds)]
    assert max(took) < 5, took
    return {"rounds": rounds, "median": round(statistics.median(took), 2), "longest": round(max(took), 2)}


if __name__ == "__main__":
    main({"code": code}, __doc__)
