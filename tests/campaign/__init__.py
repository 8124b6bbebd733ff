"""Proofs too long for every run of the tests: `python -m tests.campaign.NAME` runs one whole, the tests a slice of each."""
