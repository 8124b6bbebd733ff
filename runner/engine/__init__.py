"""Runs the syncs: accounts, deadline, signals, result."""
