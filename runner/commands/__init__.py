"""The commands, one module each. Each takes parsed arguments and returns an exit code."""
