"""The built-in profiles as JSON, validated when the package is built, so that start-up needs neither YAML nor
validation.

The YAML files are the source. Each JSON file names the text and the models that it was built from, and is valid only for
these; where it is missing or stale, the YAML is read, which takes a tenth of the start-up time (decision 0052).
"""

import hashlib
import json
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from runner.profile.models import Profile


def read(path: Path) -> Profile | None:
    """Returns the profile of a built-in YAML file, from the JSON next to it; None where that is stale or missing."""
    try:
        made = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return None
    return _made(Profile, made["profile"]) if made["made_of"] == _fingerprint(path) else None


def text(path: Path, profile: Profile) -> str:
    """Returns the JSON for the YAML file of `profile`."""
    whole = profile.model_dump(mode="json", by_alias=True)
    return json.dumps({"made_of": _fingerprint(path), "profile": whole}, indent=1) + "\n"


def _fingerprint(path: Path) -> str:
    models = [
        Path(__file__).with_name(name)
        for name in ("models.py", "auth_models.py", "output_models.py", "listings.py", "parts.py")
    ]
    return hashlib.sha256(b"".join(one.read_bytes() for one in (path, *models))).hexdigest()


def _made(kind: Any, value: Any) -> Any:
    """Converts a JSON `value` to the type of its field."""
    if value is None:
        return None
    inner = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            return _made(inner[0], value)
        case origin if origin in (Union, UnionType):
            return _made(next(one for one in inner if one is not NoneType), value)
        case origin if origin is tuple:
            return tuple(_made(inner[0], one) for one in value)
        case origin if origin is dict:
            return {_made(inner[0], key): _made(inner[1], one) for key, one in value.items()}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields.items()
        return kind.model_construct(**{name: _made(one.annotation, value[one.alias or name]) for name, one in fields})
    return kind(value) if isinstance(kind, type) and issubclass(kind, Enum) else value
