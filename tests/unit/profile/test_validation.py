"""A bad profile is an error when it is read, that names file, line and key: every way to spoil the good ones, by their structure."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import cli, yaml_source
from runner import profile as profiles
from runner.yaml_source import Place

FREE = {"json", "query", "form", "default"}  # below these stands what the API wants: any key and value may be right
NAMES = {
    "headers",
    "header",
    "carry",
    "steps",
    "parameters",
    "sync_types",
}  # below these the next key is a name of the author's
TEMPLATES = {"path", "query", "headers", "json", "form"}
EXPRESSIONS = {"when", "job", "jobs", "message", "conflict_job_id"}
REQUIRED: set[str | Place] = {
    "request", "path", "answers", "then", "access_token", ("version",), ("description",), ("auth",), ("jobs",),
    ("jobs", "trigger"), ("jobs", "status"),
}  # fmt: skip

Mutation = tuple[str, Place, Callable[[Any], None]]


def _walk(data: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*place, key), value
            yield from _walk(value, (*place, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield (*place, index), value
            yield from _walk(value, (*place, index))


def _at(data: Any, place: Place) -> Any:
    for key in place:
        data = data[key]
    return data


def _set(place: Place, value: Any) -> Callable[[Any], None]:
    return lambda data: _at(data, place[:-1]).__setitem__(place[-1], copy.deepcopy(value))


def _delete(place: Place) -> Callable[[Any], None]:
    return lambda data: _at(data, place[:-1]).__delitem__(place[-1])


def _rename(place: Place) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        parent = _at(data, place[:-1])
        kept = {f"{key}x" if key == place[-1] else key: value for key, value in parent.items()}
        parent.clear()
        parent.update(kept)

    return change


def _is_model_key(place: Place) -> bool:
    """Whether the format itself knows the key, so that no other would do."""
    free = any(key in FREE for key in place[:-1])
    named = len(place) > 1 and place[-2] in NAMES and not (place[-2] == "headers" and len(place) < 3)
    return isinstance(place[-1], str) and not free and not named


def _mutations(good: dict[str, Any]) -> Iterator[Mutation]:
    for place, value in _walk(good):
        if _is_model_key(place):
            yield from _keys(place, value)
        if isinstance(value, str):
            yield from _texts(place, value)
        if place[-1] == "then":
            yield "nowhere", place, _set(place, "nowhere")
        if place[-1] == "method":
            yield "method", place, _set(place, "FETCH")
        if place[-1] == "path" and isinstance(value, str):
            yield "path", place, _set(place, value.removeprefix("/"))
            yield "optional in path", place, _set(place, value + "/${sync_type?}")
        if place[-1] == "request":
            yield "two bodies", place, _set(place, {**value, "json": {"a": 1}, "form": {"a": 1}})
    yield from _words(good)


def _keys(place: Place, value: Any) -> Iterator[Mutation]:
    yield "rename", place, _rename(place)
    if place[-1] in REQUIRED or place in REQUIRED:
        yield "delete", place, _delete(place)
    if value is not None and place[-1] not in FREE:
        wrong: Any = {"a": {"b": 1}} if isinstance(value, list | str | int) else "nonsense"
        yield "retype", place, _set(place, wrong)
        yield "list of lists", place, _set(place, [[[]]])


def _texts(place: Place, value: str) -> Iterator[Mutation]:
    in_template = any(key in TEMPLATES for key in place) and "parameters" not in place
    if in_template and "${" in value:
        for slip in ("${no_such_value}", "${params.no_such}", "${", "$name", "${Name}", "${a b}", "${username.x}", "$"):
            yield f"template {slip}", place, _set(place, value + slip)
        yield "typo", place, _set(place, value.replace("${", "${x_", 1))
    in_fields = len(place) > 1 and place[-2] in ("fields", "session")
    if (place[-1] in EXPRESSIONS and "json" not in place) or in_fields:
        for slip in ("[[", ".", "no_such_function(@)", "length(@, @)", "a b"):
            yield f"expression {slip}", place, _set(place, slip if "(" in slip else value + slip)


def _words(good: dict[str, Any]) -> Iterator[Mutation]:
    place: Place = ("jobs", "words")
    words = good["jobs"].get("words")
    if words is None:
        return
    twice = {**words, "running": words["completed"]}
    yield "a word twice", place, _set(place, twice)
    yield "a sixth state", place, _set(place, {**words, "paused": "paused"})
    for state in ("running", "completed", "failed"):
        yield f"no {state}", place, _set(place, {key: word for key, word in words.items() if key != state})


@cache
def _read(name: str) -> dict[str, Any]:
    """A built-in profile, which is not to be changed."""
    read: dict[str, Any] = yaml.safe_load(profiles.locate(name).read_text(encoding="utf-8"))
    return read


def _spoil(name: str, limit: int | None) -> list[Any]:
    good = _read(name)
    found = list(_mutations(good))
    step = max(1, len(found) // limit) if limit else 1
    return [(name, kind, place, change) for kind, place, change in found[::step]]


MUTATIONS = [
    *_spoil("garminsync", None),
    *(one for name in profiles.built_ins() if name != "garminsync" for one in _spoil(name, 25)),
]


def test_there_are_more_than_a_hundred_of_every_kind() -> None:
    assert len(MUTATIONS) > 250
    kinds = {kind.split(" ")[0] for _name, kind, _place, _change in MUTATIONS}
    assert kinds >= {"rename", "retype", "delete", "template", "expression", "nowhere", "method", "path", "two", "typo"}


def test_every_spoiled_profile_is_an_error_with_file_line_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.yaml"
    faults: list[str] = []
    for name, kind, place, change in MUTATIONS:
        data = copy.deepcopy(_read(name))
        change(data)
        path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        what = f"{name}: {kind} at {'.'.join(map(str, place))}"
        faults += _judge(path, place, what, capsys)
    assert faults == []


def _judge(path: Path, place: Place, what: str, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """What is not as it must be: code 2, and errors that name a line of the file, and the key that stands there."""
    code = cli.run(["--log-format", "json", "profiles", "validate", str(path)])
    shown = capsys.readouterr()
    if (code, shown.out) != (2, ""):
        yield f"{what}: code {code}: {shown.out}{shown.err}"
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    errors = [json.loads(line)["error"] for line in shown.err.splitlines()]
    for error in errors:
        found = re.fullmatch(rf"{re.escape(str(path))}:(\d+): ([^ :]+): .+", error)
        if found is None:
            yield f"{what}: {error}"
            continue
        line, last = lines[int(found[1]) - 1], found[2].split(".")[-1]
        if not (line.lstrip().startswith("-") if last.isdigit() else last in line) and "is required" not in error:
            yield f"{what}: {error}: stands in another line"
    if not any(str(place[0]) in error for error in errors):
        yield f"{what}: {errors}"


_GOOD = profiles.locate("garminsync").read_text(encoding="utf-8")
_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}, *{before}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (_GOOD.replace("version: 1", "version: 1\nversion: 1").encode(), ":4: the key `version` is used twice"),
        (_GOOD.replace("auth:\n", "auth:\n\t", 1).encode(), ":7:1: not valid YAML"),
        (_GOOD.replace("accepted", "").replace("[400, 401, 403]", "[400, 401", 1).encode(), "not valid YAML"),
        (_GOOD.replace("GarminSync (CLI API)", "Garmin\xff").encode("latin-1"), ":4: not UTF-8 text"),
        (_GOOD.encode("utf-16"), ":1: not UTF-8 text"),
        (_GOOD.replace("self-hosted", "self\0hosted").encode(), ":4: not valid YAML: the control character U+0000"),
        (_GOOD.replace("limit: 100", "limit: .nan").encode(), ": jobs.running.request.query.limit: not a JSON number"),
        (_GOOD.replace("limit: 100", "limit: 2026-01-31").encode(), ": jobs.running.request.query.limit: a date"),
        (_GOOD.replace("limit: 100", "limit: 2026-99-31").encode(), ": jobs.running.request.query.limit: not a usable date or number"),
        (_GOOD.replace("limit: 100", f"limit: {'9' * 5000}").encode(), ": jobs.running.request.query.limit: not a usable date or number"),
        (_GOOD.replace("limit: 100", "on: 100").encode(), ": jobs.running.request.query: the key `True` is not text"),
        (_GOOD.replace("limit: 100", "limit: !!set {a, b}").encode(), ": jobs.running.request.query.limit: a set"),
        (_GOOD.replace("limit: 100", "limit: !!python/object:os.system x").encode(), "could not determine a constructor"),
        (b"", ":1: version: is required"),
        (b"- a\n- b\n", ":1: the file must contain keys and values"),
        (b"just words", ":1: the file must contain keys and values"),
        (_GOOD.encode() + b"\n---\nversion: 1\n", "but found another document"),
        (_BOMB.encode(), "nested too deeply, or too large"),
        (b"a: &a {b: *a}", "nested too deeply, or too large"),
        (b"{" * 3000, ""),
        (b"a: " + b"[" * 3000 + b"]" * 3000, "nesting depth"),
        (b"a" * (yaml_source.MAX_BYTES + 1), "larger than"),
    ],
)  # fmt: skip
def test_what_is_hardly_yaml_is_an_error_too(
    raw: bytes, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(raw)
    code = cli.run(["--log-format", "json", "profiles", "validate", str(path)])
    errors = [json.loads(line)["error"] for line in capsys.readouterr().err.splitlines()]
    assert code == 2, errors
    assert any(told in error and error.startswith(str(path)) for error in errors), errors


def test_every_built_in_profile_is_good_and_fits_the_published_schema() -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(profiles.schema())
    for name in profiles.built_ins():
        profiles.parse(yaml_source.read(profiles.locate(name)))
        validator.validate(yaml.safe_load(profiles.locate(name).read_text(encoding="utf-8")))


def test_the_published_schema_is_current() -> None:
    kept = Path("docs/profiles/profile.schema.json").read_text(encoding="utf-8")
    assert json.loads(kept) == profiles.schema(), "make docs"
