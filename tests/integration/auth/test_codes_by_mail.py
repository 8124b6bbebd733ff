"""One-time codes by e-mail, from a real Dovecot over TLS: which message counts, and what happens where none can be had."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from runner.auth import totp
from tests.support.command_line import PATIENCE, CommandLine, Running
from tests.support.dovecot import PASSWORD, USER, Dovecot
from tests.support.programs import need


@pytest.fixture
def mail() -> Iterator[Dovecot]:
    need("dovecot")
    with TemporaryDirectory(prefix="dovecot-") as home, Dovecot(Path(home)) as server:
        yield server


def _code(cli: CommandLine) -> str:
    seed = totp.parse_seed(cli.server.credentials["totp_seed"])
    return totp.code(seed, totp.step_at(seed, time.time()))


def _settings(cli: CommandLine, mail: Dovecot, *more: str) -> list[str]:
    (cli.secrets / "imap_password").write_text(PASSWORD, encoding="utf-8")
    (cli.secrets / "imap_password").chmod(0o600)
    wanted = (
        "code.source=imap", "code.imap.host=localhost", f"code.imap.port={mail.port}", f"code.imap.username={USER}",
        f"code.imap.ca_file={mail.ca_file}", "code.imap.sender=@example.org", "code.imap.subject=your code",
        "code.timeout=20s", *more,
    )  # fmt: skip
    return [word for one in wanted for word in ("--set", one)]


def _password_arrived(cli: CommandLine) -> None:
    """The moment at which a service sends its message."""
    end = time.monotonic() + PATIENCE
    while not [one for one in cli.record()["requests"] if one["endpoint"] == "login"]:
        assert time.monotonic() < end
        time.sleep(0.02)


def _run(cli: CommandLine, mail: Dovecot, *more: str) -> Running:
    return cli.start(*_settings(cli, mail, *more), "run", "health")


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_the_code_of_the_message_that_came_after_the_login_began_is_used(
    cli: CommandLine, mail: Dovecot, kind: str
) -> None:
    mail.deliver("Your code: 111111")  # of a login before, unread
    run = _run(cli, mail)
    _password_arrived(cli)
    mail.deliver("Your code: 222222", sender="login@example.com")
    mail.deliver("Your code: 333333", subject="Newsletter")
    mail.deliver("Nothing here")
    page = "<style>p{width:444444}</style><p>Your code: <b>{}</b>" if kind == "html" else "Your code: {}"
    text = page.replace("{}", _code(cli))
    mail.deliver(text, kind=kind)
    ended = run.finish()
    assert ended.code == 0, ended.stderr
    assert ended.events("session.started")[0]["mfa"] is True
    assert mail.seen() == [text]
    assert mail.count == 5


def test_the_newest_of_two_messages_counts(cli: CommandLine, mail: Dovecot) -> None:
    run = _run(cli, mail)
    _password_arrived(cli)
    with mail.paused():
        mail.deliver("Your code: 111111")
        mail.deliver(f"Your code: {_code(cli)}")
    ended = run.finish()
    assert ended.code == 0, ended.stderr


def test_no_message_ends_with_code_3_and_one_password(cli: CommandLine, mail: Dovecot) -> None:
    mail.deliver("Your code: 111111")
    ended = _run(cli, mail, "code.timeout=2s").finish()
    assert ended.code == 3, ended.stderr
    assert "no message from @example.org with subject `your code`" in ended.errors
    assert len([one for one in cli.record()["requests"] if one["endpoint"] == "login"]) == 1
    assert mail.seen() == []


def test_a_mailbox_that_refuses_ends_the_login_before_anything_is_sent(cli: CommandLine, mail: Dovecot) -> None:
    words = _settings(cli, mail)
    (cli.secrets / "imap_password").write_text("not the password", encoding="utf-8")
    for command in (("run", "health"), ("check",)):
        ended = cli.run(*words, *command)
        assert ended.code == 3, ended.stderr
        assert "refuses the user of code.imap.username" in ended.errors + ended.stdout
        assert "not the password" not in ended.stderr + ended.stdout
    assert cli.record()["requests"] == []


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        ("code.imap.ca_file=/etc/ssl/certs/ca-certificates.crt", 2, "is not trusted"),
        ("code.imap.ca_file=/etc/passwd", 2, "code.imap.ca_file"),
        ("code.imap.ca_file=/no/such/file", 2, "code.imap.ca_file"),
        ("code.imap.ca_file=/dev/zero", 2, "not a regular file"),
        ("code.imap.mailbox=Other", 3, "has no Other"),
        ('code.imap.mailbox=In"box\\', 3, "code.imap.mailbox"),
        ("code.imap.port=1", 7, "cannot be reached"),
        ("code.imap.tls=starttls", 7, "the IMAP server"),
        ("code.imap.host=no-such-host.invalid", 7, "cannot be reached"),
    ],
)
def test_what_is_wrong_with_the_mailbox_is_named_and_nothing_is_sent(
    cli: CommandLine, mail: Dovecot, more: str, code: int, told: str
) -> None:
    ended = _run(cli, mail, more, "deadline.run=40s").finish()
    assert ended.code == code, ended.stderr
    assert told in ended.errors
    assert cli.record()["requests"] == []


def test_check_opens_the_mailbox_and_changes_nothing(cli: CommandLine, mail: Dovecot) -> None:
    mail.deliver("Your code: 111111")
    ended = cli.run(*_settings(cli, mail, "code.timeout=1s"), "check")
    assert f"INBOX at localhost:{mail.port} can be read" in ended.stdout
    assert mail.seen() == []


@pytest.mark.parametrize(
    "answer", [b"", b"* BYE go away\r\n", b"\0\xff\r\n", b"x" * 70_000, b"HTTP/1.1 400 Bad Request\r\n\r\n"]
)
def test_a_server_that_speaks_no_imap_ends_with_code_7(cli: CommandLine, tmp_path: Path, answer: bytes) -> None:
    import ssl

    home = tmp_path / "odd"
    home.mkdir()
    server = Dovecot(home)  # only its certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(home / "cert.pem", home / "key.pem")
    with socket.create_server(("127.0.0.1", server.port)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _address = listening.accept()
                    with context.wrap_socket(plain, server_side=True) as spoken:
                        spoken.sendall(answer)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        ended = _run(cli, server, "deadline.run=40s").finish()
    assert ended.code == 7, ended.stderr
    assert cli.record()["requests"] == []
