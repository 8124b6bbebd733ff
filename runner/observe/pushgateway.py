"""The push of a run's metrics to a Prometheus Pushgateway at its end. `sending.py` bounds it.

The run's metrics replace their group (PUT). Each last success has a group of its own, so that a run in which that sync
failed leaves it as it was. Stale groups are deleted where a setting asks for it.
"""

import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from runner.observe.metrics import LAST_SUCCESS, LAST_SUCCESS_HELP, MetricsListener
from runner.observe.sending import trusted
from runner.settings import PushgatewaySettings

if TYPE_CHECKING:
    import httpx

Labels = dict[str, str]


def push(
    metrics: MetricsListener, settings: PushgatewaySettings, current: Iterable[Labels], password: str | None = None
) -> str | None:
    """Push. `current` names this run's syncs: account and sync_type. Returns the fault, or None."""
    keep = [{**_group(settings), **labels} for labels in current]
    return _push(settings, list(_bodies(metrics, settings)), keep, password)


def _group(settings: PushgatewaySettings) -> Labels:
    return {"job": settings.job, **({"instance": settings.instance} if settings.instance else {})}


def _bodies(metrics: MetricsListener, settings: PushgatewaySettings) -> Iterator[tuple[str, bytes]]:
    """Each group's path and what it is to hold."""
    from prometheus_client import generate_latest

    group = _group(settings)
    yield _path(group), generate_latest(metrics.of_run)
    for labels, value in metrics.successes():
        head = f"# HELP {LAST_SUCCESS} {LAST_SUCCESS_HELP}\n# TYPE {LAST_SUCCESS} gauge\n"
        yield _path({**group, **labels}), f"{head}{LAST_SUCCESS} {value!r}\n".encode()


def _push(
    settings: PushgatewaySettings, bodies: list[tuple[str, bytes]], keep: list[Labels], password: str | None
) -> str | None:
    import httpx

    auth = (settings.username, password or "") if settings.username else None
    url = settings.url or ""
    try:
        tls = trusted(url, settings.ca_file)
        with httpx.Client(base_url=url, timeout=None, auth=auth, verify=tls) as client:  # `sending.py` bounds it
            for path, body in bodies:
                answer = client.put(path, content=body, headers={"Content-Type": "text/plain; version=0.0.4"})
                if answer.status_code >= 300:
                    return f"the Pushgateway answered {answer.status_code}"
            if settings.stale_after is not None:
                return _delete_stale(client, settings, keep)
    except httpx.HTTPError as error:
        return f"can not be reached ({type(error).__name__})"
    except OSError as error:
        return f"ca_file can not be used ({error.strerror or 'not a PEM bundle'})"
    return None


def _delete_stale(client: "httpx.Client", settings: PushgatewaySettings, keep: list[Labels]) -> str | None:
    """Delete this job's groups that nobody renews any more."""
    answer = client.get("/api/v1/metrics")
    try:
        groups = [_read(one) for one in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return f"the Pushgateway gave no list of groups ({answer.status_code}): nothing stale was deleted"
    assert settings.stale_after is not None
    for labels in stale(groups, _group(settings), keep, time.time() - settings.stale_after):
        answer = client.delete(_path(labels))
        if answer.status_code >= 300:
            return f"the Pushgateway answered {answer.status_code} when a stale group was to be deleted"
    return None


def _read(group: Any) -> tuple[Labels, float]:
    return dict(group["labels"]), float(group["push_time_seconds"]["metrics"][0]["value"])


def stale(groups: list[tuple[Labels, float]], mine: Labels, keep: list[Labels], before: float) -> list[Labels]:
    """Which of the groups (labels, last push) are stale: not renewed since `before` (Unix seconds). Pure.

    A last success of this run's own syncs stays however old it is: its age is what the alert is about. So does every
    group of another instance that has pushed anything since.
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
