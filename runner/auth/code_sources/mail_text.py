"""Reads the texts of a message that may hold a code: plain text, then what a page shows, then the subject. Pure.

Each page is read in one pass: a message comes from anybody, and has up to 256 KiB.
"""

import re
from collections.abc import Iterator
from email.message import EmailMessage, MIMEPart

_PARTS = re.compile(r"(<!--|-->|<[^<>]*>)")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_DIGITS_APART = re.compile(r"(?<![0-9])[0-9](?:\s{1,40}[0-9]){3,9}(?![0-9])")  # each in a cell of its own
_NOT_SHOWN = frozenset({"style", "script", "title"})
_WITHIN_A_LINE = frozenset(
    {"a", "b", "bdi", "big", "code", "em", "font", "i", "kbd", "mark", "s", "small", "span", "strong", "sub", "sup"}
    | {"tt", "u", "wbr"}
)
_CELLS = frozenset({"td", "th"})


def texts(message: EmailMessage) -> Iterator[str]:
    """Yields the message's texts, the most certain one first: some services say in the plain one that the page has all."""
    for kind in ("plain", "html"):
        body = message.get_body(preferencelist=(kind,))
        if body is not None:
            text = _content(body)
            yield text if kind == "plain" else shown(text)
    yield str(message["Subject"] or "")


def _content(body: MIMEPart) -> str:
    try:
        return str(body.get_content())
    except LookupError:  # a charset that Python does not know; a code is ASCII in nearly all
        raw = body.get_payload(decode=True)
        return raw.decode("ascii", "replace") if isinstance(raw, bytes) else ""


def shown(page: str) -> str:
    """Returns what a page shows: no comments and styles; digits in tags or cells of their own stay in one line."""
    import html

    found: list[str] = []
    until: str | None = None  # the tag, or the end of a comment, up to which nothing is shown
    for part in _PARTS.split(page):
        tag = _TAG.match(part)
        name = tag[2].lower() if tag else None
        if until is not None:
            over = part.endswith("-->") if until == "-->" else tag is not None and tag[1] == "/" and name == until
            until = None if over else until
        elif part == "<!--":
            until = "-->"
        elif tag is None:
            found.append(part)
        else:
            until = name if name in _NOT_SHOWN and not tag[1] else None
            found.append("" if name in _WITHIN_A_LINE else " " if name in _CELLS else "\n")
    return _DIGITS_APART.sub(lambda match: "".join(match[0].split()), html.unescape("".join(found)))
