"""Work on daemon threads, which can be abandoned: neither a deadline nor the process's exit waits for them."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def begun(work: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """Returns or raises what `work` does, on a thread of that name. Needs a running event loop."""
    done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    threading.Thread(target=settle, args=(done, work), name=name, daemon=True).start()
    return done


def settle(done: "asyncio.Future[T]", work: Callable[[], T]) -> None:
    """Does `work` on this thread, and sets its result or exception on `done` in the loop."""
    result, error = None, None
    try:
        result = work()
    except BaseException as caught:  # noqa: BLE001 - the waiting task gets it
        error = caught
    with suppress(RuntimeError):  # the loop is closed
        done.get_loop().call_soon_threadsafe(_set, done, result, error)


def _set(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if done.done():  # the waiting task was cancelled
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
