"""Profiles: describe login, trigger and status of one API, as data. No API has its own code.

`models` defines a profile, `loading` reads and validates files, `extraction` reads responses. Nothing here sends requests.
"""

from runner.profile.loading import built_ins, load, locate, parse, schema, validate
from runner.profile.models import Profile

__all__ = ["Profile", "built_ins", "load", "locate", "parse", "schema", "validate"]
