"""Secrets: read exactly, from every mount, and a fault never shows what it is about."""

import os
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from runner.errors import SecretError, UsageError
from runner.events.redaction import MIN_LENGTH
from runner.events.secret_index import PART
from runner.secrets.files import MAX_BYTES
from runner.secrets.interface import SourceOptions
from runner.secrets.reader import HIDDEN_IN_PARTS, HIDDEN_WHOLE, SecretReader

Warnings = list[tuple[str, str]]


def _reader(
    directory: Path, environment: dict[str, str] | None = None, warnings: Warnings | None = None
) -> SecretReader:
    told: Warnings = [] if warnings is None else warnings
    return SecretReader(directory, environment=environment or {}, warn=lambda name, text: told.append((name, text)))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"  pass word  \n", "  pass word  "),
        (b"geheim", "geheim"),
        (b"geheim\r\n", "geheim"),
        ("pässwörd€\n".encode(), "pässwörd€"),
        (b'"#$\\%{}', '"#$\\%{}'),
        (b"-----BEGIN PRIVATE KEY-----\nMII\n-----END-----\n", "-----BEGIN PRIVATE KEY-----\nMII\n-----END-----"),
    ],
)
def test_exactly_one_newline_is_dropped_and_nothing_else(tmp_path: Path, written: bytes, read: str) -> None:
    (tmp_path / "password").write_bytes(written)
    assert _reader(tmp_path).require("password") == read


def test_kubernetes_links_are_followed_and_a_rotation_is_seen(tmp_path: Path) -> None:
    for version, value in (("..2026_01", "old"), ("..2026_02", "new")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "password").write_text(value)
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "password").symlink_to("..data/password")
    reader = _reader(tmp_path)
    assert reader.require("password") == "old"
    (tmp_path / "..data_tmp").symlink_to("..2026_02")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert reader.require("password") == "new"


def test_a_link_may_lead_out_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("geheim")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "password").symlink_to(tmp_path / "vault")
    assert _reader(tmp_path / "secrets").require("password") == "geheim"


def test_systemd_credentials_are_found(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim")
    assert _reader(Path("/nowhere"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}).require("password") == "geheim"


def test_a_file_named_by_a_variable_comes_first(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of the directory")
    (tmp_path / "other").write_text("of the variable")
    found = _reader(tmp_path, {"SYNC_RUNNER_PASSWORD_FILE": str(tmp_path / "other")}).require("password")
    assert found == "of the variable"


def test_a_secret_in_the_environment_is_taken_with_a_warning() -> None:
    warnings: Warnings = []
    assert _reader(Path("/nowhere"), {"SYNC_RUNNER_PASSWORD": "geheim-7"}, warnings).require("password") == "geheim-7"
    assert [name for name, _ in warnings] == ["password"]
    assert "SYNC_RUNNER_PASSWORD_FILE" in warnings[0][1]
    assert "geheim" not in warnings[0][1]


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A directory that lets every user through, which pytest's do not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_a_file_that_all_may_read_is_taken_with_a_warning(for_all: Path) -> None:
    (for_all / "password").write_text("geheim")
    (for_all / "password").chmod(0o644)
    warnings: Warnings = []
    assert _reader(for_all, None, warnings).require("password") == "geheim"
    assert "chmod 0600" in warnings[0][1]


def test_both_ways_at_once_are_an_error(tmp_path: Path) -> None:
    both = {"SYNC_RUNNER_PASSWORD": "geheim", "SYNC_RUNNER_PASSWORD_FILE": str(tmp_path / "x")}
    with pytest.raises(SecretError, match="keep one"):
        _reader(tmp_path, both).require("password")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"geheim\xff", "not UTF-8"),
        (b"geheim\ngeheim", "line break"),
        (b"geheim\x00", "control character"),
        (b"geheim" * 20_000, "larger than"),
    ],
)
def test_a_fault_names_the_file_and_never_the_content(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(SecretError) as caught:
        _reader(tmp_path).require("password")
    assert str(path) in str(caught.value)
    assert fault in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_what_is_no_plain_file_is_refused_and_a_pipe_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "username").mkdir()
    os.mkfifo(tmp_path / "password")
    (tmp_path / "totp_seed").symlink_to("/nowhere/at/all")
    reader = _reader(tmp_path)
    with pytest.raises(SecretError, match="not a regular file"):
        reader.require("username")
    with pytest.raises(SecretError, match="not a regular file"):
        reader.require("password")
    with pytest.raises(SecretError, match="cannot be read"):
        reader.require("totp_seed")


def test_a_missing_secret_says_where_it_was_looked_for(tmp_path: Path) -> None:
    reader = _reader(tmp_path, {"HOME": "/", "CREDENTIALS_DIRECTORY": "/run/credentials/x"})
    assert reader.read("totp_seed") is None
    with pytest.raises(SecretError) as caught:
        reader.require("password")
    for place in (f"{tmp_path}/password", "/run/credentials/x/password", "SYNC_RUNNER_PASSWORD_FILE"):
        assert place in str(caught.value)


def test_one_account_of_several_takes_nothing_from_the_environment(tmp_path: Path) -> None:
    reader = SecretReader(
        tmp_path, environment={"SYNC_RUNNER_PASSWORD": "geheim"}, use_environment=False, warn=lambda *_: None
    )
    assert reader.read("password") is None


def test_warnings_name_the_secret(for_all: Path) -> None:
    (for_all / "password").write_text("geheimes")
    (for_all / "password").chmod(0o604)
    warnings: Warnings = []
    named = {"SYNC_RUNNER_TOTP_SEED_FILE": str(for_all / "password"), "SYNC_RUNNER_USERNAME": "ich"}
    reader = _reader(for_all, named, warnings)
    for name in ("password", "totp_seed", "username"):
        reader.require(name)
    open_file = f"{for_all}/password is readable by every user of this machine; chmod 0600 it"
    in_environment = (
        "SYNC_RUNNER_USERNAME is in the environment, which other processes may read; use SYNC_RUNNER_USERNAME_FILE"
    )
    assert warnings == [("password", open_file), ("totp_seed", open_file), ("username", in_environment)]


def test_a_file_for_one_user_or_on_a_place_that_can_not_be_changed_brings_no_warning(
    for_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (for_all / "password").write_text("geheimes")
    (for_all / "password").chmod(0o640)
    warnings: Warnings = []
    _reader(for_all, None, warnings).require("password")
    (for_all / "password").chmod(0o644)
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (for_all, os.W_OK))  # a read-only mount
    _reader(for_all, None, warnings).require("password")
    assert warnings == []


def test_an_open_file_in_a_directory_that_lets_nobody_through_brings_no_warning(for_all: Path) -> None:
    (for_all / "password").write_text("geheimes")
    (for_all / "password").chmod(0o644)
    warnings: Warnings = []
    for_all.chmod(0o700)
    _reader(for_all, None, warnings).require("password")
    assert warnings == []


def test_the_largest_secret_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x" * MAX_BYTES)
    assert len(_reader(tmp_path).require("password")) == MAX_BYTES
    (tmp_path / "password").write_text("x" * (MAX_BYTES + 1))
    with pytest.raises(SecretError) as caught:
        _reader(tmp_path).require("password")
    assert str(caught.value) == f"{tmp_path}/password: larger than 65536 bytes; this is not a password or seed"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty; write the secret into it"),
        (b"a\xff", "not UTF-8 text; write the secret as plain text"),
        (b"a\x1fb", "contains a line break or another control character; write one line of text"),
        (b"a\x7fb", "contains a line break or another control character; write one line of text"),
        (b"a\n\n", "contains a line break or another control character; write one line of text"),
    ],
)
def test_each_fault_says_what_to_do(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(SecretError) as caught:
        _reader(tmp_path).require("password")
    assert str(caught.value) == f"{tmp_path}/password: {fault}"


def test_a_faulty_variable_is_named_as_its_source() -> None:
    with pytest.raises(SecretError, match=r"^SYNC_RUNNER_PASSWORD: contains a line break"):
        _reader(Path("/nowhere"), {"SYNC_RUNNER_PASSWORD": "a\nb"}).require("password")
    both = {"SYNC_RUNNER_PASSWORD": "geheim", "SYNC_RUNNER_PASSWORD_FILE": "/x"}
    with pytest.raises(SecretError) as caught:
        _reader(Path("/nowhere"), both).require("password")
    told = "password: both SYNC_RUNNER_PASSWORD and SYNC_RUNNER_PASSWORD_FILE are set; keep one, preferably the file"
    assert str(caught.value) == told


def test_what_is_missing_or_no_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "username").mkdir()
    told = {
        "username": f"{tmp_path}/username: not a regular file; put the secret into a regular file",
        "password": f"password: no such secret (searched {tmp_path}/password); mount the file there, give --secrets-dir",
    }
    for name, text in told.items():
        with pytest.raises(SecretError) as caught:
            _reader(tmp_path).require(name)
        assert str(caught.value) == text
    for place, fault in (("/nowhere", "No such file or directory"), ("/proc/self/mem", "Input/output error")):
        (tmp_path / "password").symlink_to(place)
        with pytest.raises(SecretError) as caught:
            _reader(tmp_path).require("password")
        unread = f"cannot be read ({fault}); check the mount and its owner and mode"
        assert str(caught.value) == f"{tmp_path}/password: {unread}"
        (tmp_path / "password").unlink()


def test_every_place_is_listed_and_the_variable_where_there_is_an_environment(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as caught:
        _reader(tmp_path, {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}).require("password")
    looked = f"{tmp_path}/password, /run/credentials/x/password"
    told = "mount the file there, give --secrets-dir or set SYNC_RUNNER_PASSWORD_FILE"
    assert str(caught.value) == f"password: no such secret (searched {looked}); {told}"


def test_a_directory_of_another_user_is_a_clear_error_and_never_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", denied)
    monkeypatch.setattr(os, "open", lambda *_arguments: denied(tmp_path))
    with pytest.raises(SecretError) as caught:
        _reader(tmp_path).read("password")
    told = "cannot be read (Permission denied); check the mount and its owner and mode"
    assert str(caught.value) == f"{tmp_path / 'password'}: {told}"


@pytest.mark.parametrize("kind", ["fifo", "directory", "loop", "file instead of the directory"])
def test_what_is_no_file_of_ours_is_a_clear_error_or_no_secret(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "password"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        (tmp_path / "file").write_text("")
        assert _reader(tmp_path / "file").read("password") is None
        return
    with pytest.raises(SecretError, match="password: (not a regular file|cannot be read)"):
        _reader(tmp_path).read("password")


def test_a_path_that_is_none_is_a_clear_error() -> None:
    with pytest.raises(SecretError, match="cannot be read"):
        _reader(Path("/nowhere"), {"SYNC_RUNNER_PASSWORD_FILE": "/x\0y"}).read("password")


def test_the_place_is_that_of_the_secret_that_counts(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("in the directory")
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "totp_seed").write_text("by systemd")
    reader = _reader(
        tmp_path, {"SYNC_RUNNER_USERNAME": "in a variable", "CREDENTIALS_DIRECTORY": str(tmp_path / "systemd")}
    )
    assert reader.place("username") == "SYNC_RUNNER_USERNAME"
    assert reader.place("password") == str(tmp_path / "password")
    assert reader.place("totp_seed") == str(tmp_path / "systemd" / "totp_seed")
    assert reader.place("state_key") is None
    assert reader.require("totp_seed") == "by systemd"


class _Vault:
    """A source that another package brings."""

    def __init__(self, options: SourceOptions) -> None:
        self._known = {"password": "from the vault"}

    def place(self, name: str) -> str | None:
        return f"vault:{name}" if name in self._known else None

    def read(self, name: str) -> str | None:
        return self._known.get(name)

    def looked_at(self, name: str) -> str:
        return f"vault:{name}"


def test_a_source_of_another_package_is_asked_last_and_only_when_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = metadata.EntryPoint("vault", f"{__name__}:_Vault", "sync_runner.secret_sources")
    monkeypatch.setattr(metadata, "entry_points", lambda **_query: metadata.EntryPoints([point]))
    assert _reader(tmp_path).read("password") is None
    reader = SecretReader(tmp_path, environment={}, warn=print, named=["vault"])
    assert reader.require("password") == "from the vault"
    (tmp_path / "password").write_text("in the directory")
    assert reader.require("password") == "in the directory"
    with pytest.raises(SecretError, match=r"searched .*username, vault:username\)"):
        reader.require("username")


def test_a_source_that_nobody_brings_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown source `vault`"):
        SecretReader(tmp_path, environment={}, warn=print, named=["vault"])


@pytest.mark.parametrize(
    ("secret", "told"),
    [("abc", "too short to redact"), ("  é ", "too short to redact"), ("abcd", "as a whole only"), ("ä-ö-ü", None), ("abcdefg", "as a whole only"), ("abcdefgh", None)],
)  # fmt: skip
def test_a_secret_too_short_to_be_hidden_well_is_warned_of_without_being_shown(
    tmp_path: Path, secret: str, told: str | None
) -> None:
    warnings: Warnings = []
    for name in ("password", "username", "client_id"):
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
        assert _reader(tmp_path, warnings=warnings).require(name) == secret
    assert [name for name, _ in warnings] == (["password"] if told else [])
    assert all(told and told in text and secret not in text for _, text in warnings)


def test_the_lengths_that_are_warned_of_are_those_of_the_redactor() -> None:
    assert (HIDDEN_IN_PARTS, HIDDEN_WHOLE) == (PART, MIN_LENGTH)
