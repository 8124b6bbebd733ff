"""Unattended login: one-time codes, sessions, the session store."""
