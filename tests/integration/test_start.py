"""The first moments of the process."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_signal_in_the_middle_of_an_import_leaves_no_traceback(tmp_path: Path) -> None:
    """pydantic's compiled core answers an exception inside its import with another one; this module does so too."""
    (tmp_path / "interrupted.py").write_text(
        """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGTERM)
except BaseException as error:
    raise ImportError("no way to import this") from error
"""
    )
    start = "import runner.cli as cli, runner.__main__ as start; cli.run = lambda words: __import__('interrupted'); "
    surroundings = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", f"{start} start.main()"], capture_output=True, text=True, check=False, env=surroundings
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")
