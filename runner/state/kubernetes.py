"""State in a Kubernetes Secret, so that a CronJob without a volume keeps its session.

Every change carries the resource version that it was made from (Kubernetes API conventions, concurrency control), and the
lock is an annotation with an end, so that a killed pod holds it for two minutes at most. Needs `get` and `patch` on the
one Secret. A record costs three requests: read, lock (which returns the Secret), what changed with the unlock. A cold login
holds two, the account's and that of the seed's used steps, and keeps the used code in between: seven.
"""

import base64
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runner.clock import GRACE, LEAST, Clock, Deadline
from runner.errors import ContractError, DeadlineExceeded, RunnerError, SecretError, StateError, Unreachable, UsageError
from runner.external import MAX_WORDS, show
from runner.frozen import Frozen
from runner.state.interface import FINISH_SECONDS, AccountOptions, LoadedState
from runner.state.kubernetes_locks import LOCK, RECORD, lock_of, unlocked, unused
from runner.state.record import AccountState

if TYPE_CHECKING:
    import httpx

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LEASE_SECONDS = 120.0  # a login waits for a time step and sends a few requests
TIMEOUT = 10.0  # seconds for one request
TRIES = 4
MAX_BYTES = 4 << 20  # a Secret has at most 1 MiB of data, in Base64, in addition to its metadata


class Cluster(Frozen):
    """The API server of this pod's cluster."""

    base_url: str
    namespace: str
    token_file: Path
    tls: ssl.SSLContext = field(repr=False)

    @classmethod
    def of_pod(cls, environment: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> "Cluster":
        """Returns the cluster of this pod. Raises UsageError outside of one, or without a service account's token."""
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
        try:
            if not host:
                raise FileNotFoundError
            namespace = _line(account / "namespace")
            tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
            (account / "token").stat()
        except OSError:
            raise UsageError(
                "state.kubernetes_secret: works in a pod with its service account's token "
                "(automountServiceAccountToken: true); elsewhere set state.dir"
            ) from None
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", namespace, account / "token", tls)

    def token(self) -> str:
        """Reads the service account's token, each time, since it is rotated. Raises StateError."""
        try:
            return _line(self.token_file)
        except (OSError, ValueError):
            raise StateError(
                f"{self.token_file}: the service account's token cannot be read; check its mount"
            ) from None


def _line(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


class _Conflict(Exception):
    """Another process changed the Secret since it was read."""


class KubernetesState:
    """One Secret, with one key per account."""

    def __init__(self, cluster: Cluster, secret: str, clock: Clock, keep: float | None = None) -> None:
        """`secret` is the Secret's name. Releasing an account also deletes those that were unused for `keep` seconds.

        Sends nothing yet.
        """
        self._keep = keep
        self.name = f"secret {cluster.namespace}/{secret}"
        self.clock = clock
        self._cluster = cluster
        self._url = f"{cluster.base_url}/api/v1/namespaces/{cluster.namespace}/secrets/{secret}"
        self._client: httpx.AsyncClient | None = None
        self._answers = True
        self.latest: dict[str, Any] = {}  # the Secret after the last change by any of our stores

    def account(self, key: str, options: AccountOptions) -> "KubernetesStore":
        """Returns the account's store."""
        return KubernetesStore(self, key, options)

    async def keys(self, deadline: Deadline) -> list[str]:
        """As in StateInventory."""
        found = await self.get(deadline)
        return sorted(
            name.removesuffix(".json") for name, kept in found["data"].items() if kept and RECORD.fullmatch(name)
        )

    async def prune(self, keep: float, deadline: Deadline) -> int:
        """As in StateInventory."""
        for _ in range(TRIES * 4):
            found = await self.get(deadline)
            change, count = unused(found, keep, self.clock.time())
            if not change or await self.patch(found, change, deadline) is not None:
                return count
        raise StateError(f"{self.name}: other processes kept changing it; nothing was deleted")

    def pruning(self, found: dict[str, Any]) -> dict[str, Any]:
        """Returns the change that deletes unused accounts, sent together with its own change: it costs no request."""
        return {} if self._keep is None else unused(found, self._keep, self.clock.time())[0]

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def get(self, deadline: Deadline) -> dict[str, Any]:
        """Reads the Secret. Raises StateError, Unreachable or DeadlineExceeded."""
        return await self._send("GET", None, deadline)

    async def patch(self, found: dict[str, Any], change: dict[str, Any], deadline: Deadline) -> dict[str, Any] | None:
        """Returns the Secret after a change to what was read; None where another process changed it since."""
        metadata = {**change.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            self.latest = await self._send("PATCH", {**change, "metadata": metadata}, deadline)
        except _Conflict:
            return None
        return self.latest

    async def _send(self, method: str, body: Any, deadline: Deadline) -> dict[str, Any]:
        import tenacity

        tries = tenacity.AsyncRetrying(
            stop=lambda state: state.attempt_number >= TRIES or deadline.expired,
            wait=tenacity.wait_random_exponential(0.1, max=1.0),
            retry=tenacity.retry_if_exception_type(Unreachable),
            sleep=lambda seconds: self.clock.sleep(min(float(seconds), deadline.remaining)),
            reraise=True,
        )
        return await tries(self._once, method, body, deadline)

    async def _once(self, method: str, body: Any, deadline: Deadline) -> dict[str, Any]:
        import httpx

        from runner.http.fetch import Target, fetch_async

        target = Target(self._url, None, self._cluster.tls)
        if self._client is None:
            self._client = httpx.AsyncClient(**target.options())
        headers = {"Authorization": f"Bearer {self._cluster.token()}", "Content-Type": "application/merge-patch+json"}
        content = None if body is None else json.dumps(body).encode()
        seconds = max(deadline.remaining_with_grace, GRACE if self._answers else LEAST)
        try:
            answer = await fetch_async(
                self._client, target, method, "",
                endpoint=self.name, seconds=min(TIMEOUT, seconds), limit=MAX_BYTES,
                headers={**headers, "Accept-Encoding": "gzip"}, content=content,
            )  # fmt: skip
            self._answers = True
            if answer.status == 200:
                return _secret(answer.content)
        except (Unreachable, ContractError, ValueError, RecursionError) as error:
            self._answers = not isinstance(error, Unreachable)
            why = str(error).removeprefix(f"{self.name}: ") or "the response has no Secret"
            raise Unreachable(f"{self.name}: the cluster's API does not respond ({why})", sent=False) from None
        raise self._refusal(answer.status, answer.content)

    def _refusal(self, status: int, content: bytes) -> Exception:
        if status == 409:
            return _Conflict()
        text = f"{self.name}: the cluster's API answered {status}{_message(content)}"
        if status >= 500 or status in (408, 425, 429):
            return Unreachable(text, sent=False)
        return StateError(f"{text}; {_REMEDY.get(status, 'check state.kubernetes_secret')}")


_REMEDY = {
    401: "check the service account of this pod",
    403: "the service account needs `get` and `patch` on it",
    404: "`kubectl create secret generic` creates it, empty (the runner is not allowed to)",
    422: "is it immutable? Delete it and create an empty one",
}


def _secret(content: bytes) -> dict[str, Any]:
    """Parses the used parts of a Secret. Raises ValueError where the response has another shape."""
    found = json.loads(content)
    metadata = found.get("metadata") if isinstance(found, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError  # noqa: TRY004
    metadata = found["metadata"]
    data, annotations = found.get("data") or {}, metadata.get("annotations") or {}
    if not isinstance(data, dict) or not isinstance(annotations, dict) or "resourceVersion" not in metadata:
        raise ValueError
    return {"metadata": {**metadata, "annotations": annotations}, "data": data}


def _message(content: bytes) -> str:
    """Returns the server's own message (a Status object of the Kubernetes API), if any."""
    try:
        found = json.loads(content)
        message = found["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f" ({show(message, MAX_WORDS)})" if isinstance(message, str) and message else ""


class KubernetesStore:
    """One account's key in the Secret, shared by pods."""

    def __init__(self, place: KubernetesState, key: str, options: AccountOptions) -> None:
        """`place` is the Secret, `key` the account's name in it."""
        self._place = place
        self._key = f"{key}.json"
        self._annotation = f"{LOCK}{key}"
        self._codec, self._warn = options.codec, options.warn
        self._holder = f"{socket.gethostname()}-{uuid4().hex}"
        self._found: dict[str, Any] = {}  # the Secret as it was after our last change

    async def read(self, deadline: Deadline) -> AccountState:
        """Reads the stored state."""
        return self._state(await self._place.get(deadline)).believable(self._place.clock.time())

    @asynccontextmanager
    async def hold(self, deadline: Deadline) -> AsyncIterator[LoadedState]:
        """Holds the account across pods. Raises DeadlineExceeded when another pod holds it too long."""

        async def finish(state: AccountState | None) -> None:
            within = Deadline.after(self._place.clock, FINISH_SECONDS, "the time to save").min(deadline)
            if state is not None:
                await self._change(self._unlocking(self._data(state)), within)
            elif self._found:
                with suppress(RunnerError):  # the lock expires by itself
                    await self._change(self._unlocking({"data": {}}), within)

        try:
            await self._lock(deadline)
            held = LoadedState(
                self._state(self._found),
                self._place.clock.time(),
                lambda state: self._change(self._data(state), deadline),
            )
        except BaseException:
            await finish(None)
            raise
        async with held.finished_by(finish, self._warn):
            yield held

    def _unlocking(self, change: dict[str, Any]) -> dict[str, Any]:
        """Returns the change with the end of our lock, and of unused accounts."""
        pruned = self._place.pruning(self._found)
        annotations = pruned.get("metadata", {}).get("annotations", {})
        used = {self._annotation: unlocked(self._place.clock.time())}
        return {"data": pruned.get("data", {}) | change["data"], "metadata": {"annotations": annotations | used}}

    async def _lock(self, deadline: Deadline) -> None:
        pause = 0.05
        while not await self._try_lock(deadline):
            if deadline.expired:
                raise DeadlineExceeded(
                    f"{self._place.name}: another pod held the login lock until {deadline.what} ended"
                )
            await self._place.clock.sleep(min(random.uniform(pause / 2, pause), deadline.remaining))
            pause = min(pause * 2, 1.0)

    def _saver(self, deadline: Deadline) -> Callable[[AccountState], Awaitable[None]]:
        return lambda state: self._change(self._data(state), deadline)

    def _data(self, state: AccountState) -> dict[str, Any]:
        return {"data": {self._key: base64.b64encode(self._codec.encode(state)).decode()}}

    def _state(self, found: dict[str, Any]) -> AccountState:
        kept = found["data"].get(self._key)
        if not kept:
            return AccountState()
        try:
            return self._codec.decode(base64.b64decode(kept, validate=True))
        except (SecretError, StateError) as error:
            raise type(error)(f"{self._place.name}: `{self._key}`: {error}") from None
        except (ValueError, TypeError):
            self._warn(f"{self._place.name}: `{self._key}` is unreadable and counts as empty; a new login follows")
            return AccountState(assume_used_until=self._place.clock.time())

    async def _try_lock(self, deadline: Deadline) -> bool:
        self._found = {}
        found = await self._place.get(deadline)
        holder, until = self._held(found)
        if holder and holder != self._holder and until > self._place.clock.time():
            return False
        self._found = found  # from here on the lock may be ours, even if the response is lost
        ends = f"{self._holder} {self._place.clock.time() + LEASE_SECONDS:.0f}"
        locked = await self._place.patch(found, {"metadata": {"annotations": {self._annotation: ends}}}, deadline)
        self._found = locked or {}
        return locked is not None

    async def _change(self, change: dict[str, Any], deadline: Deadline) -> None:
        """Raises StateError where the lock was lost: another pod may be logging in."""
        if self._place.latest and self._held(self._place.latest)[0] == self._holder:
            self._found = self._place.latest
        for _ in range(TRIES * 4):
            changed = await self._place.patch(self._found, change, deadline)
            if changed is not None:
                self._found = changed
                return
            self._found = await self._place.get(deadline)
            if self._held(self._found)[0] != self._holder:
                raise StateError(f"{self._place.name}: another pod took over the login lock; nothing was sent")
        raise StateError(f"{self._place.name}: other processes kept changing it; the session could not be stored")

    def _held(self, found: dict[str, Any]) -> tuple[str, float]:
        return lock_of(found, self._annotation)
