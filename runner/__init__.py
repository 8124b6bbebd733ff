"""sync-runner: logs in with a password and a one-time code, runs sync jobs to completion, reports and exits."""

__version__ = "0.1.0"
REPOSITORY = "https://github.com/OWNER/sync-runner"  # written by tools/address.py from pyproject.toml
