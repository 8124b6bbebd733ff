"""What redaction costs: a log line, a job's log, texts of 100 kB, with few secrets and with many. `python -m benchmarks.redaction`.

CPU time, the best of many rounds: other work on the machine does not count.
"""

import base64
import json
import random
import string
import time
from collections.abc import Callable, Sequence
from functools import partial

from runner.events.redaction import Redactor
from runner.external import redacting_with, show

SIZE = 100_000  # characters
COUNTS = (1, 100, 10_000)  # known secrets
LINE = json.dumps({
    "timestamp": "2026-11-27T07:00:00Z", "event": "http.request", "endpoint": "status", "code": "200", "error": "x" * 80,
})  # fmt: skip
LOG = "".join(
    f"2026-11-27T07:00:00Z INFO worker wrote row {n} of batch 4711 to /data/{n}.json status=ok\n" for n in range(720)
)


def main() -> None:
    """Print three tables: whole texts by accounts, and what is shown of them, lines and a log by the number of secrets."""
    random.seed(1)
    one, many = _known(1), _known(300)
    print("| text of 100 kB | redacted whole, one account, ms | the same, 300 accounts, ms |\n| --- | --- | --- |")
    for name, text in texts().items():
        print(f"| {name} | {_best(one.redact, text):.1f} | {_best(many.redact, text):.1f} |")
    known = [_passwords(count).redact for count in COUNTS]
    _table("text of 100 kB, shown in 200 characters", [partial(_shown, redact) for redact in known], texts())
    _table("redacted whole", known, {"a log line": LINE, "a job's log of 64 KiB": LOG})


def _table(title: str, works: Sequence[Callable[[str], object]], over: dict[str, str]) -> None:
    print(
        f"\n| {title} | {' | '.join(f'{count:,} secrets, ms' for count in COUNTS)} |\n| --- {'| --- ' * len(COUNTS)}|"
    )
    for name, text in over.items():
        print(f"| {name} | {' | '.join(f'{_best(work, text):.2f}' for work in works)} |")


def texts() -> dict[str, str]:
    """Texts as errors hold them, and some that are all of one encoding."""
    words = ["".join(random.choices(string.ascii_lowercase, k=random.randint(2, 12))) for _ in range(3000)]
    trace = 'Traceback:\n  File "/usr/lib/python3/site-packages/httpx/_transports/default.py", line 101, in map\n    yield\n'
    jobs = [
        {"job_id": f"{number * 7919:08x}", "message": 'one\n"two"', "url": f"/v1/{number}?q=%2f"}
        for number in range(1200)
    ]
    made = {
        "words": " ".join(random.choices(words, k=20_000)),
        "a traceback": trace * 2000,
        "JSON with escapes": json.dumps(jobs),
        "HTML": '<div class="x"><a href="/path?a=1&amp;b=2">text &nbsp; more</a></div>\n' * 2000,
        "Base64": base64.b64encode(random.randbytes(SIZE)).decode(),
        "hex": random.randbytes(SIZE).hex(),
        "percent signs": "%41" * SIZE,
    }
    return {name: text[:SIZE] for name, text in made.items()}


def _known(accounts: int) -> Redactor:
    redactor = Redactor()
    for number in range(accounts):
        redactor.add(f"user{number}@example.org", parts=False)
        for length in (20, 32, 300, 300):
            redactor.add("".join(random.choices(string.ascii_letters + string.digits + "-_.", k=length)))
    return redactor


def _passwords(count: int) -> Redactor:
    redactor = Redactor()
    for _ in range(count):
        redactor.add("".join(random.choices(string.ascii_letters + string.digits + "-_.", k=24)))
    return redactor


def _shown(redact: Callable[[str], str], text: str) -> str:
    with redacting_with(redact):
        return show(text, 200)


def _best(work: Callable[[str], object], text: str) -> float:
    return min(_spent(lambda: work(text)) for _ in range(40)) * 1000


def _spent(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
