"""Sources of one-time codes: one module per kind, behind `interface.py`."""
