"""Finds, reads and validates a profile's file. Every fault is a UsageError that names file, line and key."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from runner import yaml_source
from runner.errors import UsageError, nearest
from runner.external import show
from runner.profile import precompiled
from runner.profile.models import Login, Profile
from runner.reading import in_time
from runner.yaml_source import Document, Place

BUILT_IN = Path(__file__).parent / "builtin"
Kind = TypeVar("Kind", Profile, Login)
LOGINS = Path(__file__).parent / "logins"


def load(name: str) -> Profile:
    """Returns the built-in profile `name`, or the one in the file. Raises UsageError with file, line and key."""
    path = locate(name)
    made = precompiled.read(path) if path.parent == BUILT_IN else None
    return made or parse(yaml_source.read(path))


def precompile() -> None:
    """Writes the JSON of every built-in profile next to its YAML: when the package is built (`tools/build_hook.py`)."""
    for path in BUILT_IN.glob("*.yaml"):
        path.with_suffix(".json").write_text(precompiled.text(path, parse(yaml_source.read(path))), encoding="utf-8")


def validate(name: str) -> None:
    """Raises UsageError, one line per fault, for a file that is no valid profile."""
    path = locate(name)
    doc = yaml_source.read(path)
    if doc.data.keys() & {"openapi", "swagger"}:
        raise UsageError(
            f"{path}: an OpenAPI document, not a profile; `sync-runner profiles new` drafts a profile from it"
        )
    parse(doc)


def load_login(name: str) -> Login:
    """Returns the built-in login `name`, or the one in the file. Raises UsageError with file, line and key."""
    return _parsed(Login, yaml_source.read(locate(name, LOGINS, "login")))


def locate(name: str, folder: Path = BUILT_IN, kind: str = "profile") -> Path:
    """Returns the file of a profile or login. Raises UsageError naming the built-in ones."""
    built_in, path = folder / f"{name}.yaml", Path(name)
    try:
        if "/" not in name and built_in.is_file():
            return built_in
        if in_time(path.is_file):
            return path
        why = "not a regular file" if path.exists() else "no such file"
    except OSError as error:  # another user's directory, a name too long
        why = error.strerror or "cannot be read"
    shown, near = show(name, 200), nearest(name, built_ins(folder))
    hint = f"; did you mean `{near}`?" if near else "; give a name or the path of its YAML file"
    raise UsageError(
        f"{kind} `{shown}`: neither a built-in {kind} ({', '.join(built_ins(folder))}) nor a file ({why}){hint}"
    )


def built_ins(folder: Path = BUILT_IN) -> list[str]:
    """Returns the names of the built-in profiles (or logins)."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of a profile, for editors; only `parse` checks consistency."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Profile.model_json_schema()}
    required = [name for name in found["required"] if name != "auth"]
    one_of = [{"required": ["auth"]}, {"required": ["login"]}]
    return found | {"title": "Profile of sync-runner", "required": required, "oneOf": one_of}


def parse(doc: Document) -> Profile:
    """Parses the profile in a document. Raises UsageError, one line per fault, with file, line and key."""
    return _parsed(Profile, _with_login(doc))


def _with_login(doc: Document) -> Document:
    """Returns the document with the login that it names (`login`) in place of its own `auth`, and with its parameters."""
    data = doc.data
    if not isinstance(data, dict) or not isinstance(data.get("login"), str):
        return doc
    if "auth" in data:
        raise UsageError(_line(doc, ("login",), "give either `auth` or `login`"))
    try:
        path = locate(data["login"], LOGINS, "login")
    except UsageError as error:
        raise UsageError(_line(doc, ("login",), str(error))) from None
    load_login(str(path))  # its own faults are reported with its own lines
    login, own = yaml_source.read(path).data, data.get("parameters")
    given = own if isinstance(own, dict) else {}
    parameters = {**login.get("parameters", {}), **given} if own is None or given else own
    return replace(doc, data={**data, "auth": login["auth"], "parameters": parameters})


def _parsed(kind: type[Kind], doc: Document) -> Kind:
    from runner.profile import validation

    _refuse(doc, yaml_source.not_json(doc.data))
    try:
        found = kind.model_validate(doc.data)
    except ValidationError as error:
        from runner.profile import wording

        faults = error.errors(include_input=False, include_url=False)
        said = wording.told(faults, kind, doc.data)
        raise UsageError("\n".join(_line(doc, *one) for one in said)) from None
    _refuse(doc, _respelled(doc))
    _refuse(doc, validation.faults(found))
    return found


def _respelled(doc: Document) -> Iterator[tuple[Place, str]]:
    """Yields status words that were written as text and that YAML reads as true or false, and numbers read as others."""
    for place, text in doc.spelled.items():
        value = doc.at(place)
        if not isinstance(value, bool):
            yield place, f"YAML reads `{text}` as {value}; write '{text}' in quotes for the text, or {value}"
        elif place[:2] in (("jobs", "words"), ("jobs", "single")):
            yield (
                place,
                f"YAML reads `{text}` as true or false; write '{text}' in quotes for the text, or true or false",
            )


def _refuse(doc: Document, faults: Iterator[tuple[Place, str]]) -> None:
    lines = [_line(doc, *fault) for fault in faults]
    if lines:
        raise UsageError("\n".join(lines))


def _line(doc: Document, place: Place, message: str) -> str:
    """Formats `file:line: key: message`; the key as in the file, without suffixes of the validation."""
    path = place
    while path and path not in doc.lines:
        path = path[:-1]
    key = ".".join(map(str, place[: len(path) + 1] if message == "is required" else path)) or "the profile"
    return f"{doc.where(place) if path else f'{doc.name}:1'}: {key}: {message}"
