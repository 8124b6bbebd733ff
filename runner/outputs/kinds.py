"""The built-in outputs, in the order in which they open and write, and the lookup of others."""

import importlib
from collections.abc import Iterator

from runner.errors import UsageError
from runner.outputs.interface import Output, OutputContext

GROUP = "sync_runner.outputs"  # the entry points of other packages
KINDS = (
    "progress:Progress",
    "console:Console",
    "json_log:JsonLog",
    "endpoint:Endpoint",
    "ping:Ping",
    "webhook:Webhook",
    "report:JsonReport",
    "junit:JUnit",
    "html:HtmlPage",
    "github:GitHub",
    "termination:TerminationMessage",
    "result_files:Dotenv",
    "result_files:XCom",
    "textfile:Textfile",
    "pushgateway:Pushgateway",
    "otlp:Otlp",
)


def wanted(context: OutputContext) -> list[Output]:
    """Returns the outputs that the settings enable. Raises UsageError for an unknown one."""
    found = [kind(context) for kind in _known() if (context.whole_run or kind.every_command) and kind.wanted(context)]
    if context.whole_run:
        found += [_others(name)(context) for name in context.settings.outputs]
    return found


def _known() -> Iterator[type[Output]]:
    for place in KINDS:
        module, _, name = place.partition(":")
        yield getattr(importlib.import_module(f"runner.outputs.{module}"), name)


def _others(name: str) -> type[Output]:
    from importlib.metadata import entry_points

    points = entry_points(group=GROUP)
    point = next((one for one in points if one.name == name), None)
    if point is None:
        known = ", ".join(sorted({one.name for one in points})) or "none"
        raise UsageError(
            f"outputs.{name}: no installed package provides this output (entry points `{GROUP}`: {known}); install the package, "
            "or remove the key"
        )
    try:
        kind = point.load()
    except Exception as error:  # noqa: BLE001 - another's package: whatever it raises is no defect of ours
        raise UsageError(f"outputs.{name}: {point.value} cannot be loaded ({type(error).__name__}: {error})") from None
    if not (isinstance(kind, type) and issubclass(kind, Output)):
        raise UsageError(f"outputs.{name}: {point.value} is not a class derived from runner.outputs.interface.Output")
    return kind
