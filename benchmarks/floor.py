"""The import floor: what a run must import by its requirements, and nothing else."""

import httpx
import prometheus_client
import pydantic_settings
import pyotp
import structlog
import tenacity

__all__ = ["httpx", "prometheus_client", "pydantic_settings", "pyotp", "structlog", "tenacity"]
