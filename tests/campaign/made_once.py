"""What is the same in each of many runs within one process: made once, which is half of the time of a short run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

from runner import parser
from runner import profile as profiles
from runner.clock import Clock
from runner.commands import run as run_command
from runner.engine import account as engine_account
from runner.engine import each_account
from runner.http.client import tls_context
from runner.profile.models import Profile
from runner.settings import Settings

_DEFAULT = Settings.model_fields["profile"].default
_load = profiles.load
_default_profile = cache(_load)


def _profile(name: str) -> Profile:
    return _default_profile(name) if name == _DEFAULT else _load(name)  # a file's text may have changed


_MADE: tuple[tuple[Any, str, Any], ...] = (
    (parser, "build", cache(parser.build)),
    (profiles, "load", _profile),
    (engine_account, "tls_context", cache(tls_context)),  # the trusted authorities
)


@contextmanager
def quick_runs(clock: Clock) -> Iterator[None]:
    """Within this block commands have `clock` for theirs, and make nothing anew that is the same each time."""
    with ExitStack() as stack:
        for module, name, value in _MADE:
            stack.enter_context(mock.patch.object(module, name, value))
        for module in (run_command, each_account):
            stack.enter_context(mock.patch.object(module, "SystemClock", lambda: clock))
        yield
