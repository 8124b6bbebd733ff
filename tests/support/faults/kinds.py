"""Every kind of fault: how an exchange is spoiled, and what class of fault it is."""

import asyncio
import random
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate

from tests.support.faults.proxy import Exchange, Spoil
from tests.support.faults.shown import TOLD
from tests.support.faults.table import Class, Kind


def _status_line(status: int, of: Class, **headers: str) -> Spoil:
    async def spoil(exchange: Exchange) -> None:
        await exchange.reply(b'{"success": false, "error": "a fault was asked for"}', f"{status} Fault", **headers)

    return spoil


async def _reset_before(exchange: Exchange) -> None:
    exchange.reset()


async def _reset_after(exchange: Exchange) -> None:
    await exchange.answered()
    exchange.reset()


async def _close_before(exchange: Exchange) -> None:
    exchange.writer.close()


async def _close_after(exchange: Exchange) -> None:
    await exchange.answered()


async def _half_closed(exchange: Exchange) -> None:
    """Our side says that it is done, and goes on reading."""
    await exchange.answered()
    exchange.writer.write_eof()
    await exchange.gone()


async def _half_closed_whole(exchange: Exchange) -> None:
    head, body = await exchange.answered()
    await exchange.send(head + b"\r\n\r\n" + body)
    exchange.writer.write_eof()
    await exchange.gone()


async def _stall_before(exchange: Exchange) -> None:
    await exchange.gone()


async def _stall_after(exchange: Exchange) -> None:
    await exchange.answered()
    await exchange.gone()


async def _stall_in_body(exchange: Exchange) -> None:
    head, body = await exchange.answered()
    await exchange.send(head + b"\r\n\r\n" + body[: exchange.rng.randrange(len(body))])
    await exchange.gone()


async def _drip(exchange: Exchange) -> None:
    """A byte now and then: no single read times out."""
    head, body = await exchange.answered()
    for byte in head + b"\r\n\r\n" + body:
        await exchange.send(bytes((byte,)))
        await asyncio.sleep(exchange.rng.uniform(0.03, 0.06))


async def _segments(exchange: Exchange) -> None:
    """The whole answer in small parts."""
    head, body = await exchange.answered()
    raw = head + b"\r\nConnection: close\r\n\r\n" + body
    while raw:
        cut = exchange.rng.randint(20, 80)
        await exchange.send(raw[:cut])
        raw = raw[cut:]
        await asyncio.sleep(0)


async def _truncated(exchange: Exchange) -> None:
    head, body = await exchange.answered()
    await exchange.send(head + b"\r\n\r\n" + body[: exchange.rng.randrange(len(body))])


async def _truncated_head(exchange: Exchange) -> None:
    head, _ = await exchange.answered()
    await exchange.send(head[: exchange.rng.randrange(1, len(head))])


def _length(change: int) -> Spoil:
    """Content-Length says more, or less, than there is."""

    async def spoil(exchange: Exchange) -> None:
        _, body = await exchange.answered()
        by = change * exchange.rng.randint(1, len(body) - 1)
        await exchange.reply(body, Content_Length=str(len(body) + by))

    return spoil


async def _duplicated(exchange: Exchange) -> None:
    """The answer twice, on a connection that stays open: the second must not answer the next request."""
    head, body = await exchange.answered()
    await exchange.send((head + b"\r\n\r\n" + body) * 2)
    await exchange.gone()


async def _garbage(exchange: Exchange) -> None:
    await exchange.answered()
    await exchange.send(exchange.rng.randbytes(exchange.rng.randint(1, 2000)))


def _interim(status: bytes, times: int) -> Spoil:
    async def spoil(exchange: Exchange) -> None:
        head, body = await exchange.answered()
        await exchange.send(b"HTTP/1.1 " + status + b"\r\n\r\n")
        for _ in range(times - 1):
            await exchange.send(b"HTTP/1.1 " + status + b"\r\n\r\n")
        await exchange.send(head + b"\r\nConnection: close\r\n\r\n" + body)

    return spoil


async def _interim_endless(exchange: Exchange) -> None:
    await exchange.answered()
    while True:
        await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 10)
        await asyncio.sleep(0.01)


async def _endless_headers(exchange: Exchange) -> None:
    await exchange.answered()
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-Filler: " + b"y" * exchange.rng.randint(100, 9000) + b"\r\n")


def _body(make: Callable[[bytes, random.Random], bytes], **headers: str) -> Spoil:
    """The server's answer with another body."""

    async def spoil(exchange: Exchange) -> None:
        _, body = await exchange.answered()
        await exchange.reply(make(body, exchange.rng), **headers)

    return spoil


async def _plain_bomb(exchange: Exchange) -> None:
    await exchange.answered()
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n")
    for _ in range(200):
        await exchange.send(b" " * (1 << 20))


def _bomb() -> bytes:
    """200 MiB of spaces in 200 KiB."""
    made, part = zlib.compressobj(9, wbits=31), b" " * (1 << 20)
    first, other = (made.compress(part) + made.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 199 * other


def _later(seconds: float) -> Spoil:
    async def spoil(exchange: Exchange) -> None:
        await _status_line(503, Class.TURNED_AWAY, Retry_After=formatdate(time.time() + seconds, usegmt=True))(exchange)

    return spoil


BOMB = _bomb()
G, L = Class.GARBLED, Class.LOST

_LOST = (
    Kind("reset before", L, _reset_before),
    Kind("reset after", L, _reset_after, taken=True),
    Kind("closed before", L, _close_before),
    Kind("closed after", L, _close_after, taken=True),
    Kind("half-closed", L, _half_closed, taken=True),
    Kind("stall before", L, _stall_before),
    Kind("stall after", L, _stall_after, taken=True),
    Kind("stall in the body", L, _stall_in_body, taken=True),
    Kind("drip", L, _drip, taken=True),
    Kind("truncated body", L, _truncated, taken=True),
    Kind("truncated head", L, _truncated_head, taken=True),
    Kind("length too long", L, _length(+1), taken=True),
    Kind("garbage", L, _garbage, taken=True),
    Kind("endless interim answers", L, _interim_endless, taken=True),
    Kind("endless headers", L, _endless_headers, taken=True),
)
_GARBLED = (
    Kind("length too short", G, _length(-1), taken=True),
    Kind("no body", G, _body(lambda body, rng: b""), taken=True),
    Kind("HTML", G, _body(lambda body, rng: b"<html>It works!</html>", Content_Type="text/html"), taken=True),
    Kind("random bytes", G, _body(lambda body, rng: b"\xff" + rng.randbytes(300)), taken=True),
    Kind("NaN", G, _body(lambda body, rng: body[:-1] + b', "progress": NaN}'), taken=True),
    Kind("deep JSON", G, _body(lambda body, rng: b"[" * rng.randint(10_000, 40_000)), taken=True),
    Kind("many values", G, _body(lambda body, rng: b"[" + b"[]," * 100_000 + b"0]"), taken=True),
    Kind("a huge number", G, _body(lambda body, rng: b'{"job_id": ' + b"9" * 10_000 + b"}"), taken=True),
    Kind("another shape", G, _body(lambda body, rng: b'{"jobs": 7, "job": [null], "token": {}}'), taken=True),
    Kind("null", G, _body(lambda body, rng: b"null"), taken=True),
    Kind("no gzip", G, _body(lambda body, rng: body, Content_Encoding="gzip"), taken=True),
    Kind("unasked encoding", G, _body(lambda body, rng: body, Content_Encoding="br"), taken=True),
    Kind("gzip bomb", G, _body(lambda body, rng: BOMB, Content_Encoding="gzip"), taken=True),
    Kind("plain bomb", G, _plain_bomb, taken=True),
)
_HARMLESS = (
    Kind("in segments", Class.HARMLESS, _segments, taken=True),
    Kind("duplicated answer", Class.HARMLESS, _duplicated, taken=True),
    Kind("half-closed after the answer", Class.HARMLESS, _half_closed_whole, taken=True),
    Kind("100", Class.HARMLESS, _interim(b"100 Continue", 1), taken=True),
    Kind("103 many times", Class.HARMLESS, _interim(b"103 Early Hints", 40), taken=True),
    Kind("wrong content type", Class.HARMLESS, _body(lambda body, rng: body, Content_Type="text/html"), taken=True),
)


def _pages(of: Class, *statuses: int) -> tuple[Kind, ...]:
    def page(status: int) -> Spoil:
        async def spoil(exchange: Exchange) -> None:
            body = b"<!doctype html><title>One moment</title><p>Checking your browser"
            await exchange.reply(body, f"{status} Page", Content_Type="text/html; charset=utf-8")

        return spoil

    return tuple(Kind(f"{status} page", of, page(status)) for status in statuses)


def _statuses(of: Class, *statuses: int, **headers: str) -> tuple[Kind, ...]:
    return tuple(Kind(str(status), of, _status_line(status, of, **headers)) for status in statuses)


_RETRY_AFTER = {
    "0": "0", "1": "1", "negative": "-5", "a word": "soon", "a fraction": "0.5", "empty": "", "hex": "0x10",
    "a date past": "Sun, 06 Nov 1994 08:49:47 GMT", "no date": "Sun, 99 Nov 1994 08:49:47 GMT",
}  # fmt: skip
_STATUSES = (
    *_statuses(Class.TURNED_AWAY, 425, 429, 503),
    *(
        Kind(f"503, Retry-After: {name}", Class.TURNED_AWAY, _status_line(503, Class.TURNED_AWAY, Retry_After=value))
        for name, value in _RETRY_AFTER.items()
    ),
    Kind("503, Retry-After: a date to come", Class.TURNED_AWAY, _later(1.0)),
    *_statuses(Class.FAILING, 408, 500, 502, 504),
    *_statuses(Class.ODD, 501, 505, 507),
    *_statuses(Class.FAILING, 520, 521, 522, 524, 530),
    *_pages(Class.FAILING, 500, 502, 504, 523, 525),
    *_pages(Class.TURNED_AWAY, 503),
    *_pages(Class.PAGE, 403, 404),
    *_statuses(Class.ELSEWHERE, 301, 302, 303, 307, 308, Location="http://192.0.2.1/elsewhere"),
    *_statuses(Class.EXPIRED, 401),
    *_statuses(Class.CONFLICT, 409),
    *_statuses(Class.DENIED, 400, 403, 423),
    *_statuses(Class.REFUSED, 404, 405, 406, 410, 413, 415, 418, 422, 431, 451),
)
KINDS = (*_LOST, *_GARBLED, *_HARMLESS, *TOLD, *_STATUSES)
