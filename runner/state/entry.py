"""A ledger entry: the stored data of one sync, the same for every kind of state."""
# Decision 0150.

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from runner.external import ExternalText
from runner.frozen import Frozen
from runner.models import JSON

KEPT_EACH = 24  # newest entries kept for each sync, in addition to open ones and the last success
PRUNE_SECONDS = 86400.0  # interval at which a run deletes old entries
FAR_FUTURE = 1e11  # Unix seconds, the year 5138: a later time cannot come from a runner


class Entry(Frozen):
    """One triggered sync in the ledger. Times are Unix seconds; `outcome` is None while it is open."""

    key: str
    target: str
    account: str
    name: str
    sync_type: str
    run_id: str
    intended_at: float
    job_id: ExternalText | None = None
    outcome: str | None = None
    ended_at: float | None = None
    processed_items: int | None = None
    error: str | None = None
    external: bool = False
    carried: Mapping[str, JSON] = field(default_factory=dict)
    run_key: str | None = None
    holder: str = ""
    lease_until: float = 0.0
    shown_id: str | None = None
    """The job id without secrets; entries of an older version have it in `job_id`."""

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "Entry":
        """Parses a row of COLUMNS. Raises ValueError or TypeError for a row of another program or a faulty disk."""
        named, shown = row[7], row[17] or row[7]
        job_id = None if named is None else ExternalText(named)
        entry = cls(*(*row[:7], job_id, *row[8:12], bool(row[12]), json.loads(row[13]), *row[14:17], shown))
        texts = (named, shown, entry.outcome, entry.error, entry.run_key)
        if not all(isinstance(one, str) for one in (*row[:6], entry.holder, *(text or "" for text in texts))):
            raise TypeError
        if not isinstance(entry.carried, dict):
            raise TypeError
        times = (entry.intended_at, entry.ended_at or 0.0, entry.lease_until)
        if not all(0 <= one < FAR_FUTURE for one in times) or not isinstance(entry.processed_items or 0, int):
            raise ValueError
        return entry

    def as_row(self) -> tuple[Any, ...]:
        """Returns the values of COLUMNS."""
        values = tuple(vars(self)[name] for name in self._names)
        named = None if self.job_id is None else self.job_id.raw
        return (*values[:7], named, *values[8:12], self.external, json.dumps(dict(self.carried)), *values[14:])


# By name: a newer version may have added columns.
COLUMNS = (
    "key, target, account, name, sync_type, run_id, intended_at, job_id, outcome, ended_at, processed_items, error, "
    "foreign_job, carried, run_key, holder, lease_until, shown_id"
)
