"""How large a ledger grows: `python -m benchmarks.ledger [ROUNDS|year]`, of 1,000 accounts with three syncs each, every hour.

Of each sync the newest entries are kept, so that the file has its size after that many rounds. A year of hours has 8,760 rounds
and 26 million syncs. `year` does the first rounds whole, then each hour of the year with a few of the accounts, in turn; once a
day it prunes as a run does. At the end it does whole rounds by turns with it and with a ledger of 25 hours, and prints the ratio
of their processor times. One sync of seven fails with a long error. Set TMPDIR to a file system in memory to measure the ledger
rather than the disk.
"""

import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from runner.state.entry import KEPT_EACH, Entry
from runner.state.ledger import LEDGER_FILE, Ledger

ACCOUNTS = 1000
SYNCS = ("activities", "health", "workouts")
HOURS = 8760
TURNS = 9  # whole rounds with each ledger, at the end
FEW = 20  # accounts an hour, after the first rounds of a year
BEGAN = 1.8e9  # Unix seconds
KEEP = 400 * 86400.0  # seconds: the default of `state.keep`
ERROR = (
    "the data source is not available: GET https://sync.example.org/api/v2/sources/7f3a/items?page=12 gave 503; " * 4
)


def main(rounds: int) -> None:
    """Write the rounds, and print the file's size after each half and the seconds of a sync's three writes."""
    sizes: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        ledger, began = Ledger(Path(name)), time.perf_counter()
        for number in range(1, rounds + 1):
            _round(ledger, number, range(ACCOUNTS))
            sizes[number] = _megabytes(name)
        spent = time.perf_counter() - began
        ledger.close()
        shown = {f"MB after {number} rounds": sizes[number] for number in sorted({rounds // 2, rounds})}
        found = {"entries": ACCOUNTS * len(SYNCS) * min(rounds, KEPT_EACH), **shown, "MB when closed": _megabytes(name)}
    print(json.dumps(found | {"ms a sync": round(1000 * spent / (rounds * ACCOUNTS * len(SYNCS)), 3)}))


def year() -> None:
    """Print the size after a day and after a year, and what a sync costs beside a ledger of a day."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        ledger, young, written = Ledger(Path(name)), Ledger(Path(other)), 0
        for hour in range(1, HOURS + 1):
            whole = hour <= KEPT_EACH + 1
            accounts = range(ACCOUNTS) if whole else [(hour * FEW + number) % ACCOUNTS for number in range(FEW)]
            _round(ledger, hour, accounts)
            if whole:
                _round(young, hour, accounts)
            written += len(accounts) * len(SYNCS)
            if hour in (KEPT_EACH + 1, HOURS):
                found[f"MB after hour {hour}"] = _megabytes(name)
            if hour % 24 == 0:
                ledger.prune(BEGAN + 3600.0 * hour - KEEP)
        found |= _by_turns(ledger, young)
        ledger.close()
        young.close()
        found |= {"MB when closed": _megabytes(name), "syncs written": written}
    print(json.dumps(found))


def _by_turns(ledger: Ledger, young: Ledger) -> dict[str, float]:
    """Milliseconds of processor time that a sync costs with each, and the median ratio of rounds that follow one another."""
    spent: dict[str, list[float]] = {"year": [], "day": []}
    for turn in range(TURNS):
        for word, one in (("year", ledger), ("day", young)):
            began = time.process_time()
            _round(one, HOURS + 1 + turn, range(ACCOUNTS))
            spent[word].append(1000 * (time.process_time() - began) / (ACCOUNTS * len(SYNCS)))
    ratio = statistics.median(old / new for old, new in zip(spent["year"], spent["day"], strict=True))
    shown = {
        f"ms of processor time a sync, ledger of a {word}": statistics.median(each) for word, each in spent.items()
    }
    return {name: round(value, 3) for name, value in (shown | {"ratio": ratio}).items()}


def _megabytes(directory: str) -> float:
    """The ledger's files together."""
    return round(sum(file.stat().st_size for file in Path(directory).glob(f"{LEDGER_FILE}*")) / 1e6, 1)


def _round(ledger: Ledger, number: int, accounts: Iterable[int]) -> None:
    run_id, holder, at = str(uuid.uuid4()), uuid.uuid4().hex, BEGAN + 3600.0 * number
    for account in accounts:
        target = f"https://sync.example.org user-{account:04}@example.org"
        for place, sync in enumerate(SYNCS):
            key, fails = str(uuid.uuid4()), (number + account + place) % 7 == 0
            ledger.open_entry(target, sync)
            entry = Entry(key, target, f"user-{account:04}", sync, sync, run_id, at, holder=holder, lease_until=at + 60)
            ledger.intend(entry)
            ledger.triggered(key, f"job-{key}")
            ledger.ended(
                key, "failed" if fails else "completed", at + 30, processed=100, error=ERROR if fails else None
            )


if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) > 1 else str(2 * KEPT_EACH)
    if asked == "year":
        year()
    else:
        main(int(asked))
