"""The SQL of the ledger in PostgreSQL. Each statement may be sent twice: the first response may have been lost."""

import json
from collections.abc import Mapping

from runner.models import JSON
from runner.state.entry import COLUMNS
from runner.state.interface import SEED

NAMES = tuple(name.strip() for name in COLUMNS.split(","))
_NOW = "extract(epoch FROM clock_timestamp())"
_SECONDS = "clock_timestamp() + %(lease)s * interval '1 second'"

TABLES = """
CREATE TABLE sync_runner_syncs (
    key TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    sync_type TEXT NOT NULL,
    run_id TEXT NOT NULL,
    intended_at DOUBLE PRECISION NOT NULL,
    job_id TEXT,
    outcome TEXT,
    ended_at DOUBLE PRECISION,
    processed_items BIGINT,
    error TEXT,
    foreign_job BOOLEAN NOT NULL DEFAULT false,
    carried TEXT NOT NULL DEFAULT '{}',
    run_key TEXT,
    holder TEXT NOT NULL DEFAULT '',
    lease_until DOUBLE PRECISION NOT NULL DEFAULT 0,
    shown_id TEXT
);
CREATE INDEX sync_runner_syncs_by_target ON sync_runner_syncs (target, name, intended_at);
CREATE INDEX sync_runner_syncs_by_time ON sync_runner_syncs (intended_at);
CREATE TABLE sync_runner_locks (
    key TEXT PRIMARY KEY,
    holder TEXT,
    epoch BIGINT NOT NULL,
    lease_until TIMESTAMPTZ
);
"""
WATCHED_UNTIL = (
    "ALTER TABLE sync_runner_syncs ADD COLUMN IF NOT EXISTS watched_until DOUBLE PRECISION NOT NULL DEFAULT 0"
)

TAKE = f"""
INSERT INTO sync_runner_locks AS l (key, holder, epoch, lease_until) VALUES (%(lock)s, %(lock_holder)s, 1, {_SECONDS})
ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, epoch = l.epoch + 1, lease_until = excluded.lease_until
WHERE l.holder IS NULL OR l.holder = excluded.holder OR l.lease_until < clock_timestamp()
RETURNING epoch"""
_MINE = "WHERE key = %(lock)s AND holder = %(lock_holder)s AND epoch = %(epoch)s"  # a new holder increments the epoch
RENEW_LOCK = f"UPDATE sync_runner_locks SET lease_until = {_SECONDS} {_MINE} RETURNING epoch"
UNLOCK = f"UPDATE sync_runner_locks SET holder = NULL, lease_until = NULL {_MINE} RETURNING epoch"
TAKE_PRUNING = f"""
INSERT INTO sync_runner_locks AS l (key, holder, epoch, lease_until) VALUES (%(key)s, %(holder)s, 1, {_SECONDS})
ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, epoch = l.epoch + 1, lease_until = excluded.lease_until
WHERE l.lease_until < clock_timestamp() RETURNING epoch"""

_INTENDED = ", ".join(
    f"{_NOW} + %(seconds)s"
    if name == "lease_until"
    else f"%({name})s::boolean"
    if name == "foreign_job"
    else f"%({name})s"
    for name in NAMES
)
_SUCCEEDED = "outcome = 'completed' AND NOT foreign_job"
_THIS = "target = %(target)s AND name = %(name)s"
# The lease of the trigger is renewed with it, so that the trigger is sent within the lease. A run without a lock
# (`lock` is null, as for `state import`) holds none.
INTEND = f"""
WITH mine AS (UPDATE sync_runner_locks SET lease_until = {_SECONDS} {_MINE} RETURNING 1),
gone AS (
    DELETE FROM sync_runner_syncs WHERE {_THIS} AND outcome IS NOT NULL AND intended_at <= (
        SELECT intended_at FROM sync_runner_syncs WHERE {_THIS} ORDER BY intended_at DESC LIMIT 1 OFFSET %(most)s - 1)
    AND key IS DISTINCT FROM (
        SELECT key FROM sync_runner_syncs WHERE {_THIS} AND {_SUCCEEDED} ORDER BY intended_at DESC LIMIT 1)
)
INSERT INTO sync_runner_syncs ({COLUMNS}) SELECT {_INTENDED} WHERE %(lock)s::text IS NULL OR EXISTS (SELECT 1 FROM mine)
ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, lease_until = excluded.lease_until RETURNING key"""
# A new holder's own polls were marked while it waited for the lease.
RENEW = f"""
WITH given AS (
    UPDATE sync_runner_syncs AS s SET holder = asked.holder, lease_until = {_NOW} + %(seconds)s,
        watched_until = CASE WHEN s.holder = asked.holder THEN s.watched_until ELSE 0 END
    FROM unnest(%(keys)s::text[], %(holders)s::text[]) AS asked (key, holder)
    WHERE s.key = asked.key AND (s.holder = asked.holder OR s.lease_until <= {_NOW}) RETURNING s.key
), watched AS (
    UPDATE sync_runner_syncs SET watched_until = {_NOW} + %(seconds)s
    WHERE key = ANY (%(keys)s::text[]) AND key NOT IN (SELECT key FROM given)
)
SELECT key FROM given"""
WATCHED = f"SELECT 1 FROM sync_runner_syncs WHERE key = %(key)s AND watched_until > {_NOW}"
TRIGGERED = """
UPDATE sync_runner_syncs SET job_id = %(job_id)s, shown_id = %(shown)s, foreign_job = %(external)s, carried = %(carried)s
WHERE key = %(key)s RETURNING key"""
ENDED = """
UPDATE sync_runner_syncs SET outcome = %(outcome)s, ended_at = %(at)s, processed_items = %(processed)s, error = %(error)s
WHERE key = %(key)s RETURNING key"""

_FIND = f"SELECT {COLUMNS} FROM sync_runner_syncs WHERE"
_LAST = "ORDER BY intended_at DESC LIMIT 1"
OPEN = f"{_FIND} {_THIS} AND outcome IS NULL {_LAST}"
SUCCESS = f"{_FIND} {_THIS} AND {_SUCCEEDED} {_LAST}"
COMPLETED_UNDER = f"{_FIND} {_THIS} AND run_key = %(run_key)s AND outcome = 'completed' {_LAST}"
NEWEST = f"{_FIND} {_THIS} {_LAST}"
OF_JOB = f"{_FIND} target = %(target)s AND job_id = %(job_id)s {_LAST}"
RECENT = f"{_FIND} left(target, 11) <> 'set aside: ' ORDER BY intended_at DESC LIMIT %(limit)s"
# Decision 0167. No query finds it any more; it is kept for inspection, and pruned as if it had ended now.
SET_ASIDE = f"""
UPDATE sync_runner_syncs SET target = 'set aside: ' || target, outcome = coalesce(outcome, 'unknown'), intended_at = {_NOW}
WHERE key = %(key)s AND left(target, 11) <> 'set aside: ' RETURNING key"""

TARGETS = """
SELECT target, account, count(*), count(*) FILTER (WHERE outcome IS NULL), max(intended_at) FROM sync_runner_syncs
WHERE left(target, 11) <> 'set aside: ' GROUP BY target, account"""
PAGE = f"""
{_FIND} key > %(after)s AND (outcome IS NULL OR NOT %(unfinished)s) AND left(target, 11) <> 'set aside: '
ORDER BY key LIMIT 1000"""
_KINDS = {"foreign_job": "boolean", "processed_items": "bigint"} | dict.fromkeys(
    ("intended_at", "ended_at", "lease_until"), "double precision"
)
_ROW = ", ".join(f"{name} {_KINDS.get(name, 'text')}" for name in NAMES)
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in NAMES if name != "key")
PUT = f"""
INSERT INTO sync_runner_syncs AS s ({COLUMNS}) SELECT {COLUMNS} FROM json_to_recordset(%(rows)s) AS r ({_ROW})
ON CONFLICT (key) DO UPDATE SET {_CHANGED} WHERE s.outcome IS NULL"""
FENCE = "sync_runner_moved"  # a constraint that no change satisfies; existing rows are not checked
# A run is active while it holds the lease of a job or of a trigger. The tables are locked in the order of INTEND.
RAISE_FENCE = f"""DO $$ BEGIN
    LOCK TABLE sync_runner_locks, sync_runner_syncs IN ACCESS EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT 1 FROM sync_runner_syncs WHERE outcome IS NULL AND holder <> '' AND lease_until > {_NOW})
    AND NOT EXISTS (SELECT 1 FROM sync_runner_locks WHERE starts_with(key, 'trigger-') AND holder IS NOT NULL
        AND lease_until > clock_timestamp())
    AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = '{FENCE}' AND conrelid = 'sync_runner_syncs'::regclass)
    THEN ALTER TABLE sync_runner_syncs ADD CONSTRAINT {FENCE} CHECK (false) NOT VALID; END IF;
END $$"""
IS_FENCED = f"""
SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = '{FENCE}' AND conrelid = 'sync_runner_syncs'::regclass)"""
DROP_FENCE = f"ALTER TABLE sync_runner_syncs DROP CONSTRAINT IF EXISTS {FENCE}"

PRUNE_ACCOUNTS = """
    DELETE FROM sync_runner_accounts WHERE used_at < clock_timestamp() - %(keep)s * interval '1 second'
    AND (lease_until IS NULL OR lease_until < clock_timestamp()) RETURNING key"""
OF_ACCOUNT = f"key NOT LIKE '{SEED}%%'"  # and not of a seed
COUNT_ACCOUNTS = f"SELECT count(*) FROM accounts WHERE {OF_ACCOUNT}"  # of those that PRUNE_ACCOUNTS deletes
PRUNE = f"""
WITH syncs AS (
    DELETE FROM sync_runner_syncs WHERE outcome IS NOT NULL AND intended_at < {_NOW} - %(keep)s RETURNING 1
), accounts AS ({PRUNE_ACCOUNTS}
), locks AS (
    DELETE FROM sync_runner_locks WHERE holder IS NULL OR lease_until < clock_timestamp() - interval '1 day'
)
SELECT (SELECT count(*) FROM syncs), ({COUNT_ACCOUNTS})"""


def as_json(carried: Mapping[str, JSON]) -> str:
    """Returns the carried values of a trigger's response, as text."""
    return json.dumps(dict(carried))
