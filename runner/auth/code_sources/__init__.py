"""Where one-time codes come from: one module for each kind, behind `interface.py`."""
