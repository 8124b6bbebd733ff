"""The settings section `code`: the source of one-time codes."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from runner.settings.sections import _Section
from runner.settings.values import Duration, Pattern


def _words_of_command(value: Any) -> Any:
    """`pass otp example`, split as a shell splits words, or a list, or JSON of one."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        import json

        return json.loads(value)
    import shlex

    return shlex.split(value)


class ImapSettings(_Section):
    """The mailbox that receives codes. Its password is the secret imap_password."""

    host: str | None = Field(default=None, min_length=1, description="The IMAP server.")
    port: int = Field(default=993, ge=1, le=65535, description="Its port.")
    tls: Literal["implicit", "starttls"] = Field(default="implicit", description="TLS from the start, or by STARTTLS.")
    ca_file: Path | None = Field(default=None, description="CA bundle (PEM) to trust instead of the system's.")
    username: str | None = Field(default=None, min_length=1, description="The mailbox's user.")
    mailbox: str = Field(default="INBOX", pattern=r"^[ -~]+$", description="The folder.")
    sender: str | None = Field(
        default=None, min_length=3, description="Only messages From this address, or from this domain: @example.org."
    )
    subject: str | None = Field(
        default=None, min_length=1, description="Only messages whose subject contains this text."
    )


class CodeSettings(_Section):
    """The source of one-time codes."""

    source: str = Field(
        default="totp",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="totp, hotp, command, imap, person, or an entry point of `sync_runner.code_sources`.",
    )
    timeout: Duration = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="How long to wait for a code from a program, message or person. Then the login ends with exit code 3.",
    )
    pattern: Pattern = Field(
        default=r"(?<![0-9A-Za-z])[0-9]{4,10}(?![0-9A-Za-z])",
        description="The code in a program's output or a message: a regular expression; its first group, else the match.",
    )
    command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words_of_command)] = Field(
        default=(), description="The program whose output contains the code, and its arguments; no shell."
    )
    imap: ImapSettings = Field(default={}, validate_default=True)
