"""Reads a mailbox over IMAP (RFC 9051) with the standard library. Blocks, so it needs a thread. All reads are bounded."""

import email
import email.policy
import imaplib
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import parseaddr

from runner.auth.code_sources.found import code_in
from runner.auth.code_sources.mail_text import texts
from runner.errors import AuthenticationError, RunnerError, Unreachable, UsageError
from runner.external import show
from runner.http.certificates import trusting
from runner.settings.code_section import CodeSettings, ImapSettings

MAX_MESSAGE = 256 * 1024  # bytes fetched of a message
MAX_LITERAL = 4 * MAX_MESSAGE  # bytes that the server may announce at once
MAX_NEW = 50  # messages examined since the login began, newest first
POLL = 1.0  # seconds
_PASSING = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]")  # RFC 5530: not about the user
TIMEOUT = 15.0  # seconds for one response of the server


class _Bounded(imaplib.IMAP4):
    """imaplib with a bound on the size that the server announces."""

    def read(self, size: int) -> bytes:
        if size > MAX_LITERAL:
            raise self.abort("a literal beyond the bound")
        return super().read(size)


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):
    pass


def end_of(settings: ImapSettings, password: str, seconds: float) -> tuple[int, int]:
    """Returns UIDVALIDITY and UIDNEXT of the mailbox. Raises AuthenticationError where the server refuses, Unreachable."""
    with _opened(settings, password, min(seconds, TIMEOUT)) as mailbox:
        return _place(mailbox, settings)


def wait_for_code(settings: CodeSettings, password: str, since: tuple[int, int], stop: threading.Event) -> str:
    """Returns the code of the newest matching message with a number from `since` on; polls every second.

    Raises AuthenticationError where none arrived within `code.timeout`, Unreachable.
    """
    until = time.monotonic() + settings.timeout
    problem: RunnerError | None = None
    seen: set[int] = set()
    while not stop.is_set():
        try:
            with _opened(settings.imap, password, TIMEOUT) as mailbox:
                while not stop.wait(0.0):
                    code = _look(mailbox, settings, since, seen)
                    if code is not None:
                        return code
                    if time.monotonic() >= until:
                        raise AuthenticationError(_none_came(settings, len(seen)))
                    stop.wait(min(POLL, max(0.0, until - time.monotonic())))
        except Unreachable as error:  # a lost connection is reopened
            problem = error
        if time.monotonic() >= until and problem is not None:
            raise problem
        stop.wait(POLL)
    raise AuthenticationError("login: the wait for the message was cancelled")


def _none_came(settings: CodeSettings, others: int) -> str:
    wanted = [f"from {settings.imap.sender}" if settings.imap.sender else "", "with a code that matches code.pattern"]
    wanted.insert(1, f"with subject `{settings.imap.subject}`" if settings.imap.subject else "")
    return (
        f"login: no message {' '.join(part for part in wanted if part)} arrived in {settings.imap.mailbox} within "
        f"{settings.timeout:.0f} s (code.timeout); {others} other messages arrived"
    )


@contextmanager
def _opened(settings: ImapSettings, password: str, timeout: float) -> Iterator[imaplib.IMAP4]:
    """Opens the mailbox. Converts the errors of imaplib and the server to RunnerErrors."""
    where = f"{settings.host}:{settings.port}"
    mailbox: imaplib.IMAP4 | None = None
    try:
        mailbox = _connected(settings, timeout)
        _log_in(mailbox, settings, password)
        quoted = settings.mailbox.replace("\\", "\\\\").replace('"', '\\"')
        kind, said = mailbox.select(f'"{quoted}"')
        if kind != "OK":
            raise AuthenticationError(f"code.imap.mailbox: {where} has no {settings.mailbox} ({_said(said)})")
        yield mailbox
    except imaplib.IMAP4.abort as error:
        raise Unreachable(
            f"login: the IMAP server {where} closed the connection ({show(str(error), 200)})", sent=False
        ) from None
    except ssl.SSLCertVerificationError as error:  # a ValueError too
        raise UsageError(
            f"code.imap: the certificate of {where} is not trusted ({show(error.verify_message, 200)}); see code.imap.ca_file"
        ) from None
    except (imaplib.IMAP4.error, ValueError, UnicodeError) as error:
        raise Unreachable(
            f"login: the IMAP server {where} sent an invalid response ({show(str(error), 200)})", sent=False
        ) from None
    except OSError as error:
        fault = error.strerror or type(error).__name__
        raise Unreachable(f"login: the IMAP server {where} cannot be reached ({fault})", sent=False) from None
    finally:
        if mailbox is not None:
            with suppress(Exception):  # the connection may be closed
                mailbox.logout()


def _connected(settings: ImapSettings, timeout: float) -> imaplib.IMAP4:
    try:
        tls = trusting(settings.ca_file)
    except OSError as error:
        raise UsageError(
            f"code.imap.ca_file: {settings.ca_file} cannot be used ({error.strerror or 'no PEM'}); give a CA bundle in PEM"
        ) from None
    host = settings.host or ""
    if settings.tls == "implicit":
        return _BoundedTls(host, settings.port, ssl_context=tls, timeout=timeout)
    mailbox = _Bounded(host, settings.port, timeout=timeout)
    mailbox.starttls(tls)
    return mailbox


def _log_in(mailbox: imaplib.IMAP4, settings: ImapSettings, password: str) -> None:
    """Logs in by SASL PLAIN (RFC 4616), which accepts any characters, else by LOGIN. Raises AuthenticationError."""
    user = settings.username or ""
    try:
        if "AUTH=PLAIN" in mailbox.capabilities:
            mailbox.authenticate("PLAIN", lambda _challenge: f"\0{user}\0{password}".encode())
        else:
            mailbox.login(user, password)
    except imaplib.IMAP4.abort:
        raise
    except (imaplib.IMAP4.error, UnicodeError) as error:
        if any(word in str(error) for word in _PASSING):
            raise Unreachable(
                f"login: the IMAP server {settings.host}:{settings.port} cannot accept a login now ({show(str(error), 200)})",
                sent=False,
            ) from None
        raise AuthenticationError(
            f"login: the IMAP server {settings.host}:{settings.port} refuses the user of code.imap.username with the secret "
            f"imap_password ({show(str(error), 200)})"
        ) from None


def _place(mailbox: imaplib.IMAP4, settings: ImapSettings) -> tuple[int, int]:
    """Returns UIDVALIDITY and UIDNEXT from SELECT. Raises Unreachable where the server does not send them."""
    found = []
    for name in ("UIDVALIDITY", "UIDNEXT"):
        number = (mailbox.untagged_responses.get(name) or [b""])[-1]
        if not isinstance(number, bytes) or not re.fullmatch(rb"[0-9]{1,10}", number):
            raise Unreachable(f"login: the IMAP server {settings.host} does not send {name}", sent=False)
        found.append(int(number))
    return found[0], found[1]


def _look(mailbox: imaplib.IMAP4, settings: CodeSettings, since: tuple[int, int], seen: set[int]) -> str | None:
    """Returns the code in the newest matching message and marks that as seen. `seen`: messages that did not match."""
    validity, first = since
    if _place(mailbox, settings.imap)[0] != validity:
        raise AuthenticationError(
            f"login: {settings.imap.mailbox} was rebuilt during the wait for a message; run again"
        )
    mailbox.noop()
    _kind, found = mailbox.uid("SEARCH", f"UID {first}:*")
    # `n:*` always includes the last message, even if its number is lower (RFC 9051, 9: seq-range).
    numbers = (
        {int(word) for word in (found[0] or b"").split() if word.isdigit() and len(word) <= 10} if found else set()
    )
    for number in sorted((one for one in numbers - seen if one >= first), reverse=True)[:MAX_NEW]:
        code = _code_of(_message(mailbox, number), settings)
        if code is not None:
            with suppress(imaplib.IMAP4.error):
                mailbox.uid("STORE", str(number), "+FLAGS.SILENT", r"(\Seen)")
            return code
        seen.add(number)
    return None


def _message(mailbox: imaplib.IMAP4, number: int) -> bytes:
    """Returns the beginning of the message, without marking it as seen."""
    _kind, parts = mailbox.uid("FETCH", str(number), f"(BODY.PEEK[]<0.{MAX_MESSAGE}>)")
    return next((part[1] for part in parts or () if isinstance(part, tuple) and isinstance(part[1], bytes)), b"")


def _code_of(raw: bytes, settings: CodeSettings) -> str | None:
    """Returns the code; None for a message with another sender or subject, without a code, or that is unreadable."""
    try:
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        if not _fits(message, settings.imap):
            return None
        return next((code for text in texts(message) if (code := code_in(text, settings.pattern))), None)
    except Exception:  # noqa: BLE001 - a message from anybody: the parser raises what it likes, and the next one may fit
        return None


def _fits(message: EmailMessage, settings: ImapSettings) -> bool:
    sender = parseaddr(str(message["From"] or ""))[1].lower()
    wanted = (settings.sender or "").lower()
    if wanted and not (sender.endswith(wanted) if wanted.startswith("@") else sender == wanted):
        return False
    return settings.subject is None or settings.subject.lower() in str(message["Subject"] or "").lower()


def _said(said: list[bytes | None]) -> str:
    return show(b" ".join(part for part in said if isinstance(part, bytes)).decode(errors="replace"), 200)
