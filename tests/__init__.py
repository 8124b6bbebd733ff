"""What each test process has in common before it imports the runner."""

import sys

# With this package jsonschema builds 38 grammars for formats that nobody here checks: 0.7 s in every process.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
