"""Pushes a run's metrics to a Prometheus Pushgateway at its end.

The run's metrics replace their group (PUT). The last successes of one sync type form a separate group, which is read and
merged, so that a run with a failed sync leaves its last success unchanged. A few requests, however many accounts there are:
the Pushgateway compares its whole content at each push. Stale groups are deleted where a setting asks for it.
"""
# Decision 0044.

import json
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.metrics import LAST_SUCCESS, LAST_SUCCESS_HELP, MetricsListener, believable, successes_in
from runner.outputs.sending import Sender, SendFailed, own_instance, until_taken, worth_repeating
from runner.settings import PushgatewaySettings

Labels = dict[str, str]
Place = tuple[str, str]  # account and sync type


class Pushgateway(Output):
    """`metrics.pushgateway`: one push at the end."""

    name: ClassVar[str] = "pushgateway"
    checked: ClassVar[str] = "its content is readable; nothing was pushed"
    uses_metrics: ClassVar[bool] = True

    def __init__(self, context: OutputContext) -> None:
        """Reads no secret yet."""
        super().__init__(context)
        self._password: str | None = None

    def open(self) -> None:
        """Reads the password."""
        self._password = self.context.secret(self.context.settings.metrics.pushgateway.password_file)

    def load(self) -> None:
        """Loads the metrics modules."""
        self.context.metrics.load()

    @property
    def where(self) -> str:
        """The Pushgateway."""
        return self.context.settings.metrics.pushgateway.url or ""

    @property
    def push_seconds(self) -> float | None:
        """`metrics.pushgateway.timeout`."""
        return self.context.settings.metrics.pushgateway.timeout

    def check(self, seconds: float) -> str | None:
        """Checks whether its content is readable, as a push does first; pushes nothing."""
        settings = self.context.settings.metrics.pushgateway
        self.open()
        try:
            with _sender(settings, self._password) as sender:
                problem = until_taken(seconds, partial(_read_page, sender))
        except SendFailed as error:
            problem = str(error)
        return problem and f"{self.where}: {problem}"

    def push(self, ended: Ended, seconds: float) -> str | None:
        """Pushes all metrics of the run."""
        settings = own_instance(self.context.settings.metrics.pushgateway, ended.result.shard)
        current = [(one.account, one.sync_type) for one in ended.result.results]
        return push(self.context.metrics.load(), settings, current, self._password, seconds)


def _read_page(sender: Sender, seconds: float) -> str | None:
    """Reads its content once. Returns the fault, or None. Raises SendFailed."""
    status, _page = sender.send("GET", "/metrics", seconds)
    problem = f"the Pushgateway answered {status} to GET /metrics"
    if worth_repeating(status):
        raise SendFailed(problem)
    return problem if status >= 300 else None


def push(
    metrics: MetricsListener,
    settings: PushgatewaySettings,
    current: Iterable[Place],
    password: str | None = None,
    seconds: float = 30.0,
) -> str | None:
    """Pushes within this many seconds. `current` are this run's syncs. Returns the error, or None."""
    try:
        with _sender(settings, password) as sender:
            return until_taken(seconds, lambda left: _Push(sender, left, settings).push(metrics, set(current)))
    except SendFailed as error:
        return str(error)


def _sender(settings: PushgatewaySettings, password: str | None) -> Sender:
    """Returns the sender. Raises SendFailed."""
    auth = (settings.username, password or "") if settings.username else None
    return Sender(settings.url or "", settings.ca_file, auth)


class _Push:
    """The requests of one push, within one time limit."""

    def __init__(self, sender: Sender, seconds: float, settings: PushgatewaySettings) -> None:
        self._sender, self._until, self._settings = sender, time.monotonic() + seconds, settings
        self._mine: Labels = {"job": settings.job, **({"instance": settings.instance} if settings.instance else {})}

    def _send(self, method: str, path: str, content: bytes = b"", content_type: str = "") -> tuple[int, bytes]:
        """Raises SendFailed."""
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise SendFailed("the time ran out before the end of the push")
        status, body = self._sender.send(method, path, seconds, content=content, content_type=content_type)
        if worth_repeating(status):
            raise SendFailed(f"the Pushgateway answered {status}")
        return status, body

    def push(self, metrics: MetricsListener, current: set[Place]) -> str | None:
        """Returns the error, or None. Raises SendFailed."""
        from prometheus_client import generate_latest

        stale_after = self._settings.stale_after
        before = None if stale_after is None else time.time() - stale_after
        problem = self._put(self._mine, generate_latest(metrics.of_run))
        if problem is None and (before is not None or metrics.successes()):
            problem = self._renew(metrics, current, before)
        if problem is None and before is not None:
            problem = self._delete_stale({kind for _account, kind in current}, before)
        return problem

    def _put(self, group: Labels, body: bytes) -> str | None:
        status, _body = self._send("PUT", _path(group), body, "text/plain; version=0.0.4")
        return f"the Pushgateway answered {status}" if status >= 300 else None

    def _delete(self, group: Labels) -> str | None:
        status, _body = self._send("DELETE", _path(group))
        return f"the Pushgateway answered {status} to the deletion of a stale group" if status >= 300 else None

    def _renew(self, metrics: MetricsListener, current: set[Place], before: float | None) -> str | None:
        """Pushes the last successes of each sync type with changes, merged with the existing ones."""
        status, page = self._send("GET", "/metrics")
        if status >= 300:
            return f"the Pushgateway answered {status} to the request for the last successes: none was pushed"
        here = {"job": self._mine["job"], "instance": self._mine.get("instance", "")}
        held = {
            (labels.get("account", ""), labels.get("sync_type", "")): value
            for labels, value in successes_in(page.decode(errors="replace"))
            if here == {name: labels.get(name, "") for name in here}
        }
        renewed = {(labels["account"], labels["sync_type"]): value for labels, value in metrics.successes()}
        after = merged(held, renewed, current, before, time.time())
        for kind in sorted({kind for _account, kind in [*held, *renewed]}):
            old, new = ({place[0]: at for place, at in one.items() if place[1] == kind} for one in (held, after))
            group = {**self._mine, "sync_type": kind}
            problem = None if new == old else self._put(group, _body(new)) if new else self._delete(group)
            if problem:
                return problem
        return None

    def _delete_stale(self, kinds: set[str], before: float) -> str | None:
        """Deletes this job's groups that are no longer renewed; keeps those of the run's own sync `kinds`."""
        status, page = self._send("GET", "/api/v1/metrics")
        try:
            groups = [_read(one) for one in json.loads(page)["data"]]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            return f"the Pushgateway returned no list of groups ({status}): nothing stale was deleted"
        keep = [{**self._mine, "sync_type": kind} for kind in kinds]
        return next(filter(None, (self._delete(one) for one in stale(groups, self._mine, keep, before))), None)


def merged(
    held: dict[Place, float], renewed: dict[Place, float], current: set[Place], before: float | None, now: float
) -> dict[Place, float]:
    """Merges the last successes (Unix seconds): keeps the later of each held and renewed one. Pure.

    A held one that is implausible (NaN, or later than `now`) is dropped: its alert could never fire. So is
    one from `before` that time, unless it is of this run's syncs: the alert is about its age.
    """
    held = {place: at for place, at in held.items() if believable(at, now)}
    places = {place: max(held.get(place, 0.0), renewed.get(place, 0.0)) for place in [*held, *renewed]}
    return {place: at for place, at in places.items() if before is None or at >= before or place in current}


def _body(successes: dict[str, float]) -> bytes:
    """Returns last successes by account, as text."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauge = Gauge(LAST_SUCCESS, LAST_SUCCESS_HELP, ("account",), registry=registry)
    for account, at in successes.items():
        gauge.labels(account).set(at)
    return generate_latest(registry)


def _read(group: Any) -> tuple[Labels, float]:
    return dict(group["labels"]), float(group["push_time_seconds"]["metrics"][0]["value"])


def stale(groups: list[tuple[Labels, float]], mine: Labels, keep: list[Labels], before: float) -> list[Labels]:
    """Returns the stale groups (labels, last push): not renewed since `before` (Unix seconds). Pure.

    Groups in `keep` stay at any age: the alert is about the age of a last success. So does every group
    of another instance that has pushed anything since.
    """
    job, instance = mine["job"], mine.get("instance", "")
    ours = [(labels, at) for labels, at in groups if labels.get("job") == job]
    last: dict[str, float] = {}
    for labels, at in ours:
        name = labels.get("instance", "")
        last[name] = max(last.get(name, 0.0), at)
    found = []
    for labels, at in ours:
        name = labels.get("instance", "")
        gone = at < before if name == instance else last[name] < before
        known = {key: value for key, value in labels.items() if value} in [mine, *keep]
        if gone and not known:
            found.append(labels)
    return found


def _path(labels: Labels) -> str:
    """Returns the address of a group. Values that could change a path (a slash, dots, empty) are sent as Base64."""
    parts = ["/metrics"]
    for name, value in sorted(
        labels.items(), key=lambda pair: pair[0] != "job"
    ):  # the Pushgateway requires `job` first
        if re.fullmatch(r"[A-Za-z0-9_-]+", value):
            parts.append(f"/{name}/{value}")
        else:
            parts.append(f"/{name}@base64/{urlsafe_b64encode(value.encode(errors='replace')).decode() or '='}")
    return "".join(parts)
