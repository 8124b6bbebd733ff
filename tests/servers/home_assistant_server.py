"""Home Assistant with a one-time code. Its traces of scripts and its list of refresh tokens are the judge."""

import json
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.interface import State
from tests.servers.processes import Program, answers, tool
from tests.support.ports import free_port

WORK = Path(__file__).parent / "work" / "home-assistant"
WORDS: dict[str, State] = {"finished": "completed", "error": "failed", "cancelled": "cancelled"}


class HomeAssistant:
    """One Home Assistant with scripts."""

    profile = "home-assistant"
    mark = b"/script/turn_on"
    refused: ClassVar[dict[str, Any]] = {}

    def __init__(self, home: Path, stack: ExitStack) -> None:
        """Starts in `home`, and ends with `stack`."""
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        text = (WORK / "configuration.yaml").read_text().replace("PORT", str(port))
        (home / "configuration.yaml").write_text(text)
        shutil.copytree(WORK / "custom_components", home / "custom_components")
        self._slow = home / "slow"
        command: list[str | Path] = [tool("home-assistant", "hass"), "-c", home]
        ready = answers(f"{self.base_url}/api/onboarding")
        self._program = stack.enter_context(Program(command, {}, home / "hass.log", ready, cwd=home))
        self._program.wait()
        told = self._admin("set-up")
        self._token = told.pop("token")
        self.secrets: dict[str, str] = told

    def _admin(self, *words: str) -> Any:
        command: list[str | Path] = [tool("home-assistant"), WORK / "admin.py", words[0], self.base_url, *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sync(self, job: str, **given: Any) -> dict[str, Any]:
        """A run of the script, with its result entity."""
        result = {} if job == "nosuch" else {"result": f"input_text.{job}_result"}
        return {"type": f"script.{job}", "params": result | ({"variables": given} if given else {})}

    def jobs(self) -> dict[str, State]:
        """The runs of all scripts, by Home Assistant's own names for them, which no other answer has."""
        traces = self._admin("record", self._token)["traces"]
        begun = [one for one in traces if one["script_execution"] != "failed_single"]  # it ran already
        return {one["run_id"]: WORDS.get(one["script_execution"] or "", "running") for one in begun}

    def told_as_failed(self) -> list[str]:
        """Scripts that ended well for Home Assistant, and whose result tells of a failure."""
        traces = self._admin("record", self._token)["traces"]
        return [one["item_id"] for one in traces if one["item_id"] == "fails" and one["script_execution"] == "finished"]

    def sessions(self) -> int:
        """The refresh tokens of the user."""
        found: int = self._admin("record", self._token)["sessions"]
        return found

    def stop(self) -> None:
        """Stop it; scripts end with it."""
        self._program.stop()

    def start(self, slow: float = 0) -> None:
        """Start it again. It listens when this returns; `slow`: the seconds from then until it has its scripts."""
        self._slow.write_text(str(slow))
        self._program.start()
        self._program.wait()
