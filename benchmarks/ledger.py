"""How large a ledger grows: `python -m benchmarks.ledger [ROUNDS]`, of 1,000 accounts with three syncs each.

Of each sync the newest entries are kept, so that the file has its size after that many rounds; a year of hours has 8,760.
"""

import json
import sys
import tempfile
import time
import uuid
from pathlib import Path

from runner.state.entry import KEPT_EACH, Entry
from runner.state.ledger import LEDGER_FILE, Ledger

ACCOUNTS = 1000
SYNCS = ("activities", "health", "workouts")


def main(rounds: int) -> None:
    """Write the rounds, and print the file's size after each half and the seconds of a sync's three writes."""
    sizes: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ledger, began = Ledger(directory), time.perf_counter()
        for number in range(1, rounds + 1):
            _round(ledger, number)
            sizes[number] = (directory / LEDGER_FILE).stat().st_size / 1e6
        spent = time.perf_counter() - began
        ledger.close()
        closed = (directory / LEDGER_FILE).stat().st_size / 1e6
    shown = {f"MB after {number} rounds": round(sizes[number], 1) for number in sorted({rounds // 2, rounds})}
    found = {"entries": ACCOUNTS * len(SYNCS) * min(rounds, KEPT_EACH), **shown, "MB when closed": round(closed, 1)}
    print(json.dumps(found | {"ms a sync": round(1000 * spent / (rounds * ACCOUNTS * len(SYNCS)), 3)}))


def _round(ledger: Ledger, number: int) -> None:
    run_id, holder, at = str(uuid.uuid4()), uuid.uuid4().hex, 1.8e9 + 3600.0 * number
    for account in range(ACCOUNTS):
        target = f"https://sync.example.org user-{account:04}@example.org"
        for sync in SYNCS:
            key = str(uuid.uuid4())
            entry = Entry(key, target, f"user-{account:04}", sync, sync, run_id, at, holder=holder, lease_until=at + 60)
            ledger.intend(entry)
            ledger.triggered(key, f"job-{key}")
            ledger.ended(key, "completed", at + 30, processed=100)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2 * KEPT_EACH)
