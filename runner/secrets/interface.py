"""What a source of secrets must offer. One file beside this one for each kind: environment, files, systemd.

The order in which they are asked is said once, in `reader.sources`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from runner.frozen import Frozen

Warn = Callable[[str, str], None]  # a secret's name, and what is wrong with how it is given


class SecretSource(Protocol):
    """A place where secrets are looked up by name. Never keeps or shows one."""

    def place(self, name: str) -> str | None:
        """Where the secret is, such as a path; None where this source does not have it. Does not read it."""
        ...

    def read(self, name: str) -> str | None:
        """The secret; None where this source does not have it. Raises SecretError, which never shows its content."""
        ...

    def looked_at(self, name: str) -> str:
        """Where this source looks for it, for the message that it is missing."""
        ...


class SourceOptions(Frozen):
    """What a source may need: the account's secrets directory, and the environment that counts for the account."""

    directory: Path
    environment: Mapping[str, str]
    warn: Warn
