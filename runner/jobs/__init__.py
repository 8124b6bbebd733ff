"""Sync jobs: plan, trigger or adopt, poll, cancel, outcome."""
