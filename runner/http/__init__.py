"""HTTP: client, retry policy, retry budget, bounded bodies."""
