"""The embedded API: an honest server of the contract, for the demo, the tests and trying things out."""
