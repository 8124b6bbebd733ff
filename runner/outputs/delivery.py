"""Delivers one message by POST, with retries within a budget. No error shows the address: it may be a secret."""

import threading
from functools import partial
from urllib.parse import urlsplit

from runner.frozen import Frozen
from runner.outputs.interface import OutputContext
from runner.outputs.sending import Sender, SendFailed, until_taken, worth_repeating
from runner.url import is_loopback

MAX_BODY = 100_000  # bytes; healthchecks.io keeps 100 kB of a ping


class Message(Frozen):
    """One POST."""

    url: str
    body: bytes
    content_type: str


def deliver(message: Message, seconds: float, stop: threading.Event | None = None) -> str | None:
    """Retries until success, the time limit or `stop`. Returns the last error, or None."""
    try:
        sender = Sender(message.url)
    except SendFailed as error:
        return str(error)
    with sender:
        return until_taken(seconds, partial(_post, sender, message), stop)


def _post(sender: Sender, message: Message, seconds: float) -> None:
    """One try. Raises SendFailed."""
    try:
        status, _body = sender.send("POST", "", seconds, content=message.body, content_type=message.content_type)
    except SendFailed as error:
        raise SendFailed(f"{sender.host}: {error}", again=error.again) from None
    if status >= 300:
        raise SendFailed(f"{sender.host} answered {status}", again=worth_repeating(status))


def address(context: OutputContext, target: str, url: str | None, url_file: object) -> str | None:
    """Returns the address in the secret file, or else `url`; None where neither is usable, which is logged."""
    from pathlib import Path

    secret = context.secret(url_file if isinstance(url_file, Path) else None)
    found = secret or url
    if found is None:
        return None
    try:
        parts = urlsplit(found)
        _port = parts.port
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and found.isprintable() and " " not in found
    except ValueError:
        fit = False
    if not fit:
        context.failed(target, "the address is not a URL; give one such as https://hc-ping.com/UUID")
        return None
    if secret and parts.scheme == "http" and not is_loopback(parts.hostname):
        context.failed(target, "plain http would reveal the secret address: use https, or `url` if it is not a secret")
        return None
    return found
