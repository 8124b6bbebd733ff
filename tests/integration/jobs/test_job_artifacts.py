"""The files of a job: whole or not there, never outside their directory, resumed where the connection breaks."""

import gzip
import hashlib
import os
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import RunOutput
from tests.support.output_place import Behave, chunked, job, run, serving
from tests.support.scripted_api import Answers, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LISTED: dict[str, Any] = {
    "artifacts": {
        "listing": {
            "request": {"path": "/jobs/${job_id}/files"}, "list": "files", "name": "path", "size": "size", "sha256": "sha256",
        },
        "request": {"path": "/jobs/${job_id}/files/${file}"},
    }
}  # fmt: skip
ONE: dict[str, Any] = {"artifacts": {"names": ["out/data.bin"], "request": {"path": "/files/${file}"}}}
AT = "/files/out/data.bin"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken connection is resumed at once."""
    monkeypatch.setattr("runner.jobs.download.FIRST_PAUSE", 0.0)


def stored(home: Path) -> dict[str, bytes]:
    """Every file below the directory of artifacts, also temporary ones."""
    return {
        str(path.relative_to(home / "files")): path.read_bytes()
        for path in (home / "files").rglob("*")
        if path.is_file()
    }


def errors(ended: RunOutput) -> list[str]:
    return [event.error for event in ended.named("sync.output_unread")]


def download(home: Path, behave: Behave, jobs: dict[str, Any] = ONE, **settings: Any) -> RunOutput:
    """A run that downloads the one file."""
    with ScriptedApi(job("completed")) as rest, serving({AT: behave}, rest) as url:
        return run(url, home, jobs=jobs, artifacts={"dir": str(home / "files"), **settings})


def whole(handler: BaseHTTPRequestHandler, content: bytes = CONTENT, **headers: str) -> None:
    handler.send_response(200)
    for name, value in {"Content_Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def test_the_files_that_are_listed_are_downloaded_with_their_paths(tmp_path: Path) -> None:
    files = [
        {"path": "a.txt", "size": 3, "sha256": hashlib.sha256(b"one").hexdigest()},
        {"path": "b c/d#é.txt"},
        {"path": "no.log"},
    ]
    routes = {
        **job("completed"), "GET /jobs/7/files": Answers({"files": files}), "GET /jobs/7/files/a.txt": Answers(raw=b"one"),
        "GET /jobs/7/files/b%20c/d%23%C3%A9.txt": Answers(raw=b"two"),
    }  # fmt: skip
    with ScriptedApi(routes) as api:
        ended = run(api, tmp_path, jobs=LISTED, artifacts={"dir": str(tmp_path / "files"), "only": "*.txt"})
    assert (ended.code, errors(ended)) == (0, [])
    assert stored(tmp_path) == {"default/nightly/a.txt": b"one", "default/nightly/b c/d#é.txt": b"two"}
    first = ended.result.results[0].artifacts[0]
    assert (first.name, first.size, first.path) == ("a.txt", 3, str(tmp_path / "files/default/nightly/a.txt"))
    assert [event.size for event in ended.named("sync.artifact")] == [3, 3]


def test_nothing_is_downloaded_where_no_directory_is_set(tmp_path: Path) -> None:
    with ScriptedApi(job("completed")) as api:
        assert run(api, tmp_path, jobs=LISTED).code == 0
        assert api.at("/jobs/7/files") == []


NAMES = [
    "../x", "/etc/passwd", "a/../../x", "a/./b", "a//b", "", ".", "..", "C:/x", "a\\..\\x", "con", "NUL.txt", "a/COM1.log",
    "x\0y", "x\ny", "a\u202eb", "~/x", "a.", " a", "a ", "x" * 300, "/".join("abcdefghijklmnopqrstuvwxyz"), "lpt¹",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_is_refused_and_told(tmp_path: Path, name: str) -> None:
    files = {"files": [{"path": name}, {"path": "good"}]}
    asked: list[str] = []

    def any_file(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        whole(handler, b"x")

    with ScriptedApi({**job("completed"), "GET /jobs/7/files": Answers(files)}) as rest:
        with serving({"/jobs/7/files/good": any_file}, rest) as url:
            ended = run(url, tmp_path, jobs=LISTED, artifacts={"dir": str(tmp_path / "files")})
        assert {one.path for one in rest.asked} == {"/jobs", "/jobs/7", "/jobs/7/files"}
    assert (ended.code, len(errors(ended)), "it is not downloaded" in errors(ended)[0]) == (0, 1, True)
    assert stored(tmp_path) == {"default/nightly/good": b"x"}
    assert {one.name for one in tmp_path.iterdir()} == {"files", "secrets", "own.yaml"}


@pytest.mark.parametrize("place", ["default", "default/nightly", "default/nightly/out", "default/nightly/out/data.bin"])
@pytest.mark.parametrize("kind", ["link", "dangling"])
def test_no_link_below_the_directory_is_followed(tmp_path: Path, place: str, kind: str) -> None:
    outside = tmp_path / "outside"
    if kind == "link":
        outside.mkdir()
    link = tmp_path / "files" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    ended = download(tmp_path, whole)
    assert (ended.code, len(errors(ended))) == (0, 1)
    assert "artifacts.dir" in errors(ended)[0]
    assert not outside.exists() or list(outside.iterdir()) == []
    assert link.is_symlink()


class Cutting:
    """A server that cuts the connection so many times, and knows ranges or not."""

    def __init__(self, times: int, *, ranges: bool = True, etag: str = '"v1"', told: bool = True) -> None:
        self.times, self.ranges, self.etag, self.told = times, ranges, etag, told
        self.asked: list[str | None] = []

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start and self.etag and handler.headers.get("If-Range") != self.etag:
            start = 0
        handler.send_response(206 if start else 200)
        if self.etag:
            handler.send_header("ETag", self.etag)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        rest = CONTENT[start:]
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        cut = self.times > 0
        self.times -= 1
        handler.wfile.write(rest[:50_000] if cut else rest)
        handler.close_connection = cut


def test_a_file_whose_connection_is_cut_five_times_is_resumed_and_whole(tmp_path: Path) -> None:
    server = Cutting(5)
    ended = download(tmp_path, server)
    assert (ended.code, errors(ended)) == (0, [])
    assert stored(tmp_path) == {"default/nightly/out/data.bin": CONTENT}
    assert server.asked == [None, *(f"bytes={number * 50_000}-" for number in range(1, 6))]
    assert ended.result.results[0].artifacts[0].sha256 == SHA256


@pytest.mark.parametrize("server", [Cutting(3, ranges=False), Cutting(3, etag=""), Cutting(3, etag='W/"weak"')])
def test_a_file_that_cannot_be_resumed_safely_is_begun_again(tmp_path: Path, server: Cutting) -> None:
    assert errors(download(tmp_path, server)) == []
    assert stored(tmp_path) == {"default/nightly/out/data.bin": CONTENT}
    assert server.ranges is False or server.asked == [None] * 4


def test_a_file_that_changed_between_two_parts_is_never_put_together(tmp_path: Path) -> None:
    other = os.urandom(200_000)

    def changing(handler: BaseHTTPRequestHandler, asked: list[int] = []) -> None:  # noqa: B006 - counts
        asked.append(1)
        if len(asked) == 1:
            Cutting(1)(handler)
        else:  # If-Range does not fit: the whole new file, with 200
            assert handler.headers.get("If-Range") == '"v1"'
            whole(handler, other, ETag='"v2"')

    assert errors(download(tmp_path, changing)) == []
    assert stored(tmp_path) == {"default/nightly/out/data.bin": other}


def packed(handler: BaseHTTPRequestHandler) -> None:
    whole(handler, gzip.compress(b"plain " * 1000), Content_Encoding="gzip")


def test_a_file_that_comes_compressed_is_stored_as_it_was_before(tmp_path: Path) -> None:
    assert errors(download(tmp_path, packed)) == []
    assert stored(tmp_path) == {"default/nightly/out/data.bin": b"plain " * 1000}


@cache
def bomb() -> bytes:
    """64 MiB of zeros."""
    return gzip.compress(bytes(64 << 20))


REFUSED: dict[str, tuple[Behave, dict[str, Any], str]] = {
    "bomb": (lambda handler: whole(handler, bomb(), Content_Encoding="gzip"), {}, "decompression bomb"),
    "told too large": (whole, {"max_bytes": 100_000}, "larger than 100000 bytes"),
    "untold too large": (lambda h: chunked(h, iter([CONTENT[:60_000]] * 3)), {"max_bytes": 100_000}, "larger than 100000"),
    "total": (whole, {"max_total_bytes": 100_000}, "larger than 100000"),
    "404": (lambda handler: handler.send_error(404), {}, "the API answered 404"),
    "500": (lambda handler: handler.send_error(500), {}, "the API answered 500"),
    "always cut": (Cutting(1000, ranges=False), {}, "broke"),
    "slow": (lambda handler: __import__("time").sleep(5), {"timeout": 0.3}, "artifacts.timeout"),
    "unknown encoding": (lambda h: whole(h, Content_Encoding="br"), {}, "encoded as `br`"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_refused_leaves_nothing_and_changes_no_outcome(tmp_path: Path, name: str) -> None:
    behave, settings, told = REFUSED[name]
    ended = download(tmp_path, behave, **settings)
    assert (ended.code, ended.outcomes, len(errors(ended))) == (0, ["completed"], 1)
    assert told in errors(ended)[0]
    assert stored(tmp_path) == {}
    assert (ended.result.results[0].artifacts[0].error or "") in errors(ended)[0]


@pytest.mark.parametrize(
    ("told", "problem"), [({"sha256": "0" * 64}, "SHA-256"), ({"size": 7}, "bytes, but the API reported 7")]
)
def test_a_file_that_is_not_the_one_that_was_told_is_not_kept(
    tmp_path: Path, told: dict[str, Any], problem: str
) -> None:
    files = {"files": [{"path": "x", **told}]}
    routes = {**job("completed"), "GET /jobs/7/files": Answers(files), "GET /jobs/7/files/x": Answers(raw=CONTENT)}
    with ScriptedApi(routes) as api:
        ended = run(api, tmp_path, jobs=LISTED, artifacts={"dir": str(tmp_path / "files")})
    assert (ended.code, stored(tmp_path)) == (0, {})
    assert problem in errors(ended)[0]


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    old = tmp_path / "files/default/nightly/out/data.bin"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    seen: list[bytes] = []

    def looking(handler: BaseHTTPRequestHandler) -> None:
        whole(handler, CONTENT[:100_000], Content_Length=str(len(CONTENT)))
        seen.append(old.read_bytes())
        handler.wfile.write(CONTENT[100_000:])

    assert errors(download(tmp_path, looking)) == []
    assert (seen, old.read_bytes()) == ([b"old"], CONTENT)


def test_more_files_than_are_allowed_are_told(tmp_path: Path) -> None:
    routes: dict[str, Any] = {
        **job("completed"), "GET /jobs/7/files": Answers({"files": [{"path": str(n)} for n in range(5)]}),
        **{f"GET /jobs/7/files/{n}": Answers(raw=b"x") for n in range(5)},
    }  # fmt: skip
    with ScriptedApi(routes) as api:
        ended = run(api, tmp_path, jobs=LISTED, artifacts={"dir": str(tmp_path / "files"), "max_files": 3})
    assert ended.code == 0
    assert "artifacts.max_files" in errors(ended)[0]


@pytest.mark.parametrize(
    "answer", [Answers({}, 500), Answers({"files": 3}), Answers({"files": [{"path": 3}]}), Answers(raw=b"x")]
)
def test_a_listing_that_cannot_be_read_changes_no_outcome(tmp_path: Path, answer: Answers) -> None:
    with ScriptedApi({**job("completed"), "GET /jobs/7/files": answer}) as api:
        ended = run(api, tmp_path, jobs=LISTED, artifacts={"dir": str(tmp_path / "files")})
    assert (ended.code, len(errors(ended))) == (0, 1)


SIGNED: dict[str, Any] = {
    "artifacts": {
        "names": ["out/data.bin"],
        "request": {"path": "/files/${file}", "headers": {"X-Token": "of-the-api"}},
    }
}


def redirect(to: str, status: int = 302) -> Behave:
    """A response that leads to that address."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return behave


def elsewhere(home: Path, behave: Behave, *hosts: str, to: str = "/bucket/data?sig=secret-of-the-storage") -> RunOutput:
    """A run whose download is redirected to another host, `localhost`: by name another one than the API's 127.0.0.1."""
    with ScriptedApi(job("completed")) as rest, serving({"/bucket/data": behave}, rest) as storage:
        address = storage.replace("127.0.0.1", "localhost") + to
        with serving({AT: redirect(address)}, rest) as url:
            files = {"dir": str(home / "files"), "redirect_hosts": hosts}
            return run(url, home, jobs=SIGNED, artifacts=files)


def test_a_file_behind_a_redirect_to_a_named_host_is_downloaded_without_the_apis_token(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    cutting = Cutting(2)

    def storage(handler: BaseHTTPRequestHandler) -> None:
        seen.append({key.lower(): value for key, value in handler.headers.items()})
        cutting(handler)

    ended = elsewhere(tmp_path, storage, "*.example.org", "localhost")
    assert (ended.code, errors(ended)) == (0, [])
    assert stored(tmp_path) == {"default/nightly/out/data.bin": CONTENT}
    assert len(seen) > 1
    assert all(
        set(one) <= {"host", "user-agent", "accept", "accept-encoding", "connection", "range", "if-range"}
        for one in seen
    )
    assert seen[-1]["range"]  # resumed there
    assert "secret-of-the-storage" not in str(ended.events)


def test_a_redirect_to_a_host_that_is_not_named_is_told_with_the_setting_and_changes_no_outcome(tmp_path: Path) -> None:
    asked: list[str] = []
    ended = elsewhere(
        tmp_path, lambda handler: asked.append(handler.path), "storage.example.org", "localhost.example.org"
    )
    (said,) = errors(ended)
    assert (ended.code, asked, stored(tmp_path)) == (0, [], {})
    assert "redirects (302) to localhost; add that host to artifacts.redirect_hosts" in said
    assert "secret-of-the-storage" not in said


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_behind_a_redirect_is_told_with_its_host(tmp_path: Path, status: int) -> None:
    def refused(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    ended = elsewhere(tmp_path, refused, "localhost")
    assert (ended.code, stored(tmp_path)) == (0, {})
    assert f"redirects to localhost, which answered {status}" in errors(ended)[0]


def test_a_redirect_within_the_api_keeps_the_token_and_one_in_a_circle_ends(tmp_path: Path) -> None:
    tokens: list[str | None] = []

    def there(handler: BaseHTTPRequestHandler) -> None:
        tokens.append(handler.headers["X-Token"])
        whole(handler)

    with ScriptedApi(job("completed")) as rest:
        with serving({AT: redirect("../../v2/data"), "/v2/data": there}, rest) as url:
            ended = run(url, tmp_path, jobs=SIGNED, artifacts={"dir": str(tmp_path / "files")})
        assert (ended.code, errors(ended), tokens) == (0, [], ["of-the-api"])
        with serving({AT: redirect(AT)}, rest) as url:
            ended = run(url, tmp_path, jobs=SIGNED, artifacts={"dir": str(tmp_path / "files")})
    assert ended.code == 0
    assert "more than 5 redirects" in errors(ended)[0]


@pytest.mark.parametrize("to", ["", "ftp://localhost/x", "http://u:p@localhost/x", "http://[x", "file:///etc/passwd"])
def test_a_redirect_to_no_address_for_a_download_is_refused(tmp_path: Path, to: str) -> None:
    ended = download(tmp_path, redirect(to), redirect_hosts=["*"])
    assert (ended.code, stored(tmp_path)) == (0, {})
    assert "redirects (302)" in errors(ended)[0]
