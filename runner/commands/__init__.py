"""One module a command; each takes parsed arguments and returns an exit code."""
