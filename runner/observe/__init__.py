"""What the outside sees: events, logs, metrics, progress, reports."""
