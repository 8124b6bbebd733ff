"""Servers that stall: from some phase of a connection on, or once they are told to."""

import contextlib
import socket
import threading
from collections.abc import Iterator

PHASES = ("connect", "TLS", "headers", "dripping headers", "body", "dripping body")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


@contextlib.contextmanager
def stalled(phase: str) -> Iterator[int]:
    """The port of a server that goes no further than that phase."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = server.getsockname()[1]
        over = threading.Event()
        stack.callback(over.set)
        if phase == "connect":  # a full queue: nobody's connection is accepted
            for _ in range(3):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
        else:
            threading.Thread(target=_serve, args=(server, phase, over), daemon=True).start()
        yield port


def _serve(server: socket.socket, phase: str, over: threading.Event) -> None:
    while not over.is_set():
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, phase, over), daemon=True).start()


def _answer(connection: socket.socket, phase: str, over: threading.Event) -> None:
    with connection, contextlib.suppress(OSError):
        if phase not in ("TLS", "headers"):
            connection.recv(65536)
            connection.sendall(HEAD if "body" in phase else b"HTTP/1.1 200 OK\r\n")
        drip = {"dripping headers": b"X-More: 1\r\n", "dripping body": b" "}.get(phase)
        while not over.wait(0.2):
            if drip:
                connection.sendall(drip)


class Relay:
    """Hands bytes on between a port of its own and another, until it is frozen: then both ends wait for ever."""

    def __init__(self, stack: contextlib.ExitStack, port: int) -> None:
        self._there = port
        self._frozen, self._over = threading.Event(), threading.Event()
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._sockets[0].getsockname()[1]
        stack.callback(self._close)
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """From now on nothing goes through, and connections are accepted."""
        self._frozen.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._sockets[0].accept()
                far = socket.create_connection(("127.0.0.1", self._there))
                self._sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._hand_on, args=(source, target), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._frozen.is_set():
                    self._over.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        self._over.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
