"""What redaction costs with 1, 100 and 10,000 known secrets, side by side in one run: a log line of the runner, and a job's log.

`python -m benchmarks.known_secrets` prints microseconds of CPU for a line of 200 characters and for 64 KiB of a log, and each as
a ratio to one secret.
"""

import json
import random
import string
import time
from collections.abc import Callable

from runner.events.redaction import Redactor

COUNTS = (1, 100, 10_000)
LINE = json.dumps(
    {
        "timestamp": "2026-11-27T07:00:00Z",
        "event": "http.request",
        "endpoint": "status",
        "code": "200",
        "error": "x" * 80,
    }
)
LOG = "".join(
    f"2026-11-27T07:00:00Z INFO worker wrote row {n} of batch 4711 to /data/{n}.json status=ok\n" for n in range(720)
)
ROUNDS = 7


def cpu(work: Callable[[], object], times: int) -> float:
    """Microseconds of CPU for one call: the least of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


def main() -> None:
    """Measure, and print a line for each count."""
    chosen = random.Random(1)
    found: dict[int, tuple[float, float]] = {}
    for count in COUNTS:
        redactor = Redactor()
        for _ in range(count):
            redactor.add("".join(chosen.choices(string.ascii_letters + string.digits, k=32)))
        found[count] = cpu(lambda one=redactor: one.redact(LINE), 500), cpu(lambda one=redactor: one.redact(LOG), 5)  # type: ignore[misc]
    for count, (line, log) in found.items():
        first = found[COUNTS[0]]
        print(
            f"{count:6} secrets: line {line:8.1f} us (x{line / first[0]:.2f}), 64 KiB {log:9.1f} us (x{log / first[1]:.2f})"
        )


if __name__ == "__main__":
    main()
