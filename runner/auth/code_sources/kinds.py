"""The built-in code sources, and the lookup of others. A source is loaded only when it is named."""

import importlib

from runner.auth.code_sources.interface import CodeOptions, CodeSource
from runner.errors import RunnerError, UsageError

GROUP = "sync_runner.code_sources"  # the entry points of other packages
KINDS = {
    "totp": "totp:totp_source",
    "hotp": "hotp:hotp_source",
    "command": "command:command_source",
    "imap": "imap:imap_source",
    "person": "person:person_source",
}


def open_source(options: CodeOptions) -> CodeSource:
    """Returns the source that `code.source` names. Nothing is sent or started. Raises UsageError or SecretError."""
    name = options.settings.source
    if name in KINDS:
        module, _, function = KINDS[name].partition(":")
        made: CodeSource = getattr(importlib.import_module(f"runner.auth.code_sources.{module}"), function)(options)
        return made
    return _external(name, options)


def _external(name: str, options: CodeOptions) -> CodeSource:
    from importlib.metadata import entry_points

    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join([*KINDS, *sorted(entry_points(group=GROUP).names)])
        raise UsageError(
            f"code.source: unknown source `{name}` (known: {known}); use one of them, or install the package that "
            f"provides it (entry points of `{GROUP}`)"
        )
    try:
        made: CodeSource = found[0].load()(options)
    except RunnerError:
        raise
    except Exception as error:  # noqa: BLE001 - another's package: whatever it raises is no defect of ours
        raise UsageError(f"code.source: {found[0].value} cannot be used ({type(error).__name__})") from None
    return made
