"""Downloads one file of a job: streams to disk, bounds it, resumes after lost connections, verifies it, moves it."""

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
PIECE = 1 << 20  # bytes per write
BOMB_FROM, BOMB_RATIO = 16 << 20, 200  # above this inflated size, a higher ratio to received bytes is refused
_SIZE = r"[0-9]{1,18}"  # bytes: more digits are invalid, and int() refuses thousands of them
_RANGE = re.compile(rf"bytes ({_SIZE})-{_SIZE}/({_SIZE}|\*)")


class Wanted(Frozen):
    """What the API reports of the file, and the maximum bytes that are accepted."""

    name: str
    limit: int
    size: int | None = None
    sha256: str | None = None


class Download:
    """One file during its download."""

    def __init__(self, wanted: Wanted, target: Target, client: SideClient, worker: FileWorker, until: Deadline) -> None:
        """Sends nothing yet."""
        self._wanted, self._target, self._client, self._worker, self._until = wanted, target, client, worker, until
        self.size, self.sha256 = 0, hashlib.sha256()
        self._validator: str | None = None

    async def run(self, sign: Callable[[], Awaitable[PreparedRequest]], observer: Observer) -> None:
        """Downloads and stores it. Raises ContractError for what must not be stored, and other RunnerErrors."""
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
            raise ContractError(f"the file has {self.size} bytes, but the API reported {self._wanted.size}")
        if self._wanted.sha256 is not None and self.sha256.hexdigest() != self._wanted.sha256.strip().lower():
            raise ContractError("the file's SHA-256 differs from the one that the API reported")
        await self._on_disk(self._target.keep)

    async def _on_disk(self, work: Callable[[], object]) -> None:
        await self._worker.run(work, self._until, str(self._target.path))

    async def _once(self, call: PreparedRequest, observer: Observer) -> None:
        """Reads one response to its end. Raises Unreachable where it may be resumed."""
        # Not compressed: a compressed download cannot be resumed and states no size.
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
                await self._take(piece)  # a resume starts here
                raise
            await self._take(piece)
        if total is not None and self.size < total:
            raise Unreachable(f"artifacts: {self.size} of {total} bytes received")

    def _resuming(self) -> Mapping[str, str]:
        """Returns the headers that request the rest; none where it may be a different file."""
        if not self.size or (self._validator is None and self._wanted.sha256 is None):
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": self._validator} if self._validator else {})}

    async def _begin(self, answer: Streamed) -> int | None:
        """Continues or restarts. Returns the size of the whole file, where it is stated."""
        if answer.status >= 500 or answer.status == 429:
            raise Unreachable(f"artifacts: the API answered {answer.status}")
        part = _RANGE.fullmatch(raw(answer.headers.get("content-range", ""))) if answer.status == 206 else None
        if part and int(part[1]) == self.size and self.size:
            return None if part[2] == "*" else int(part[2])
        await self._restart()
        if answer.status in (206, 416):  # not the requested part: restart
            raise Unreachable(f"artifacts: the API answered {answer.status} with another part")
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
            raise ContractError(
                f"the file inflates to more than {BOMB_RATIO} times the sent bytes: a decompression bomb"
            )

    async def _take(self, piece: bytearray) -> None:
        chunk = bytes(piece)
        piece.clear()
        self.size += len(chunk)
        await self._on_disk(partial(self._keep, chunk))

    def _keep(self, chunk: bytes) -> None:
        self.sha256.update(chunk)
        self._target.write(chunk)
