"""The push of a run's metrics to a Prometheus Pushgateway at its end. `sending.py` bounds it.

The run's metrics replace their group (PUT). The last successes of one sync type are a group of their own, which is read and
merged, so that a run in which a sync failed leaves its last success as it was. A few requests, however many accounts
there are: the Pushgateway compares all it holds at each push. What is stale is deleted where a setting asks for it.
"""

import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from runner.outputs.metrics import LAST_SUCCESS, LAST_SUCCESS_HELP, MetricsListener, successes_in
from runner.outputs.sending import trusted
from runner.settings import PushgatewaySettings

if TYPE_CHECKING:
    import httpx

Labels = dict[str, str]


Place = tuple[str, str]  # account and sync type


def push(
    metrics: MetricsListener, settings: PushgatewaySettings, current: Iterable[Place], password: str | None = None
) -> str | None:
    """Push. `current` are this run's syncs. Returns the fault, or None."""
    import httpx

    auth = (settings.username, password or "") if settings.username else None
    url = settings.url or ""
    try:
        tls = trusted(url, settings.ca_file)
        with httpx.Client(base_url=url, timeout=None, auth=auth, verify=tls) as client:  # `sending.py` bounds it
            return _push(client, metrics, settings, set(current))
    except httpx.HTTPError as error:
        return f"can not be reached ({type(error).__name__})"
    except OSError as error:
        return f"ca_file can not be used ({error.strerror or 'not a PEM bundle'})"


def _group(settings: PushgatewaySettings) -> Labels:
    return {"job": settings.job, **({"instance": settings.instance} if settings.instance else {})}


def _push(
    client: "httpx.Client", metrics: MetricsListener, settings: PushgatewaySettings, current: set[Place]
) -> str | None:
    from prometheus_client import generate_latest

    mine = _group(settings)
    before = None if settings.stale_after is None else time.time() - settings.stale_after
    problem = _put(client, mine, generate_latest(metrics.of_run))
    if problem is None and (before is not None or metrics.successes()):
        problem = _renew(client, metrics, mine, current, before)
    if problem is None and before is not None:
        problem = _delete_stale(client, mine, {kind for _account, kind in current}, before)
    return problem


def _put(client: "httpx.Client", group: Labels, body: bytes) -> str | None:
    answer = client.put(_path(group), content=body, headers={"Content-Type": "text/plain; version=0.0.4"})
    return f"the Pushgateway answered {answer.status_code}" if answer.status_code >= 300 else None


def _delete(client: "httpx.Client", group: Labels) -> str | None:
    answer = client.delete(_path(group))
    told = f"the Pushgateway answered {answer.status_code} when a stale group was to be deleted"
    return told if answer.status_code >= 300 else None


def _renew(
    client: "httpx.Client", metrics: MetricsListener, mine: Labels, current: set[Place], before: float | None
) -> str | None:
    """Put the last successes of each sync type where they changed, with those that are there already."""
    answer = client.get("/metrics")
    if answer.status_code >= 300:
        return f"the Pushgateway answered {answer.status_code} when asked for the last successes: none was pushed"
    here = {"job": mine["job"], "instance": mine.get("instance", "")}
    held = {
        (labels.get("account", ""), labels.get("sync_type", "")): value
        for labels, value in successes_in(answer.text)
        if here == {name: labels.get(name, "") for name in here}
    }
    renewed = {(labels["account"], labels["sync_type"]): value for labels, value in metrics.successes()}
    after = merged(held, renewed, current, before)
    for kind in sorted({kind for _account, kind in [*held, *renewed]}):
        old, new = ({place[0]: at for place, at in one.items() if place[1] == kind} for one in (held, after))
        group = {**mine, "sync_type": kind}
        problem = None if new == old else _put(client, group, _body(new)) if new else _delete(client, group)
        if problem:
            return problem
    return None


def merged(
    held: dict[Place, float], renewed: dict[Place, float], current: set[Place], before: float | None
) -> dict[Place, float]:
    """The last successes from now on (Unix seconds): the later of those held and renewed. Pure.

    One from `before` that time is dropped, unless it is of this run's syncs: its age is what the alert is about.
    """
    places = {place: max(held.get(place, 0.0), renewed.get(place, 0.0)) for place in [*held, *renewed]}
    return {place: at for place, at in places.items() if before is None or at >= before or place in current}


def _body(successes: dict[str, float]) -> bytes:
    """Last successes by account, as text."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauge = Gauge(LAST_SUCCESS, LAST_SUCCESS_HELP, ("account",), registry=registry)
    for account, at in successes.items():
        gauge.labels(account).set(at)
    return generate_latest(registry)


def _delete_stale(client: "httpx.Client", mine: Labels, kinds: set[str], before: float) -> str | None:
    """Delete this job's groups that nobody renews any more; those of the run's own sync `kinds` stay."""
    answer = client.get("/api/v1/metrics")
    try:
        groups = [_read(one) for one in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return f"the Pushgateway gave no list of groups ({answer.status_code}): nothing stale was deleted"
    keep = [{**mine, "sync_type": kind} for kind in kinds]
    return next(filter(None, (_delete(client, labels) for labels in stale(groups, mine, keep, before))), None)


def _read(group: Any) -> tuple[Labels, float]:
    return dict(group["labels"]), float(group["push_time_seconds"]["metrics"][0]["value"])


def stale(groups: list[tuple[Labels, float]], mine: Labels, keep: list[Labels], before: float) -> list[Labels]:
    """Which of the groups (labels, last push) are stale: not renewed since `before` (Unix seconds). Pure.

    What is in `keep` stays however old it is: the age of a last success is what the alert is about. So does every group
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
    """The address of a group. What could change a path (a slash, dots, nothing at all) goes as Base64."""
    parts = ["/metrics"]
    for name, value in sorted(labels.items(), key=lambda pair: pair[0] != "job"):  # the Pushgateway wants `job` first
        if re.fullmatch(r"[A-Za-z0-9_-]+", value):
            parts.append(f"/{name}/{value}")
        else:
            parts.append(f"/{name}@base64/{urlsafe_b64encode(value.encode()).decode() or '='}")
    return "".join(parts)
