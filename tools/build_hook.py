"""What happens when the wheel is built, or the package is installed for development: built-in profiles are precompiled."""

import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PrecompileProfiles(BuildHookInterface[Any]):
    """Writes `runner/profile/builtin/*.json`, which the repository does not hold."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Before the files are gathered. Raises UsageError for a profile that is not valid."""
        sys.path.insert(0, self.root)
        from runner.profile.loading import precompile

        precompile()
