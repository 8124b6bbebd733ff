"""The command line that all campaigns share."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

Figures = dict[str, Any]


def main(campaigns: Mapping[str, Callable[[], Figures]], about: str | None) -> None:
    """Run the campaigns named, or all, and print each one's figures as a line of JSON."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(campaigns))
    for name in parser.parse_args().names or campaigns:
        began = time.monotonic()
        figures = campaigns[name]()
        print(json.dumps({"campaign": name, **figures, "seconds": round(time.monotonic() - began, 1)}), flush=True)
