"""The secrets of one account: which are read, whom they name, what templates get of them, and that none is shown."""

from pathlib import Path

import pytest

from runner import profile as profiles
from runner.auth.credentials import Credentials, read_credentials
from runner.auth.totp import Seed
from runner.errors import SecretError
from runner.secrets.reader import SecretReader

AUTH = profiles.load("garminsync").auth
SEED = "GEZDGNBVGY3TQOJQ"


def _read(tmp_path: Path, **secrets: str) -> tuple[Credentials, list[str]]:
    for name, value in secrets.items():
        (tmp_path / name).write_text(value)
        (tmp_path / name).chmod(0o600)
    learned: list[str] = []
    reader = SecretReader(tmp_path, environment={}, warn=lambda *_: None)

    def add(secret: str, /, *, parts: bool = True) -> None:
        learned.append(secret)
        assert parts == (secret != secrets.get("username")), "of a name only the whole is hidden"

    return read_credentials(reader, AUTH, add), learned


def test_what_is_mounted_is_read_and_learned_with_its_basic_form(tmp_path: Path) -> None:
    read, learned = _read(tmp_path, username="me", password="geheim", totp_seed=SEED, refresh_token="again")
    assert read == Credentials("me", "geheim", Seed(b"1234567890"), "again")
    assert sorted(learned) == sorted(["me", "geheim", SEED, "again", "bWU6Z2VoZWlt"])
    assert repr(read) == "Credentials(***)"


def test_seed_and_refresh_token_may_be_missing_and_nothing_else(tmp_path: Path) -> None:
    read, learned = _read(tmp_path, username="me", password="geheim")
    assert (read.seed, read.refresh_token) == (None, None)
    assert sorted(learned) == ["bWU6Z2VoZWlt", "geheim", "me"]
    (tmp_path / "password").unlink()
    with pytest.raises(SecretError, match="password: no such secret"):
        _read(tmp_path)


def test_templates_get_what_there_is_by_name() -> None:
    assert Credentials("me", "geheim").values == {"username": "me", "password": "geheim", "basic": "bWU6Z2VoZWlt"}
    assert Credentials("me").values == {"username": "me"}
    others = Credentials(password="p", api_token="t", client_id="i", client_secret="s", refresh_token="r")
    assert others.values == {
        "password": "p",
        "api_token": "t",
        "client_id": "i",
        "client_secret": "s",
        "client_basic": "aTpz",
    }


def test_a_user_or_a_client_names_an_account_and_a_token_nobody() -> None:
    assert Credentials("me", client_id="i").identity == "me"
    assert Credentials(client_id="i").identity == "i"
    assert Credentials(api_token="t").identity is None
