"""Where a value stands in an answer, as JMESPath. Plain paths (`user.id`, `jobs[0]`, `@`) are walked here; jmespath, which
a run then need not load, does all others.
"""

import re
from collections.abc import Callable
from functools import cache

from runner.models import JSON

_PLAIN = re.compile(r"@|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*", re.ASCII)
_STEP = re.compile(r"\w+", re.ASCII)


@cache
def compiled(expression: str) -> Callable[[JSON], JSON]:
    """What finds the value in an answer. Raises ValueError for what is no JMESPath expression."""
    if _PLAIN.fullmatch(expression):
        steps = tuple(int(step) if step.isdigit() else step for step in _STEP.findall(expression))
        return lambda data: _walk(data, steps)
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        parsed = jmespath.compile(expression)
    except JMESPathError:
        raise ValueError("not a valid JMESPath expression (see jmespath.org)") from None

    def search(data: JSON) -> JSON:
        try:
            return parsed.search(data)
        except JMESPathError:
            raise ValueError(expression) from None

    return search


def _walk(data: JSON, steps: tuple[str | int, ...]) -> JSON:
    """What stands there; None where the way ends, as JMESPath has it."""
    for step in steps:
        if isinstance(step, int):
            data = data[step] if isinstance(data, list) and step < len(data) else None
        else:
            data = data.get(step) if isinstance(data, dict) else None
    return data
