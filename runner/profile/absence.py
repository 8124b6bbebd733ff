"""Whether a response says that there is nothing, or has another shape than the profile expects. Pure."""
# Decision 0102.

import re

from runner.models import JSON

# The beginning of an expression, up to the end, a filter, or a pipe; not where an operator or a function follows.
_PLAIN_START = re.compile(
    r"(?:[A-Za-z_]\w*|\[\d{1,9}\])(?:\.[A-Za-z_]\w*|\[\d{1,9}\])*(?=$|\[[?*:\]]|\.[\[{*]|\s*\|(?!\|))", re.ASCII
)
_STEP = re.compile(r"\w+", re.ASCII)


def says_nothing(data: JSON, expression: str) -> bool:
    """Whether `data`, in which `expression` finds nothing, states that itself: by a list without it, or an explicit
    null.

    A missing key, a value of another type, or a null body states nothing about a job. Of an expression with filters or
    functions, the plain beginning must exist.
    """
    if not isinstance(data, dict | list):
        return False
    start = _PLAIN_START.match(expression)
    for step in _STEP.findall(start[0]) if start else ():
        if data is None:
            return True
        if step.isdigit():
            if not isinstance(data, list):
                return False
            if int(step) >= len(data):
                return True
            data = data[int(step)]
        elif isinstance(data, dict) and step in data:
            data = data[step]
        else:
            return False
    return data is None or isinstance(data, dict | list)
