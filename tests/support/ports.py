"""Ports for servers that are given theirs, and that start later."""

import errno
import secrets
import socket

FIRST, LAST = 10_000, 29_999  # below what Linux gives to connections, and to servers that take any port (32768)
_given: set[int] = set()


def free_port() -> int:
    """Returns a port of loopback where no server listens now. No other server of this process or connection gets it."""
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST + 1)
        if port in _given:
            continue
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        _given.add(port)
        return port
