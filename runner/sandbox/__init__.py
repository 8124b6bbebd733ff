"""The embedded API: a real server of the contract, for the demo, the tests and trials."""
