"""Sync jobs: plan, state machine, trigger-or-adopt, watch, cancel."""
