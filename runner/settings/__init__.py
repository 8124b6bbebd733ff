"""The settings: one model, from command line, environment and file.

`values` parses single values, `sections` and `model` define the keys, and `loading` reads their sources.
Secrets are not settings: the model only holds their location (`runner/secrets/reader.py` reads them).
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
