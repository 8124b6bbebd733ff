"""Notifies immediately, during the run, that a login waits for a person: for ping and webhook."""

import threading

from runner.events import events
from runner.events.observer import Record
from runner.external import show
from runner.outputs.delivery import Message, deliver
from runner.outputs.interface import OutputContext

SECONDS = 20.0  # for one message: the wait for the person is much longer


def waits_for_person(record: Record) -> str | None:
    """Returns the text for a person, where the event says that a login waits; else None."""
    if not isinstance(record.event, events.CodeWanted):
        return None
    account = show(record.context.get("account", ""), 80)
    return (
        f"account {account} waits for a one-time code for {record.event.timeout_seconds:.0f} s; submit it with "
        f"`sync-runner submit-code CODE --account {account}`"
    )


def send_aside(context: OutputContext, what: str, message: Message) -> None:
    """Delivers on a daemon thread. A failure is logged and changes nothing else."""

    def send() -> None:
        try:
            problem = deliver(message, SECONDS)
        except Exception as error:  # noqa: BLE001 - a thread's own traceback would show the address
            problem = f"unexpected {type(error).__name__}: a defect of the runner"
        if problem:
            context.failed("notification", f"{what}: {problem}")

    threading.Thread(target=send, name=what, daemon=True).start()
