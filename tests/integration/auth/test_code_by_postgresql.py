"""A code from a person to a run that waits on another machine: through PostgreSQL, encrypted there."""

import base64
import time

import pytest

from runner.auth import totp
from tests.support.command_line import PATIENCE, CommandLine, Running
from tests.support.postgresql import PASSWORD, Server

pytestmark = pytest.mark.xdist_group("postgresql")


def test_a_code_goes_through_the_database_to_the_run_that_waits(cli: CommandLine, database: Server) -> None:
    for name, secret in (("state_password", PASSWORD), ("state_key", base64.b64encode(b"k" * 32).decode())):
        (cli.secrets / name).write_text(secret, encoding="utf-8")
        (cli.secrets / name).chmod(0o600)
    options = [word for word in cli.options() if word not in ("--state-dir", str(cli.state))]
    options += ["--set", f"state.url={database.url}", "--set", "code.source=person"]
    run = Running([*options, "run", "health"], {})
    seed = totp.parse_seed(cli.server.credentials["totp_seed"])
    end = time.monotonic() + PATIENCE
    while True:
        number = totp.code(seed, totp.step_at(seed, time.time()))
        handed = Running([*options, "submit-code", number], {}).finish()
        if handed.code == 0:
            break
        assert handed.code == 2 and time.monotonic() < end, handed.stderr
    ended = run.finish()
    assert ended.code == 0, ended.stderr
    assert [line["received"] for line in ended.events("login.code_wait_ended")] == [True]
    assert Running([*options, "run", "health"], {}).finish().events("session.reused")
