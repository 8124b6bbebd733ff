"""An account's state in a Kubernetes Secret, so that a CronJob without a volume keeps its session.

Every change carries the resource version that it was made from (Kubernetes API conventions, concurrency control), and the
lock is an annotation with an end, so that a killed pod holds it for two minutes at most. Needs `get` and `patch` on the
one Secret.
"""

import base64
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Any
from uuid import uuid4

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, SecretError, Unreachable, UsageError
from runner.frozen import Frozen
from runner.state.record import AccountState, Codec

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LEASE_SECONDS = 120.0  # a login takes a time step's wait and a few requests
TIMEOUT = 10.0  # seconds for one request
TRIES = 4
_LOCK = "sync-runner.io/lock-"


class Cluster(Frozen):
    """How a pod reaches its API server."""

    base_url: str
    namespace: str
    token_file: Path
    tls: ssl.SSLContext = field(repr=False)

    @classmethod
    def of_pod(cls, environment: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> "Cluster":
        """The cluster that this pod runs in. Raises UsageError outside of one, or without a service account's token."""
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
        """The service account's token; read each time, for it is rotated under our feet. Raises SecretError."""
        try:
            return _line(self.token_file)
        except (OSError, ValueError):
            raise SecretError(
                f"{self.token_file}: the service account's token can not be read; check its mount"
            ) from None


def _line(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


class _Conflict(Exception):
    """Somebody else changed the Secret since it was read."""


class KubernetesStore:
    """State in one key of a Secret, shared by pods."""

    def __init__(
        self, cluster: Cluster, secret: str, key: str, clock: Clock, warn: Callable[[str], None], codec: Codec
    ) -> None:
        """`secret` is the Secret's name, `key` the account's within it."""
        self._cluster = cluster
        self._name = f"secret {cluster.namespace}/{secret}"
        self._url = f"{cluster.base_url}/api/v1/namespaces/{cluster.namespace}/secrets/{secret}"
        self._key = f"{key}.json"
        self._annotation = f"{_LOCK}{key}"
        self._clock = clock
        self._warn = warn
        self._codec = codec
        self._holder = f"{socket.gethostname()}-{uuid4().hex}"
        self._locked = False

    def load(self) -> AccountState:
        """What is kept. Raises SecretError, or Unreachable for an API server that does not answer."""
        kept = (self._get().get("data") or {}).get(self._key)
        if not kept:
            return AccountState()
        try:
            return self._codec.decode(base64.b64decode(kept, validate=True))
        except SecretError as error:
            raise SecretError(f"{self._name}: {error}") from None
        except ValueError:
            self._warn(f"{self._name}: `{self._key}` is not readable and counts as empty; a fresh login follows")
            return AccountState(assume_used_until=self._clock.time())

    def save(self, stored: AccountState) -> None:
        """Keep it. Raises SecretError where the lock was lost meanwhile: another pod may be logging in."""
        content = base64.b64encode(self._codec.encode(stored)).decode()
        for _ in range(TRIES * 4):
            found = self._get()
            if self._locked and not self._is_ours(found):
                raise SecretError(f"{self._name}: another pod took the login lock over; nothing was sent")
            if self._patch(found, {"data": {self._key: content}}):
                return
        raise SecretError(f"{self._name}: others kept changing it; the session could not be kept")

    @asynccontextmanager
    async def lock(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold the account, over pods. Raises DeadlineExceeded when another pod holds it too long."""
        pause = 0.05
        while not self._try_lock():
            if deadline.expired:
                raise DeadlineExceeded(f"{self._name}: another pod held the login lock until {deadline.what} ended")
            await self._clock.sleep(min(random.uniform(pause / 2, pause), deadline.remaining))
            pause = min(pause * 2, 1.0)
        self._locked = True
        try:
            yield
        finally:
            self._locked = False
            with suppress(Unreachable, SecretError):  # it ends by itself
                self._unlock()

    def _try_lock(self) -> bool:
        found = self._get()
        holder, until = self._held(found)
        if holder and holder != self._holder and until > self._clock.time():
            return False
        ends = f"{self._holder} {self._clock.time() + LEASE_SECONDS:.0f}"
        return self._patch(found, {"metadata": {"annotations": {self._annotation: ends}}})

    def _unlock(self) -> None:
        for _ in range(TRIES):
            found = self._get()
            if not self._is_ours(found) or self._patch(found, {"metadata": {"annotations": {self._annotation: None}}}):
                return

    def _held(self, found: dict[str, Any]) -> tuple[str, float]:
        """Who holds the lock, and until when (Unix seconds); nobody where it was never written, or not by a runner."""
        annotations: dict[str, str] = found["metadata"].get("annotations") or {}
        holder, _, until = annotations.get(self._annotation, "").partition(" ")
        return holder, float(until) if until.isdigit() else 0.0

    def _is_ours(self, found: dict[str, Any]) -> bool:
        return self._held(found)[0] == self._holder

    def _get(self) -> dict[str, Any]:
        return self._send("GET", None)

    def _patch(self, found: dict[str, Any], change: dict[str, Any]) -> bool:
        """Change what was found; false where somebody else changed it since."""
        metadata = {**change.get("metadata", {}), "resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            self._send("PATCH", {**change, "metadata": metadata})
        except _Conflict:
            return False
        return True

    def _send(self, method: str, body: Any) -> dict[str, Any]:
        """The Secret as the API server gives it. Raises _Conflict, SecretError, or Unreachable after all tries."""
        import tenacity

        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_random_exponential(0.1, max=1.0),
            retry=tenacity.retry_if_exception_type(Unreachable),
            reraise=True,
        )
        return tries(self._once, method, body)

    def _once(self, method: str, body: Any) -> dict[str, Any]:
        import httpx

        headers = {"Authorization": f"Bearer {self._cluster.token()}", "Content-Type": "application/merge-patch+json"}
        try:
            with httpx.Client(verify=self._cluster.tls, timeout=TIMEOUT, trust_env=False) as client:
                answer = client.request(method, self._url, json=body, headers=headers)
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        except (httpx.HTTPError, ValueError) as error:
            told = f"{self._name}: the API server does not answer ({type(error).__name__})"
            raise Unreachable(told, sent=False) from None
        raise self._refusal(answer.status_code)

    def _refusal(self, status: int) -> Exception:
        if status == 409:
            return _Conflict()
        if status == 404:
            return SecretError(
                f"{self._name}: there is none; `kubectl create secret generic` makes it, empty (the runner may not)"
            )
        if status in (401, 403):
            return SecretError(
                f"{self._name}: the API server refuses ({status}); the service account needs `get` and `patch` on it"
            )
        return Unreachable(f"{self._name}: the API server answered {status}", sent=False)
