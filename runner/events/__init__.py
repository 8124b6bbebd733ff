"""What happens in a run, as data, and who is told."""
