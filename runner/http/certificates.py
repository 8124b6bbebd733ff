"""Whom a TLS connection trusts. Every client of the runner makes its context here."""

import ssl
from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """The authorities in the file, or the system's. Raises OSError for a file that cannot be used.

    What is not a regular file is refused: reading a FIFO would hang the run, and a device may never end.
    """
    if ca_file is not None and ca_file.exists() and not ca_file.is_file():
        raise OSError(0, "not a regular file")
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
