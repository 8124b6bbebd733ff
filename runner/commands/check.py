"""`check`: configuration, secrets, reachability and login, told line by line; triggers nothing."""

import argparse
import sys
import time

from runner.engine.each_account import Visit, visit_each
from runner.errors import RunnerError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--no-login", action="store_true", help="check configuration and secrets only; sends nothing")


def execute(arguments: argparse.Namespace) -> int:
    """Check every account; the exit code is that of the first kind of failure a run would meet."""

    async def work(visit: Visit) -> None:
        _say(f"{visit.account.name}: configuration and secrets are usable")
        stored = await visit.account.provider.read_state(visit.deadline)
        remaining = stored.cooldown_until - time.time()
        if remaining > 0:
            _say(
                f"{visit.account.name}: cool-down for another {remaining:.0f} s after {stored.failures} refused logins"
            )
        if arguments.no_login:
            return
        if visit.account.provider.static:
            _say(f"{visit.account.name}: {await _accepted(visit)}")
            return
        try:
            session = await visit.account.provider.session(visit.deadline, visit.observer)
        except RunnerError:
            _say(f"{visit.account.name}: no session; the log says why")
            raise
        skew = visit.account.provider.stored.skew
        _say(f"{visit.account.name}: logged in" + (" with a one-time code" if session.token.mfa_verified else ""))
        _say(f"{visit.account.name}: clock skew to the API {skew:+.1f} s")

    return visit_each(arguments, work)


async def _accepted(visit: Visit) -> str:
    """Whether the API takes secrets that go with each request: by a listing, which changes nothing, where it has one."""
    if visit.account.api.profile.recent is None:
        return "this API has no login; only a sync tells whether it accepts the secrets"
    await visit.account.api.recent(1, visit.deadline, visit.observer)
    return "the API accepts the secrets"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
