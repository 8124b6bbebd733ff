"""One file of a job, downloaded: streamed to disk, bounded, resumed where the connection breaks, checked, put in its place."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

from runner.clock import Deadline
from runner.errors import ContractError, Unreachable
from runner.events.observer import Observer
from runner.external import raw
from runner.frozen import Frozen
from runner.http.body import is_plain
from runner.http.messages import PreparedRequest
from runner.http.streaming import SideClient, Streamed
from runner.jobs.artifact_paths import Target
from runner.state.file_worker import FileWorker

BREAKS = 10  # broken connections of one file
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds before it is resumed
PIECE = 1 << 20  # bytes that are written at once
BOMB_FROM, BOMB_RATIO = 16 << 20, 200  # inflated bytes from which on more than so many a received byte are refused
_SIZE = r"[0-9]{1,18}"  # bytes: more digits are nonsense, and int() refuses thousands of them
_RANGE = re.compile(rf"bytes ({_SIZE})-{_SIZE}/({_SIZE}|\*)")


class Wanted(Frozen):
    """What is told of the file, and the most bytes that are taken of it."""

    name: str
    limit: int
    size: int | None = None
    sha256: str | None = None


class Download:
    """One file under way."""

    def __init__(self, wanted: Wanted, target: Target, client: SideClient, worker: FileWorker, until: Deadline) -> None:
        """Nothing is sent yet."""
        self._wanted, self._target, self._client, self._worker, self._until = wanted, target, client, worker, until
        self.size, self.sha256 = 0, hashlib.sha256()
        self._validator: str | None = None

    async def run(self, sign: Callable[[], Awaitable[PreparedRequest]], observer: Observer) -> None:
        """Download and keep it. Raises ContractError for what must not be kept, and other RunnerErrors."""
        breaks = 0
        while True:
            try:
                await self._once(await sign(), observer)
                break
            except Unreachable:
                breaks += 1
                if breaks > BREAKS:
                    raise
            await asyncio.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (breaks - 1), self._until.remaining))
        if self._wanted.size is not None and self.size != self._wanted.size:
            raise ContractError(f"the file has {self.size} bytes, and the API told {self._wanted.size}")
        if self._wanted.sha256 is not None and self.sha256.hexdigest() != self._wanted.sha256.strip().lower():
            raise ContractError("the file's SHA-256 is not the one that the API told")
        await self._on_disk(self._target.keep)

    async def _on_disk(self, work: Callable[[], object]) -> None:
        await self._worker.run(work, self._until, str(self._target.path))

    async def _once(self, call: PreparedRequest, observer: Observer) -> None:
        """One response, to its end. Raises Unreachable where it may be resumed."""
        # Not compressed: what is could not be resumed, and tells no size.
        headers = {**call.headers, "Accept-Encoding": "identity", **self._resuming()}
        async with self._client.stream(replace(call, headers=headers), self._until, observer) as answer:
            total = await self._begin(answer)
            piece = bytearray()
            try:
                async for chunk in answer.chunks():
                    piece += chunk
                    self._check(self.size + len(piece), answer)
                    if len(piece) >= PIECE:
                        await self._take(piece)
            except Unreachable:
                await self._take(piece)  # the rest is asked for from here on
                raise
            await self._take(piece)
        if total is not None and self.size < total:
            raise Unreachable(f"artifacts: {self.size} of {total} bytes came")

    def _resuming(self) -> Mapping[str, str]:
        """The headers that ask for the rest; none where nothing says that it is the same file."""
        if not self.size or (self._validator is None and self._wanted.sha256 is None):
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": self._validator} if self._validator else {})}

    async def _begin(self, answer: Streamed) -> int | None:
        """Go on, or begin again. The size of the whole file, where it is told."""
        if answer.status >= 500 or answer.status == 429:
            raise Unreachable(f"artifacts: the API answered {answer.status}")
        part = _RANGE.fullmatch(raw(answer.headers.get("content-range", ""))) if answer.status == 206 else None
        if part and int(part[1]) == self.size and self.size:
            return None if part[2] == "*" else int(part[2])
        await self._restart()
        if answer.status in (206, 416):  # not the rest that was asked for: all of it once more
            raise Unreachable(f"artifacts: the API answered {answer.status} for another part")
        if answer.status != 200:
            raise ContractError(f"the API answered {answer.status}")
        etag, modified = (raw(answer.headers.get(name, "")) for name in ("etag", "last-modified"))
        self._validator = etag if etag.startswith('"') else modified or None
        length = raw(answer.headers.get("content-length", ""))
        if not is_plain(answer.headers.get("content-encoding")) or not re.fullmatch(_SIZE, length):
            return None
        self._check(int(length), answer)
        return int(length)

    async def _restart(self) -> None:
        self.size, self.sha256, self._validator = 0, hashlib.sha256(), None
        await self._on_disk(self._target.restart)

    def _check(self, size: int, answer: Streamed) -> None:
        if size > self._wanted.limit:
            raise ContractError(
                f"the file is larger than {self._wanted.limit} bytes (artifacts.max_bytes, max_total_bytes)"
            )
        packed = not is_plain(answer.headers.get("content-encoding"))
        if packed and size > BOMB_FROM and size > BOMB_RATIO * answer.received:
            raise ContractError(f"the file grows to more than {BOMB_RATIO} times what was sent: a decompression bomb")

    async def _take(self, piece: bytearray) -> None:
        chunk = bytes(piece)
        piece.clear()
        self.size += len(chunk)
        await self._on_disk(partial(self._keep, chunk))

    def _keep(self, chunk: bytes) -> None:
        self.sha256.update(chunk)
        self._target.write(chunk)
