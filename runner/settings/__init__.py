"""The settings: one model, from command line, environment and file.

`values` says what single values look like, `sections` and `model` which keys there are, `loading` where they come from.
Secrets are not settings: the model only says where they are (`runner/secrets/reader.py` reads them).
"""

from runner.settings.loading import Loaded, load
from runner.settings.model import ENV_PREFIX, SECRET_NAMES, Settings
from runner.settings.sections import (
    DeadlineSettings,
    LogSettings,
    MetricsSettings,
    NotifySettings,
    OtlpSettings,
    PingKind,
    PushgatewaySettings,
    SyncSettings,
)
from runner.settings.values import WEBHOOK_VALUES, parse_duration

__all__ = [
    "ENV_PREFIX", "SECRET_NAMES", "WEBHOOK_VALUES", "DeadlineSettings", "Loaded", "LogSettings", "MetricsSettings",
    "NotifySettings", "OtlpSettings", "PingKind", "PushgatewaySettings", "Settings", "SyncSettings", "load", "parse_duration",
]  # fmt: skip
