"""JMESPath expressions: validated when the profile is read, searched when a response arrives.

`${name}` in an expression is a named value. It is inserted as a JSON literal of JMESPath, so that no value can change
the expression's meaning.

Plain paths (`user.id`, `jobs[0]`, `@`) are evaluated here, so that most runs need not load jmespath, which does all
others.
"""
# Decisions 0006, 0112.

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from runner.errors import ContractError
from runner.external import show
from runner.models import JSON

_PLAIN = re.compile(r"@|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*", re.ASCII)
_STEP = re.compile(r"\w+", re.ASCII)
_VALUE = re.compile(r"\$\{([a-z_][a-z0-9_.]*)(\?)?\}")
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`""", re.DOTALL)
# Patterns of mistakes are compiled on use: most runs have none.
_BARE_WORD = r"(?i)[=!]=\s*(true|false|null|none)\b|(?<![.\w])(true|false|null|none)\s*[=!]="
_HINTS = (  # of what other languages write
    (r"^\$", "without the $ of JSONPath: a.b"),
    (r"^/", "a.b in place of the JSON pointer /a/b"),
    (r"(?<![=!<>])=(?!=)", "== compares"),
    (r"[=!<>]=?\s*-?\d", "a number stands in backticks: `5`"),
    (r"(?:^|[.\[])\d+[A-Za-z]", 'a key that begins with a digit stands in double quotes: "1h"'),
    (r"[A-Za-z_]-[A-Za-z_]", 'a key with a dash stands in double quotes: "a-b"'),
)
_KEY_AS_TEXT = re.compile(r"""[=!<>]=\s*"[^"]*"(?!\s*[.\[(])""")


def checked(expression: str) -> str:
    """Returns the valid expression. Raises ValueError for an invalid one."""
    if _PLAIN.fullmatch(expression):
        return expression
    if any("${" in quoted for quoted in _QUOTED.findall(expression)):
        raise ValueError("a value in an expression has no quotes: [?name == ${sync_type}]")
    if _KEY_AS_TEXT.search(expression):
        raise ValueError("in JMESPath \"x\" is the name of a key; write a text as 'x'")
    bare = re.search(_BARE_WORD, _QUOTED.sub("''", expression))
    if bare:
        word = bare[1] or bare[2]
        raise ValueError(
            f"in JMESPath {word} is the name of a key; write `{word.lower().replace('none', 'null')}` in backticks"
        )
    for quoted in _QUOTED.findall(expression):
        if quoted.startswith("`"):
            _check_literal(quoted[1:-1].replace("\\`", "`"))
    _check(_VALUE.sub('`"x"`', expression))
    return expression


def _check_literal(text: str) -> None:
    """Raises ValueError for a literal in backticks that is no JSON, which would be taken for text."""
    try:
        json.loads(text)
    except ValueError:
        shown = show(text.strip(), 40)
        raise ValueError(f"`{shown}` in backticks is not JSON; write a text as '{shown}'") from None


def names(expression: str) -> Iterator[tuple[str, bool]]:
    """Returns the values that an expression uses, each with whether it may be absent (it is null then)."""
    return ((match[1], bool(match[2])) for match in _VALUE.finditer(expression))


def _check(expression: str) -> None:
    from jmespath.exceptions import JMESPathError
    from jmespath.functions import Functions

    try:
        parsed = _compiled(expression).parsed
    except (JMESPathError, RecursionError):
        bare = _QUOTED.sub("''", expression)
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, bare)), "see jmespath.org")
        raise ValueError(f"not a valid JMESPath expression ({hint})") from None
    for name, given in _calls(parsed):
        known = Functions.FUNCTION_TABLE.get(name)
        if known is None:
            raise ValueError(f"JMESPath has no function `{name}` (see jmespath.org)")
        signature = known["signature"]
        variadic = bool(signature) and signature[-1].get("variadic", False)
        if given < len(signature) or (given > len(signature) and not variadic):
            raise ValueError(
                f"JMESPath's `{name}` takes {len(signature)} argument{'s' * (len(signature) != 1)}, not {given}"
            )


def _calls(node: Any) -> Iterator[tuple[str, int]]:
    """Yields the name and the number of arguments of each called function."""
    if not isinstance(node, dict):
        return
    if node["type"] == "function_expression":
        yield node["value"], len(node["children"])
    for child in node.get("children", ()):
        yield from _calls(child)


@cache
def _compiled(expression: str) -> Any:
    import jmespath

    return jmespath.compile(expression)


def find(data: JSON, expression: str | None, values: Mapping[str, Any] | None = None) -> JSON:
    """Returns what the JMESPath `expression` finds in `data`; None for no expression. `values` are the named values.

    Raises ContractError on wrong types, and for a value that is missing."""
    if expression is None:
        return None
    steps = _steps(expression)
    if steps is not None:
        return _walk(data, steps)
    from jmespath.exceptions import JMESPathError

    try:
        if "${" in expression:
            import jmespath

            return jmespath.search(_filled(expression, values or {}), data)
        return _compiled(expression).search(data)
    except (JMESPathError, RecursionError):
        raise ContractError(f"`{expression}` does not fit the response (shape: {shape(data)})") from None


def _filled(expression: str, values: Mapping[str, Any]) -> str:
    def literal(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None and not match[2]:
            raise ContractError(f"`{expression}`: no value for `{match[1]}`")
        return "`" + json.dumps(value).replace("`", "\\u0060") + "`"  # JSON has a backtick only within strings

    return _VALUE.sub(literal, expression)


@cache
def _steps(expression: str) -> tuple[str | int, ...] | None:
    """Returns the names and indexes of a plain path; None for any other expression."""
    if not _PLAIN.fullmatch(expression):
        return None
    return tuple(int(step) if step.isdigit() else step for step in _STEP.findall(expression))


def _walk(data: JSON, steps: tuple[str | int, ...]) -> JSON:
    """Returns the value at the end of the path; None where the path ends earlier, as in JMESPath."""
    for step in steps:
        if isinstance(step, int):
            data = data[step] if isinstance(data, list) and step < len(data) else None
        else:
            data = data.get(step) if isinstance(data, dict) else None
    return data


def shape(data: JSON, depth: int = 2) -> str:
    """Describes the types and keys of a response without its values: enough to correct a profile, and no secret."""
    if isinstance(data, dict):
        if depth == 0:
            return "object"
        inner = ", ".join(f"{show(str(key), 30)}: {shape(value, depth - 1)}" for key, value in list(data.items())[:12])
        return "{" + inner + (", ..." if len(data) > 12 else "") + "}"
    if isinstance(data, list):
        return f"[{shape(data[0], depth - 1) if data and depth else ''}] of {len(data)}"
    names = {str: "text", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names.get(type(data), type(data).__name__)
