"""A TCP proxy that cuts one answer off: the server has acted, and the runner never hears of it."""

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit


class CuttingProxy:
    """Forwards bytes to `upstream` while the `with` block lasts.

    The first answer that begins after the bytes `mark` went to the server is not handed on: the connection is reset.
    """

    def __init__(self, upstream: str, mark: bytes) -> None:
        """`upstream`: the server's address as a URL; the same path stands in `base_url`."""
        parts = urlsplit(upstream)
        assert parts.port is not None
        self._upstream = ("127.0.0.1", parts.port)
        self._mark = mark
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.base_url = f"http://127.0.0.1:{self._listening.getsockname()[1]}{parts.path}"

    def __enter__(self) -> "CuttingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listening.accept()
                try:
                    server = socket.create_connection(self._upstream)
                except OSError:
                    _reset(client)
                    continue
                self._open += [client, server]
                marked = threading.Event()
                threading.Thread(target=self._up, args=(client, server, marked), daemon=True).start()
                threading.Thread(target=self._down, args=(client, server, marked), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, marked: threading.Event) -> None:
        """The runner's bytes, searched for the mark also where it comes in two parts."""
        kept = b""
        with suppress(OSError):
            while part := client.recv(65536):
                kept = kept[-len(self._mark) :] + part
                if self._mark in kept:
                    marked.set()
                    kept = b""
                server.sendall(part)
            server.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, server: socket.socket, marked: threading.Event) -> None:
        """The server's bytes, unless they are the answer to be cut."""
        with suppress(OSError):
            while part := server.recv(65536):
                if marked.is_set() and self._first_cut():
                    _reset(client)
                    return
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)

    def _first_cut(self) -> bool:
        with self._lock:
            self.cuts += 1
            return self.cuts == 1


def _reset(connection: socket.socket) -> None:
    """Close with RST, also where another thread still reads."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.close()
