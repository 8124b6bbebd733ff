"""Secrets that systemd passes to its service (`LoadCredential=`): files below `$CREDENTIALS_DIRECTORY`."""

from collections.abc import Mapping
from pathlib import Path

from runner.secrets.files import FileSource
from runner.secrets.interface import Warn


def systemd_source(environment: Mapping[str, str], warn: Warn) -> FileSource | None:
    """Returns the source, where systemd provides credentials."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    return FileSource(Path(directory), warn) if directory else None
