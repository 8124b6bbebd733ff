"""Programs of the system that judge the runner; without one its tests are skipped here, and fail in CI."""

import os
import shutil

import pytest

PACKAGES = {
    "promtool": "prometheus",
    "dovecot": "dovecot-imapd",
    "systemd-analyze": "systemd",
    "node": "nodejs",
}  # Debian's, where named otherwise


def need(program: str) -> str:
    """The program's path. Skips the test where it is missing, with the line that installs it; fails it in CI."""
    path = shutil.which(program)
    if path is not None:
        return path
    how = f"{program} is not installed: apt-get install {PACKAGES.get(program, program)}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{how} (CI runs every test)")
    pytest.skip(how)
