"""Servers that we did not write, run by their profiles alone. They live in an environment of their own: `.venv/servers`."""
