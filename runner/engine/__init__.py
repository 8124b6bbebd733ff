"""One run: accounts, deadline, signals, result."""
