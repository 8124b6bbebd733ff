"""Nothing outside holds up the end of a run: API, proxy, names, database, outputs, at each phase of an answer.

A broken promise shows as a process that does not end, or has no report. `python -m tests.campaign.stalls` measures how late it ends.
"""

import os
from pathlib import Path

import pytest

from tests.campaign.stalls import CASES, ended
from tests.integration.outputs.conftest import Runner, settings

CODES = {"deadline": 6, "SIGTERM": 143}
# Of each thing one phase; the campaign has them all.
SOME = (
    "API: TLS", "API: dripping body", "proxy: headers", "DNS: headers", "PostgreSQL: headers", "PostgreSQL: in mid-run",
    "Kubernetes: TLS", "Kubernetes: in mid-run", "state directory: from the start", "state directory: in mid-run",
    "Pushgateway: dripping headers", "OTLP: body", "ping: headers", "webhook: connect",
)  # fmt: skip


@pytest.mark.parametrize("by", CODES)
@pytest.mark.parametrize("case", SOME)
def test_what_stalls_outside_holds_up_neither_the_deadline_nor_a_signal(case: str, by: str) -> None:
    assert case in CASES
    told = ended(case, by)
    assert (told.code, told.reported, told.orphans) == (CODES[by], True, 0)


@pytest.mark.parametrize("kind", ["FIFO", "device"])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("metrics.pushgateway.ca_file", 0),
        ("metrics.otlp.ca_file", 0),
        ("metrics.pushgateway.password_file", 0),
        ("metrics.otlp.headers_file", 0),
        ("notify.ping.url_file", 0),
        ("notify.webhook.url_file", 0),
        ("state.dir", 2),
        ("accounts_dir", 2),
        ("profile", 2),
    ],
)
def test_a_fifo_or_a_device_in_the_place_of_a_file_that_is_read_ends_at_once(
    runner: Runner, tmp_path: Path, name: str, code: int, kind: str
) -> None:
    path = Path("/dev/zero")
    if kind == "FIFO":
        path = tmp_path / "pipe.yaml"
        os.mkfifo(path)
    more = {
        "metrics.pushgateway.ca_file": {"metrics__pushgateway__url": "https://127.0.0.1:1"},
        "metrics.otlp.ca_file": {"metrics__otlp__endpoint": "https://127.0.0.1:1"},
        "metrics.pushgateway.password_file": {
            "metrics__pushgateway__url": "http://127.0.0.1:1",
            "metrics__pushgateway__username": "me",
        },
        "metrics.otlp.headers_file": {"metrics__otlp__endpoint": "http://127.0.0.1:1"},
    }.get(name, {})
    words = ["run", "health", *settings(**more), "--set", f"{name}={path}"]
    done = runner.run(*words)
    assert done.code == code, done.err
