"""The events of a run, their listeners, and redaction."""
