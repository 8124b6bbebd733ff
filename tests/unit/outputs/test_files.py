"""A file is written into what is there: whole where it is a regular file, in place where it is anything else."""

import errno
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from runner.outputs.files import write_file, write_in_place

NASTY = "]]> \x00 \ud800 \ufffe ü"


def test_any_text_is_written(tmp_path: Path) -> None:
    assert write_file(tmp_path / "x", NASTY, 1) is None
    assert (tmp_path / "x").read_bytes() == NASTY.encode(errors="replace")


def test_an_old_file_is_replaced_and_never_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_file(path, "old" * 1000, 1)
    with path.open() as reader:
        write_file(path, "new", 1)
        assert reader.read() == "old" * 1000  # a reader that has begun sees the old file to its end
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]
    assert "No such file" in (write_file(tmp_path / "no" / "x", "", 1) or "")


def test_a_name_as_long_as_a_file_system_allows_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("漢" * 83 + ".json")  # 254 bytes
    assert write_file(path, "text", 1) is None and path.read_text() == "text"


def test_a_new_file_can_be_read_by_others_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_file(path, "", 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    write_file(path, "", 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_a_link_and_its_target_gets_the_text(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    target = tmp_path / "below" / "report.json"
    link = tmp_path / "first"
    link.symlink_to("second")
    (tmp_path / "second").symlink_to(target)
    for text in ("new", "newer"):  # the target is there only the second time
        assert write_file(link, text, 1) is None
        assert target.read_text() == text
    assert link.is_symlink() and (tmp_path / "second").is_symlink()


def test_links_that_go_round_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "Too many levels" in (write_file(tmp_path / "a", "x", 1) or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could replace a device: run as root")
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    null = tmp_path / "null"
    os.mknod(null, stat.S_IFCHR | 0o666, Path("/dev/null").stat().st_rdev)
    (tmp_path / "link").symlink_to(null)
    for path in (null, tmp_path / "link"):
        assert write_file(path, "x", 1) is None
        assert stat.S_ISCHR(null.stat().st_mode)


def test_a_device_gets_the_text() -> None:
    assert "No space left" in (write_file(Path("/dev/full"), "x", 1) or "")


def test_a_descriptor_of_this_process_gets_the_text(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w+b", buffering=0) as file:
        file.write(b"before ")
        for name in (f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}"):
            assert write_file(Path(name), "text ", 1) is None
    assert (tmp_path / "x").read_text() == "before text text "


def test_a_pipe_gets_the_text_where_somebody_reads_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    text = "x" * 300_000
    assert write_file(pipe, text, 30) is None
    reader.join(30)
    assert read == [text] and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("write", [write_file, write_in_place])
def test_a_pipe_that_nobody_reads_is_given_up(tmp_path: Path, write: object) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert callable(write)
    assert write(pipe, "x", 0.05) == f"{pipe}: this pipe has no reader"
    stalled = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert "bytes were read, then the reader stopped" in (write(pipe, "x" * 300_000, 0.05) or "")
    finally:
        os.close(stalled)


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV])
def test_a_mounted_file_is_written_in_place(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is a mount point cannot be replaced: Linux says EBUSY."""

    def busy(*_arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "mounted"
    path.write_text("old and longer")
    number = path.stat().st_ino
    monkeypatch.setattr(Path, "replace", busy)
    assert write_file(path, "new", 1) is None
    assert (path.read_text(), path.stat().st_ino) == ("new", number)
    assert [one.name for one in tmp_path.iterdir()] == ["mounted"]
    assert os.strerror(code) in (write_file(tmp_path / "new", "x", 1) or "")


def test_a_file_in_a_directory_that_others_own_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object, **_more: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = tmp_path / "x"
    path.write_text("old")
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refused)
    assert write_file(path, "new", 1) is None and path.read_text() == "new"
    assert "Permission denied" in (write_file(tmp_path / "y", "new", 1) or "")
