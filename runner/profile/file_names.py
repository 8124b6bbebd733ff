"""Decides whether a file's name stays below its directory and names a regular file on every system. Pure."""

import re

MOST_PARTS = 16
LONGEST_PART = 200  # bytes; file systems accept 255, and a temporary name is longer
LONGEST = 1024
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: names of devices, with any extension
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def unfit(name: str) -> str | None:
    """Returns why a path may lead elsewhere, or to no regular file; None for a good one."""
    if not name or len(name.encode(errors="surrogatepass")) > LONGEST:
        return f"is empty, or longer than {LONGEST} bytes"
    if name.startswith(("/", "~")):
        return "is absolute"
    if "\\" in name or ":" in name or not name.isprintable():
        return "holds a backslash, a colon or a control character"
    parts = name.split("/")
    if len(parts) > MOST_PARTS:
        return f"has more than {MOST_PARTS} parts"
    return next((why for part in parts if (why := _unfit_part(part))), None)


def _unfit_part(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "has an empty part, `.` or `..`"
    if part != part.strip() or part.endswith("."):
        return "has a part that ends in a dot, or begins or ends with a space"
    if _DEVICE.fullmatch(part):
        return "names a device"
    if len(part.encode(errors="surrogatepass")) > LONGEST_PART:
        return f"has a part of more than {LONGEST_PART} bytes"
    return None
