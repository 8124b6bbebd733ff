"""The interface of a source of secrets. One module here per kind: environment, files, systemd.

`reader.sources` defines their order.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from runner.frozen import Frozen

Warn = Callable[[str, str], None]  # a secret's name, and the warning


class SecretSource(Protocol):
    """Looks up secrets by name. Never stores or shows one."""

    def place(self, name: str) -> str | None:
        """Returns the secret's location, such as a path; None where this source does not have it. Does not read it."""
        ...

    def read(self, name: str) -> str | None:
        """Returns the secret; None where this source does not have it. Raises SecretError, which never shows its content."""
        ...

    def looked_at(self, name: str) -> str:
        """Returns where this source looks for it, for the message that it is missing."""
        ...


class SourceOptions(Frozen):
    """What a source may use: the account's secrets directory, and the account's environment."""

    directory: Path
    environment: Mapping[str, str]
    warn: Warn
