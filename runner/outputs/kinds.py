"""The built-in outputs, in the order in which they open and write, and the lookup of others."""
# Decision 0205.

import importlib
from collections.abc import Iterator
from operator import attrgetter

from runner.errors import UsageError
from runner.outputs.interface import Output, OutputContext
from runner.settings import Settings

GROUP = "sync_runner.outputs"  # the entry points of other packages
# Each with the settings that enable it: where none of them is given, its module is not imported. Without any, it is asked.
KINDS: dict[str, tuple[str, ...]] = {
    "progress:Progress": (),
    "console:Console": (),
    "json_log:JsonLog": (),
    "endpoint:Endpoint": ("metrics.listen",),
    "ping:Ping": ("notify.ping.url", "notify.ping.url_file"),
    "webhook:Webhook": ("notify.webhook.url", "notify.webhook.url_file"),
    "report:JsonReport": ("report.file",),
    "junit:JUnit": ("report.junit",),
    "html:HtmlPage": ("report.html",),
    "github:GitHub": (),
    "termination:TerminationMessage": ("report.termination_log",),
    "result_files:Dotenv": ("report.dotenv",),
    "result_files:XCom": ("report.xcom",),
    "textfile:Textfile": ("metrics.textfile",),
    "pushgateway:Pushgateway": ("metrics.pushgateway.url",),
    "otlp:Otlp": ("metrics.otlp.endpoint",),
}


def wanted(context: OutputContext) -> list[Output]:
    """Returns the outputs that the settings enable. Raises UsageError for an unknown one."""
    enabled = _enabled(context.settings)
    found = [kind(context) for kind in enabled if (context.whole_run or kind.every_command) and kind.wanted(context)]
    if context.whole_run:
        found += [_others(name)(context) for name in context.settings.outputs]
    return found


def _enabled(settings: Settings) -> Iterator[type[Output]]:
    for place, keys in KINDS.items():
        if not keys or any(attrgetter(key)(settings) for key in keys):
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
