"""Proofs too long for every run of the tests: `make campaign` runs them whole, the tests a slice of each."""
