"""The state between runs: sessions, used codes, the ledger of jobs."""
