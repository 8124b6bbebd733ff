"""Reads secrets from their sources in order. Stores and shows none."""
# Decision 0003.

from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.errors import SecretError, UsageError
from runner.secrets.environment import EnvironmentSource
from runner.secrets.files import FileSource
from runner.secrets.interface import SecretSource, SourceOptions, Warn
from runner.secrets.systemd import systemd_source

GROUP = "sync_runner.secret_sources"
NAMES = frozenset({"username", "client_id"})  # which are not secrets
HIDDEN_IN_PARTS, HIDDEN_WHOLE = 8, 4  # minimum bytes for it, the same as in `events.redaction`: a test checks that


def sources(options: SourceOptions, named: Sequence[str] = ()) -> list[SecretSource]:
    """Returns every source, highest precedence first: variables, the directory, systemd's directory, then the external
    ones.

    An external source is an entry point of the group `sync_runner.secret_sources`: a function of SourceOptions. Raises
    UsageError for a name that no installed package provides.
    """
    found: list[SecretSource] = [
        EnvironmentSource(options.environment, options.warn),
        FileSource(options.directory, options.warn),
    ]
    systemd = systemd_source(options.environment, options.warn)
    if systemd is not None:
        found.append(systemd)
    found.extend(_external(name, options) for name in named)
    return found


def _external(name: str, options: SourceOptions) -> SecretSource:
    from importlib.metadata import entry_points

    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise UsageError(
            f"secret_sources: unknown source `{name}` (entry points of `{GROUP}`: {known}); install the package "
            "that provides it"
        )
    made: SecretSource = found[0].load()(options)
    return made


class SecretReader:
    """Finds secrets by name, in the order of `sources`."""

    def __init__(
        self,
        directory: Path,
        *,
        environment: Mapping[str, str],
        use_environment: bool = True,
        warn: Warn,
        named: Sequence[str] = (),
    ) -> None:
        """`warn` receives a secret's name and a warning. Without `use_environment`, variables and systemd are ignored."""
        self._has_environment = bool(use_environment and environment)
        self._warn = warn
        self._sources = sources(SourceOptions(directory, environment if use_environment else {}, warn), named)

    def read(self, name: str) -> str | None:
        """Returns the secret, or None where no source has it. Raises SecretError for an unusable one."""
        found = next((value for source in self._sources if (value := source.read(name)) is not None), None)
        if found is not None and name not in NAMES:
            self._warn_of_short(name, found)
        return found

    def _warn_of_short(self, name: str, secret: str) -> None:
        length = len(secret.strip().encode(errors="surrogatepass"))
        if length < HIDDEN_WHOLE:
            self._warn(name, f"fewer than {HIDDEN_WHOLE} bytes: too short to redact, since it may be an ordinary word")
        elif length < HIDDEN_IN_PARTS:
            self._warn(name, f"fewer than {HIDDEN_IN_PARTS} bytes: it is redacted as a whole only; choose a longer one")

    def place(self, name: str) -> str | None:
        """Returns where the secret is, without reading it; None where no source has it."""
        return next((place for source in self._sources if (place := source.place(name)) is not None), None)

    def require(self, name: str) -> str:
        """Returns the secret. Raises SecretError that lists where it was searched."""
        value = self.read(name)
        if value is None:
            variable, *places = (source.looked_at(name) for source in self._sources)
            also = f" or set {variable}" if self._has_environment else ""
            raise SecretError(
                f"{name}: no such secret (searched {', '.join(places)}); mount the file there, give --secrets-dir{also}"
            )
        return value
