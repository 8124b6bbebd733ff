"""Sync jobs: plan, trigger, adopt, poll, cancel, outcome."""
