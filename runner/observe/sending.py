"""Begins to send something over the network at the run's end, and waits for it no longer than a set time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

Emit = Callable[[], str | None]  # returns what went wrong, or None


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
            problem = f"no answer within {seconds:g} s"
        return problem and f"{where}: {problem}"

    return wait
