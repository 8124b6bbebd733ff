"""Secrets that systemd hands to its service (`LoadCredential=`): files below `$CREDENTIALS_DIRECTORY`."""

from collections.abc import Mapping
from pathlib import Path

from runner.secrets.files import FileSource
from runner.secrets.interface import Warn


def systemd_source(environment: Mapping[str, str], warn: Warn) -> FileSource | None:
    """The source, where systemd gives credentials."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    return FileSource(Path(directory), warn) if directory else None
