"""The TCP connections of ASGI requests: counts them, and finds one in order to reset it."""

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_open: dict[tuple[str, int], asyncio.Transport] = {}
_most: dict[int, int] = {}  # by the server's port


class Protocol(H11Protocol):
    """uvicorn's protocol, with each connection findable by its peer's address."""

    def connection_made(self, transport: Any) -> None:
        """Note it."""
        super().connection_made(transport)
        self._peer = tuple((transport.get_extra_info("peername") or ("", 0))[:2])
        _open[self._peer] = transport
        port = transport.get_extra_info("sockname")[1]
        _most[port] = max(_most.get(port, 0), len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        _open.pop(self._peer, None)
        super().connection_lost(exc)


def reset(scope: Scope) -> None:
    """Resets the request's TCP connection."""
    transport = _open.get(tuple(scope["client"]))
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def most_connections(scope: Scope) -> int:
    """Returns the maximum number of connections that the request's server had open at once, including this request's."""
    return _most.get(scope["server"][1], 0)
