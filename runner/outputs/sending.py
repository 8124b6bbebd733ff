"""Begins to send something over the network at the run's end, and waits for it no longer than a set time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from runner.settings import OtlpSettings, PushgatewaySettings

if TYPE_CHECKING:
    import ssl

Target = TypeVar("Target", PushgatewaySettings, OtlpSettings)
Emit = Callable[[], str | None]  # returns what went wrong, or None


def trusted(url: str, ca_file: Path | None = None) -> "ssl.SSLContext | bool":
    """For httpx's `verify`. To plain http there is no certificate to check, and loading the roots would take 20 ms."""
    import ssl

    return ssl.create_default_context(cafile=ca_file) if ca_file else not url.lower().startswith("http:")


def own_instance(settings: Target, shard: str | None) -> Target:
    """The settings, with an instance for a shard (such as `1/4`), so that it does not replace what the others send."""
    if shard is None or settings.instance:
        return settings
    return settings.model_copy(update={"instance": f"shard-{shard.partition('/')[0]}"})


def begun(where: str, seconds: float, send: Emit) -> Emit:
    """Start `send` now. The function returned waits for its answer, until `seconds` after the start, and raises what it did.

    A daemon thread bounds all of it: name look-up and a dripping answer included, and the process never stays for it.
    """
    answer: Future[str | None] = Future()

    def work() -> None:
        try:
            answer.set_result(send())
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            answer.set_exception(error)

    until = time.monotonic() + seconds
    threading.Thread(target=work, name=f"send to {where}", daemon=True).start()

    def wait() -> str | None:
        try:
            problem = answer.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            problem = f"no answer within {seconds:.2g} s"
        return problem and f"{where}: {problem}"

    return wait
