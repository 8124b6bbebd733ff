"""Creates the TLS context of every client: the trusted certificate authorities."""

import ssl
from pathlib import Path

from runner.reading import in_time


def trusting(ca_file: Path | None, *, and_public: bool = False) -> ssl.SSLContext:
    """Returns a context that trusts the authorities of the file, or without one of the system, or of both.

    Raises OSError for an unusable file.
    """
    return ssl.create_default_context() if ca_file is None else in_time(lambda: _trusting(ca_file, and_public))


def _trusting(ca_file: Path, and_public: bool) -> ssl.SSLContext:
    if ca_file.exists() and not ca_file.is_file():  # a FIFO would hang, a device may never end
        raise OSError(0, "not a regular file")
    context = ssl.create_default_context(cafile=str(ca_file))
    if and_public:
        context.load_default_certs()
    return context
