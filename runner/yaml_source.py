"""Reads a YAML file as plain data with the line of each key, for errors that name the place."""
# Decision 0005.

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

from runner.errors import UsageError
from runner.frozen import Frozen
from runner.reading import NotRegular, read_regular

MAX_BYTES = 1 << 20  # a configuration has a page or two; a megabyte is a mistake or an attack

MAX_VALUES = 100_000  # keys and list items, with expanded aliases; as many as fit into MAX_BYTES without aliases
MAX_DEPTH = 64
_NOT_YAML = r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # compiled on use: it takes 5 ms

Place = tuple[str | int, ...]


class Document(Frozen):
    """The data of a YAML file, its name, and the line (from 1) of each key and list item."""

    name: str
    data: dict[str, Any]
    lines: dict[Place, int]
    spelled: dict[Place, str] = field(default_factory=dict)  # values that YAML reads as others: on, yes, 007, 12:30

    def at(self, place: Place) -> Any:
        """Returns the value at a place of the file."""
        value: Any = self.data
        for part in place:
            value = value[part]
        return value

    def where(self, place: Iterable[str | int]) -> str:
        """Returns `file:line` of the nearest known ancestor of `place`."""
        path = tuple(place)
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines[path]}" if path else self.name


def read(path: Path) -> Document:
    """Reads the file's document. Raises UsageError when it is unreadable or not one YAML mapping."""
    return parse(_bytes(path), str(path))


def text(path: Path) -> str:
    """Reads the file's text. Raises UsageError when it is unreadable or not text."""
    raw = _bytes(path)
    _check_text(raw, str(path))
    return raw.decode("utf-8")


def _bytes(path: Path) -> bytes:
    try:
        raw, _mode = read_regular(path, MAX_BYTES)
    except NotRegular:
        raise UsageError(f"{path}: not a regular file; put the YAML into a regular file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or "no path"
        raise UsageError(f"{path}: cannot be read ({why}); give the path of a readable YAML file") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES} bytes; is this the right file?")
    return raw


def parse(raw: bytes, name: str) -> Document:
    """Parses the document in `raw`; messages use `name`. Raises UsageError with line and column."""
    import yaml

    _check_text(raw, name)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        instance = loader(raw)
        try:
            node = instance.get_single_node()
            if node is None:
                return Document(name, {}, {})
            lines: dict[Place, int] = {}
            spelled: dict[Place, str] = {}
            _collect(node, (), lines, spelled, name, instance.construct_object)
            data = instance.construct_document(node)
        finally:
            instance.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = str(error.problem or error.context)
        hint = f"; {_hint(raw, mark.line, mark.column, problem)}" if mark else ""
        raise UsageError(f"{name}{at}: not valid YAML: {problem}{hint}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{name}: not valid YAML ({type(error).__name__})") from None
    if not isinstance(data, dict):
        raise UsageError(
            f"{name}:1: the file must contain keys and values, such as `base_url: https://sync.example.org`"
        )
    return Document(name, data, lines, spelled)


_HINTS = (  # by a part of libyaml's or PyYAML's message
    ("mapping values", "put a text with a colon and a space in quotes"),
    ("constructor for the tag", "remove the tag"),
    ("another document", "keep one document"),
    ("undefined alias", "put a text that begins with * in quotes"),
    ("alphabetic or numeric", "put a text that begins with * or & in quotes"),
    ("expected ','", "close each { and [, and put a text with one of , [ ] { } in quotes"),
    ("", "each key of a mapping begins in the same column; close each { [ \" and '"),
)


def _hint(raw: bytes, line_at: int, column: int, problem: str) -> str:
    """Returns what to write instead at the place of a YAML error, by its usual cause."""
    lines = ["", *raw.decode("utf-8").splitlines(), ""]
    before, line = lines[min(line_at, len(lines) - 2)], lines[min(line_at + 1, len(lines) - 1)]
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent or line[column : column + 1] == "\t":
        return "indent with spaces, not with tabs"
    if line[column : column + 1] in ("@", "`", "%"):
        return f"put a text that begins with {line[column]} in quotes"
    if re.search(r"[{\[,:]\s*[^\s'\",:]*\$\{", line):
        return 'put a text with ${...} in quotes, such as "${name}"'
    if any(re.match(r"\s*[A-Za-z_]+:[^\s:/]", one) for one in (line, before)):
        return "write a space after the colon of a key"
    return next(hint for part, hint in _HINTS if part in problem)


def _check_text(raw: bytes, name: str) -> None:
    """Raises UsageError at the line of the first byte that is not UTF-8, or character that YAML forbids."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}:{line}: not UTF-8 text; save the file in that encoding") from None
    wrong = re.search(_NOT_YAML, text)
    if wrong:
        line = text.count("\n", 0, wrong.start()) + 1
        raise UsageError(f"{name}:{line}: not valid YAML: the control character U+{ord(wrong[0]):04X}; remove it")


def not_json(data: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yields the places of YAML's dates, sets, NaN and non-text keys, which JSON cannot represent, with the remedy."""
    if isinstance(data, dict):
        for key, value in data.items():
            if not isinstance(key, str):
                yield (*place, str(key)), f"the key `{str(key)[:40]}` is not text; write it in quotes"
            else:
                yield from not_json(value, (*place, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from not_json(value, (*place, index))
    elif isinstance(data, float) and not math.isfinite(data):
        yield place, "not a JSON number; write it in quotes if it is text"
    elif data is not None and not isinstance(data, str | bool | int | float):
        yield place, f"a {type(data).__name__}, which JSON does not have; write it in quotes"


def _collect(
    node: Any,
    place: Place,
    lines: dict[Place, int],
    spelled: dict[Place, str],
    name: str,
    construct: Callable[[Any], object],
) -> None:
    """Records each key's line; refuses a duplicate key, which YAML would silently drop, and values without a JSON form.

    Aliases are followed and counted: a few lines of them can represent millions of values.
    """
    here = f"{name}:{node.start_mark.line + 1}"
    if len(place) > MAX_DEPTH or len(lines) > MAX_VALUES:
        raise UsageError(
            f"{here}: {'.'.join(map(str, place[:4]))}: nested too deeply, or too large; is this the right file?"
        )
    if node.id == "mapping":
        for key, value in node.value:
            at = (*place, str(key.value) if key.id == "scalar" else "?")
            if at in lines:
                raise UsageError(f"{name}:{key.start_mark.line + 1}: the key `{at[-1]}` is used twice; keep one")
            lines[at] = key.start_mark.line + 1
            _collect(value, at, lines, spelled, name, construct)
    elif node.id == "sequence":
        for index, item in enumerate(node.value):
            at = (*place, index)
            lines[at] = item.start_mark.line + 1
            _collect(item, at, lines, spelled, name, construct)
    else:
        if node.tag.endswith(":bool") and node.value.lower() not in ("true", "false"):
            spelled[place] = node.value
        try:
            made = construct(node)
            if node.tag.endswith(":int") and node.value != str(made):
                spelled[place] = node.value
        except (ValueError, OverflowError):
            key = ".".join(map(str, place))
            raise UsageError(f"{here}: {key}: not a usable date or number; write it in quotes") from None
