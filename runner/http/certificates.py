"""Creates the TLS context of every client: the trusted certificate authorities."""

import ssl
from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Returns a context that trusts the file's authorities, or the system's. Raises OSError for an unusable file.

    Only a regular file is accepted: reading a FIFO would hang the run, and a device may never end.
    """
    if ca_file is not None and ca_file.exists() and not ca_file.is_file():
        raise OSError(0, "not a regular file")
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
