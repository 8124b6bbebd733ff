"""A file system that hangs holds up no reader of settings or secrets."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import reading, yaml_source
from runner.engine.fleet import _folders
from runner.engine.selection import failed_in
from runner.errors import SecretError, UsageError
from runner.http.client import tls_context
from runner.profile import locate
from runner.secrets.files import FileSource


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in which every call on a file waits."""
    over, real = (
        threading.Event(),
        {name: getattr(os, name) for name in ("open", "lstat", "stat", "listdir", "scandir")},
    )

    def slow(name: str) -> object:
        def call(path: object, *values: object, **named: object) -> object:
            if isinstance(path, str | Path) and str(path).startswith(str(tmp_path)):
                over.wait()
            return real[name](path, *values, **named)

        return call

    for name in real:
        monkeypatch.setattr(os, name, slow(name))
    monkeypatch.setattr(reading, "SECONDS", 0.1)
    yield tmp_path
    over.set()


def test_what_a_run_reads_first_is_given_up_with_an_error_that_names_it(hanging: Path) -> None:
    answer = "did not answer"
    with pytest.raises(SecretError, match=f"{hanging}/password: .*{answer}"):
        FileSource(hanging, lambda _name, _text: None).read("password")
    with pytest.raises(UsageError, match=f"{hanging}/runner.yaml: .*{answer}"):
        yaml_source.read(hanging / "runner.yaml")
    with pytest.raises(UsageError, match=f"{hanging}/profile.yaml.*{answer}"):
        locate(str(hanging / "profile.yaml"))
    with pytest.raises(UsageError, match=f"accounts_dir: {hanging}: .*{answer}"):
        _folders(hanging)
    with pytest.raises(UsageError, match=f"select.failed_in: {hanging}/report.json: .*{answer}"):
        failed_in(hanging / "report.json")
    with pytest.raises(UsageError, match=f"tls.ca_file: {hanging}/ca.pem: .*{answer}"):
        tls_context("https://sync.example.org", hanging / "ca.pem")


def test_a_fifo_in_place_of_a_report_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    with pytest.raises(UsageError, match="not a regular file"):
        failed_in(tmp_path / "report.json")


def test_the_error_of_the_work_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reading.in_time((tmp_path / "nothing").stat)
    assert reading.in_time(lambda: 3) == 3
