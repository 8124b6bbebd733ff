"""What happens when the wheel is built, or the package is installed for development: built-in profiles are precompiled, and the
console script's module gets its name."""

import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PrecompileProfiles(BuildHookInterface[Any]):
    """Writes `runner/profile/builtin/*.json`, which the repository does not hold, and `sync_runner.py`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the files are gathered. Raises UsageError for a profile that is not valid."""
        sys.path.insert(0, self.root)
        from runner.profile.loading import precompile

        precompile()
        if self.target_name == "wheel":
            module = {f"{self.root}/runner/console_script.py": "sync_runner.py"}
            build_data["force_include_editable" if version == "editable" else "force_include"].update(module)
