"""Faults before the first byte of HTTP: names that cannot be looked up, ports that refuse, TLS that fails in each way.

All of them mean that the request certainly never left.
"""

import asyncio
import datetime
import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.faults.proxy import FaultProxy, Greet

Key = ec.EllipticCurvePrivateKey
PROTOCOL_VERSION = b"\x15\x03\x02\x00\x02\x02\x46"  # the fatal alert of a server that ends at TLS 1.1 (RFC 5246, 7.2)


_SIGNS = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


class Authority:
    """A certificate authority of its own, with good and bad certificates in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._key = directory, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
        self.file = directory / "ca.pem"
        basic = x509.BasicConstraints(ca=True, path_length=0)
        root = self._builder(self._name, self._key, days=30).add_extension(basic, critical=True)
        root = root.add_extension(_SIGNS, critical=True)
        self.file.write_bytes(root.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        begin, end = sorted((now - datetime.timedelta(days=40), now + datetime.timedelta(days=days)))
        public, of_issuer = key.public_key(), x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
        # Python demands both from 3.13 on (RFC 5280).
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        builder = builder.add_extension(of_issuer, critical=False)
        return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)

    def context(self, host: str = "localhost", *, days: int = 30, own: bool = True) -> ssl.SSLContext:
        """A server's TLS for `host`: expired for negative `days`, of an authority nobody knows where it is not `own`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names: list[x509.GeneralName] = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
        builder = self._builder(subject, key, days).add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._key if own else ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        path = self._directory / f"{host}{days}{own}.pem"
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _with(context: ssl.SSLContext) -> Greet:
    async def greet(_proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(context)
        await reader.read(65536)

    return greet


def _saying(raw: bytes) -> Greet:
    async def greet(_proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(raw)
        await writer.drain()

    return greet


async def _silent(_proxy: FaultProxy, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


def tls_kinds(authority: Authority) -> dict[str, Greet]:
    """Each way in which TLS fails."""
    return {
        "TLS: unknown authority": _with(authority.context(own=False)),
        "TLS: expired": _with(authority.context(days=-20)),
        "TLS: another host's": _with(authority.context("elsewhere.example")),
        "TLS: too old a version": _saying(PROTOCOL_VERSION),
        "TLS: plain HTTP": _saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        "TLS: garbage": _saying(random.Random(1).randbytes(200)),
        "TLS: closed in the handshake": _saying(b""),
        "TLS: silent": _silent,
    }


def _answering(raw: bytes) -> Greet:
    async def greet(_proxy: FaultProxy, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return greet


TUNNEL_HOST = "sandbox.test"  # no loopback, which no proxy is asked for
TUNNEL_LOGIN = "CONNECT: 407"
TUNNEL_KINDS: dict[str, Greet] = {
    **{
        f"CONNECT: {status}": _answering(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\n\r\n" % status)
        for status in (403, 407, 502, 503, 504)
    },
    "CONNECT: a page": _answering(b"HTTP/1.1 503 No\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<p>No</p>"),
    "CONNECT: closed": _answering(b""),
    "CONNECT: garbage": _answering(random.Random(2).randbytes(200)),
}

Look = Callable[..., Any]


def _fails(code: int) -> Look:
    def poll(*_words: Any, **_more: Any) -> Any:
        raise socket.gaierror(code, "a fault was asked for")

    return poll


def _hangs(*_words: Any, **_more: Any) -> Any:
    time.sleep(2.0)
    raise socket.gaierror(socket.EAI_AGAIN, "a fault was asked for")


def _refused(*_words: Any, **_more: Any) -> Any:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]


NAME_KINDS: dict[str, Look] = {
    "DNS: no such name": _fails(socket.EAI_NONAME),
    "DNS: fails for now": _fails(socket.EAI_AGAIN),
    "DNS: hangs": _hangs,
    "connection refused": _refused,
}


@contextmanager
def names_failing(poll: Look, which: range) -> Iterator[list[int]]:
    """While it lasts, those look-ups of localhost (counted from 0) go by `look`; the list tells which came so far."""
    real, count = socket.getaddrinfo, iter(range(1 << 30))
    struck: list[int] = []

    def patched(host: Any, *words: Any, **more: Any) -> Any:
        if host in ("localhost", b"localhost") and (number := next(count)) in which:
            struck.append(number)
            return poll(host, *words, **more)
        return real(host, *words, **more)

    socket.getaddrinfo = patched
    try:
        yield struck
    finally:
        socket.getaddrinfo = real
