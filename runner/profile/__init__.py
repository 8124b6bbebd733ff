"""Profiles: how one API spells login, trigger and status, as data. No API has code of its own.

`models` says what a profile is, `loading` reads and checks files, `reading` reads answers. Nothing here sends anything.
"""

from runner.profile.loading import built_ins, load, locate, parse, schema
from runner.profile.models import Profile

__all__ = ["Profile", "built_ins", "load", "locate", "parse", "schema"]
