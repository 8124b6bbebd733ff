"""The SQL of the ledger in SQLite."""

TABLE = """
CREATE TABLE IF NOT EXISTS syncs (
    key TEXT PRIMARY KEY,           -- the idempotency key
    target TEXT NOT NULL,           -- base URL and user the job belongs to
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    sync_type TEXT NOT NULL,
    run_id TEXT NOT NULL,
    intended_at REAL NOT NULL,      -- Unix seconds
    job_id TEXT,
    outcome TEXT,                   -- NULL while open
    ended_at REAL,
    processed_items INTEGER,
    error TEXT,
    foreign_job INTEGER NOT NULL DEFAULT 0,  -- 1: another's job that was watched; its dates are not ours
    carried TEXT NOT NULL DEFAULT '{}',  -- JSON: what the trigger's answer gave for later requests
    run_key TEXT,                   -- the setting run.key of the run that triggered it
    holder TEXT NOT NULL DEFAULT '',  -- the process that polls the job
    lease_until REAL NOT NULL DEFAULT 0,  -- Unix seconds: until then the holder counts as alive
    shown_id TEXT,                  -- the job id without secrets; the id itself goes back to the API
    watched_until REAL NOT NULL DEFAULT 0  -- Unix seconds: until then another process polls the job too
);
CREATE INDEX IF NOT EXISTS syncs_by_target ON syncs (target, name, intended_at);
"""
CHANGES = {  # from the schema of that number to the next
    1: "ALTER TABLE syncs ADD COLUMN foreign_job INTEGER NOT NULL DEFAULT 0",
    2: "ALTER TABLE syncs ADD COLUMN carried TEXT NOT NULL DEFAULT '{}'",
    3: "ALTER TABLE syncs ADD COLUMN run_key TEXT; ALTER TABLE syncs ADD COLUMN holder TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE syncs ADD COLUMN lease_until REAL NOT NULL DEFAULT 0",
    4: "ALTER TABLE syncs ADD COLUMN shown_id TEXT",
    5: "ALTER TABLE syncs ADD COLUMN watched_until REAL NOT NULL DEFAULT 0",
}
INTEND = (
    "INSERT OR REPLACE INTO syncs (key, target, account, name, sync_type, run_id, intended_at, run_key, holder, lease_until)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)
SHORTEN = (
    "DELETE FROM syncs WHERE target=? AND name=? AND outcome IS NOT NULL AND intended_at < (SELECT intended_at FROM syncs"
    " WHERE target=? AND name=? ORDER BY intended_at DESC LIMIT 1 OFFSET ?) AND key IS NOT (SELECT key FROM syncs WHERE"
    " target=? AND name=? AND outcome='completed' AND NOT foreign_job ORDER BY intended_at DESC LIMIT 1)"
)
PRUNE = "DELETE FROM syncs WHERE outcome IS NOT NULL AND intended_at < ?"
LEASE = (  # a new holder's own polls were marked while it waited for the lease
    "UPDATE syncs SET watched_until=CASE WHEN holder=:holder THEN watched_until ELSE 0 END, holder=:holder,"
    " lease_until=:until WHERE key=:key AND (holder=:holder OR lease_until<=:now)"
)
WATCH = "UPDATE syncs SET watched_until=:until WHERE key=:key"
WATCHED = "SELECT 1 FROM syncs WHERE key=? AND watched_until > ?"
TRIGGERED = "UPDATE syncs SET job_id=?, shown_id=?, foreign_job=?, carried=? WHERE key=?"
ENDED = "UPDATE syncs SET outcome=?, ended_at=?, processed_items=?, error=? WHERE key=?"
OPEN = "target=? AND name=? AND outcome IS NULL ORDER BY intended_at DESC LIMIT 1"
SUCCESS = "target=? AND name=? AND outcome='completed' AND NOT foreign_job ORDER BY intended_at DESC LIMIT 1"
COMPLETED_UNDER = "target=? AND name=? AND run_key=? AND outcome='completed' ORDER BY intended_at DESC LIMIT 1"
NEWEST = "target=? AND name=? ORDER BY intended_at DESC LIMIT 1"
OF_JOB = "target=? AND job_id=? ORDER BY intended_at DESC LIMIT 1"
RECENT = "1=1 ORDER BY intended_at DESC LIMIT ?"
