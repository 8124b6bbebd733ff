"""Builds the effective settings from parsed arguments; the command line has the highest precedence."""

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.settings import Loaded, load

_PLACES = {
    "base_url": "base_url",
    "profile": "profile",
    "secrets_dir": "secrets_dir",
    "state_dir": "state.dir",
    "log_format": "log.format",
    "log_level": "log.level",
    "report": "report.file",
    "concurrency": "concurrency",
    "on_failure": "on_failure",
    "shard": "shard",
    "failed_in": "select.failed_in",
}


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that the command line gives, nested. Raises UsageError for a --set without `=`."""
    found: dict[str, Any] = {}
    for pair in chain.from_iterable(getattr(arguments, name, None) or () for name in ("set", "set_after")):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError("--set: give KEY=VALUE, such as --set deadline.run=30m")
        _put(found, key, value)
    for flag, key in _PLACES.items():
        value = getattr(arguments, flag, None)
        if value is not None:
            _put(found, key, value)
    accounts = [*(getattr(arguments, "account", None) or ()), *(getattr(arguments, "account_after", None) or ())]
    if accounts:
        _put(found, "select.accounts", accounts)
    if getattr(arguments, "only_failed", None):
        _put(found, "select.only_failed", True)
    if getattr(arguments, "no_progress", None):
        _put(found, "log.progress", "never")
    if getattr(arguments, "verbose", None):
        _put(found, "log.level", "debug")
    if getattr(arguments, "quiet", None):
        _put(found, "log.level", "warning")
        _put(found, "log.progress", "never")
    return found


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.replace("-", "_").split(".")
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise UsageError(f"--set {key}: `{section}` is a value, not a section")
    target[last] = value


def loaded(
    arguments: argparse.Namespace, more: dict[str, Any] | None = None, weakest: dict[str, Any] | None = None
) -> Loaded:
    """Returns the effective settings; `more` has the highest precedence, `weakest` the lowest. Raises UsageError."""
    config: Path | None = getattr(arguments, "config", None)
    return load({**overrides(arguments), **(more or {})}, config, weakest)


def params(given: Sequence[str]) -> dict[str, str]:
    """Returns the parameters of `--param KEY=VALUE`. Raises UsageError for one without `=`."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError("--param: give KEY=VALUE, such as --param deployment=nightly")
        found[key] = value
    return found
