"""Secrets from variables: SYNC_RUNNER_X_FILE names a file; SYNC_RUNNER_X holds the secret itself, with a warning."""

from collections.abc import Mapping
from pathlib import Path

from runner.errors import SecretError
from runner.secrets.files import checked, read_file
from runner.secrets.interface import Warn

_PREFIX = "SYNC_RUNNER_"


class EnvironmentSource:
    """Secrets of the process's environment."""

    def __init__(self, environment: Mapping[str, str], warn: Warn) -> None:
        """Empty variables count as not set."""
        self._environment = environment
        self._warn = warn

    def place(self, name: str) -> str | None:
        """Returns the variable that is set."""
        variable = self._variable(name)
        return next((one for one in (f"{variable}_FILE", variable) if self._environment.get(one)), None)

    def read(self, name: str) -> str | None:
        """Returns the content of the named file, or the variable's value."""
        variable = self._variable(name)
        file, value = self._environment.get(f"{variable}_FILE"), self._environment.get(variable)
        if file and value:
            raise SecretError(f"{name}: both {variable} and {variable}_FILE are set; keep one, preferably the file")
        if file:
            return read_file(name, Path(file), self._warn)
        if not value:
            return None
        self._warn(name, f"{variable} is in the environment, which other processes may read; use {variable}_FILE")
        return checked(value, variable)

    def looked_at(self, name: str) -> str:
        """The variable that names a file."""
        return f"{self._variable(name)}_FILE"

    def _variable(self, name: str) -> str:
        return f"{_PREFIX}{name.upper()}"
