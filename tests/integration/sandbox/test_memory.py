"""The sandbox's memory does not grow with the number of logins at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from runner.sandbox.accounts import HASHES_AT_ONCE, Accounts
from runner.sandbox.settings import SandboxSettings
from runner.sandbox.state import State


class CountingHasher:
    """Knows every password, and counts how many hashes are made at once."""

    def __init__(self) -> None:
        self.now, self.most = 0, 0
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        """As argon2 has it."""
        return password

    def verify(self, _hashed: str, _password: str) -> bool:
        """Takes long enough for others to come."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.05)
        with self._lock:
            self.now -= 1
        return True


def test_as_many_passwords_as_come_at_once_are_hashed_two_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each Argon2 hash takes 64 MiB: six at once had the sandbox of the dev overlay killed at its limit of 256 MiB."""
    hasher = CountingHasher()
    monkeypatch.setattr("argon2.PasswordHasher", lambda **_: hasher)
    body = {"username": "demo", "password": "right"}
    with closing(State(tmp_path / "state.sqlite3")) as state, ThreadPoolExecutor(8) as together:
        accounts = Accounts(SandboxSettings(data=tmp_path), state, time.time)
        accounts.put("demo", "right", "", "none")
        assert all("access_token" in one for one in together.map(accounts.login, [body] * 8))
    assert hasher.most == HASHES_AT_ONCE
