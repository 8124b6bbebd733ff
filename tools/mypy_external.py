"""A plugin of mypy: text from outside (`runner.external.ExternalText`) is not printed but handed to `show`.

mypy reads an f-string as a call of `str.format`, so one rule covers both.
"""

from collections.abc import Callable, Iterator

from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.types import Instance, TupleType, Type, UnionType, get_proper_type

EXTERNAL = "runner.external.ExternalText"
FUNCTIONS = frozenset({"builtins.str", "builtins.repr", "builtins.ascii", "builtins.format", "builtins.print"})
METHODS = frozenset({"builtins.str.format"})  # `%` has no hook; ruff refuses it (UP031)
MESSAGE = "text from outside must not be printed: use runner.external.show(text, limit)"


class ExternalTextPlugin(Plugin):
    """Refuses to print text from outside, also within a union or a container."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """The check for a function that prints."""
        return _check if fullname in FUNCTIONS else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """The check for a method that prints."""
        return _check if fullname in METHODS else None


def _check(context: FunctionContext | MethodContext) -> Type:
    for argument in (one for group in context.arg_types for one in group):
        if any(part.type.fullname == EXTERNAL for part in _parts(argument)):
            context.api.fail(MESSAGE, context.context)
    return context.default_return_type


def _parts(of: Type) -> Iterator[Instance]:
    found = get_proper_type(of)
    if isinstance(found, Instance):
        yield found
    inner = found.args if isinstance(found, Instance) else ()
    if isinstance(found, UnionType | TupleType):
        inner = tuple(found.items)
    for part in inner:
        yield from _parts(part)


def plugin(_version: str) -> type[Plugin]:
    """What mypy asks for."""
    return ExternalTextPlugin
