"""The logs of jobs: read as the profile says, shown and kept without secrets, and without a say in how a sync ends."""

import gzip
import itertools
import signal
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from runner.events.redaction import Redactor
from runner.external import redacting_with
from tests.support.command_line import Running
from tests.support.in_process import RunOutput
from tests.support.output_place import chunked, job, profile, run, serving
from tests.support.scripted_api import Answers, Asked, Route, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")


@pytest.fixture(autouse=True)
def _followed_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A followed log is read often, so that a job need not run for long."""
    monkeypatch.setattr("runner.jobs.logs.FOLLOW_SECONDS", 0.1)


SECRET = "correct-horse-battery"
WHOLE: dict[str, Any] = {"logs": {"request": {"path": "/jobs/${job_id}/log"}}}
TEXT = (("Content-Type", "text/plain"),)


def text(raw: str, *headers: tuple[str, str], status: int = 200) -> Answers:
    return Answers(raw=raw.encode(), status=status, headers=(*TEXT, *headers))


def shown(ended: RunOutput) -> list[str]:
    return [event.line for event in ended.named("sync.log")]


def warnings(ended: RunOutput) -> list[str]:
    return [f"{event.output}: {event.error}" for event in ended.named("sync.output_unread")]


def test_the_last_fifty_lines_of_a_failed_job_are_shown(tmp_path: Path) -> None:
    log = "".join(f"line {number}\n" for number in range(200))
    with ScriptedApi({**job("failed"), "GET /jobs/7/log": text(log)}) as api:
        ended = run(api, tmp_path, jobs=WHOLE)
    assert (ended.code, warnings(ended)) == (4, [])
    expected = [f"line {number}" for number in range(150, 200)]
    assert shown(ended) == ["[... 150 lines left out ...]", *expected]
    assert list(ended.result.results[0].log) == expected


def test_the_log_of_a_job_that_completed_is_not_asked_for(tmp_path: Path) -> None:
    with ScriptedApi({**job("completed"), "GET /jobs/7/log": text("x\n")}) as api:
        assert run(api, tmp_path, jobs=WHOLE).code == 0
        assert api.at("/jobs/7/log") == []


@pytest.mark.parametrize(("show", "asked"), [("none", False), ("all", True)])
def test_the_setting_says_which_logs_are_read(tmp_path: Path, show: str, asked: bool) -> None:
    with ScriptedApi({**job("completed"), "GET /jobs/7/log": text("well\n")}) as api:
        ended = run(api, tmp_path, jobs=WHOLE, logs={"show": show})
    assert (ended.code, shown(ended)) == (0, ["well"] if asked else [])


def by_offset(asked: Asked) -> Answers:
    """As Jenkins' progressiveText: from `start` on, with the next start in a header."""
    whole = b"".join(b"line %d\n" % number for number in range(9))
    start = int(asked.query["start"][0])
    end = min(len(whole), start + 13)
    more = (("X-More-Data", "true"),) if end < len(whole) else ()
    return Answers(raw=whole[start:end], headers=(*TEXT, ("X-Text-Size", str(end)), *more))


def by_page(asked: Asked) -> Answers:
    lines = [{"message": f"line {number}"} for number in range(9)]
    offset = asked.json["offset"]
    return Answers(lines[offset : offset + 4])


def by_cursor(asked: Asked) -> Answers:
    at = int(asked.query.get("after", ["0"])[0])
    events = [{"message": f"line {number}"} for number in range(9)][at : at + 4]
    return Answers({"events": events, "cursor": str(at + len(events)), "more": at + len(events) < 9})


WAYS: dict[str, tuple[dict[str, Any], Any]] = {
    "offset": (
        {
            "request": {"path": "/log", "query": {"start": "${cursor}"}},
            "cursor": {"start": 0, "next": {"header": "X-Text-Size"}, "more": {"header": "X-More-Data"}},
        },
        by_offset,
    ),
    "counted": (
        {"request": {"path": "/log", "query": {"start": "${cursor}"}}, "cursor": {"start": 0, "count": "bytes"}},
        by_offset,
    ),
    "page": (
        {
            "request": {"method": "POST", "path": "/log", "json": {"offset": "${cursor}"}},
            "form": "json", "text": "[].message", "cursor": {"start": 0, "count": "items"},
        },
        by_page,
    ),
    "cursor": (
        {
            "request": {"path": "/log", "query": {"after": "${cursor?}"}},
            "form": "json", "text": "events[].message", "cursor": {"next": "cursor", "more": "more"},
        },
        by_cursor,
    ),
    "lines": (
        {"request": {"path": "/log"}, "form": "lines", "text": "event"},
        Answers(raw=b"".join(b'{"event": "line %d"}\n' % number for number in range(9))),
    ),
    "json": ({"request": {"path": "/log"}, "form": "json", "text": "content"}, Answers({"content": "".join(f"line {n}\n" for n in range(9))})),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_log_is_read_to_its_end_however_the_api_gives_it(tmp_path: Path, way: str) -> None:
    logs, answer = WAYS[way]
    method = logs["request"].get("method", "GET")
    with ScriptedApi({**job("failed"), f"{method} /log": answer}) as api:
        ended = run(api, tmp_path, jobs={"logs": logs})
    assert warnings(ended) == []
    assert shown(ended) == [f"line {number}" for number in range(9)]


def test_sections_come_with_their_titles_and_in_the_order_of_the_list(tmp_path: Path) -> None:
    sections = {
        "request": {"path": "/jobs/${job_id}/tasks"},
        "list": "[tasks[?state != 'failed'], tasks[?state == 'failed']][]",
        "carry": {"task": "id", "try": "tries"},
        "title": "=== ${task}, try ${try} ===",
    }
    logs = {"request": {"path": "/tasks/${task}/${try}"}, "sections": sections}
    tasks = [{"id": "b c", "state": "failed", "tries": 2}, {"id": "a", "state": "success", "tries": 1}]
    routes = {
        **job("failed"), "GET /jobs/7/tasks": Answers({"tasks": tasks}),
        "GET /tasks/a/1": text("fine\n"), "GET /tasks/b%20c/2": text("broken\n"),
    }  # fmt: skip
    with ScriptedApi(routes) as api:
        ended = run(api, tmp_path, jobs={"logs": logs})
    assert shown(ended) == ["=== a, try 1 ===", "fine", "=== b c, try 2 ===", "broken"]


def test_a_followed_log_is_shown_while_the_job_runs_and_no_line_twice(tmp_path: Path) -> None:
    grown = [text("one\n"), text("one\ntwo\nthr"), text("one\ntwo\nthree\n"), text("one\ntwo\nthree\nlast")]
    with ScriptedApi({**job(), "GET /jobs/7/log": grown}) as api:

        def status(_asked: Asked) -> Answers:
            read = len(api.at("/jobs/7/log"))  # the fourth is its end
            return Answers({"job_id": 7, "status": "completed" if read >= 3 else "running"})

        api.routes["GET /jobs/7"] = status
        ended = run(api, tmp_path, jobs=WHOLE, logs={"show": "follow"}, poll={"min": 0.01, "max": 0.2})
    assert (ended.code, shown(ended)) == (0, ["one", "two", "three", "last"])
    names = [event.name for event in ended.events]
    assert names.index("sync.log") < names.index("sync.ended")


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(20)


BOMB = gzip.compress(bytes(64 << 20))


def bomb(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(BOMB)))
    handler.end_headers()
    handler.wfile.write(BOMB)


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"one line\nhalf")
    handler.close_connection = True


@pytest.mark.parametrize(
    "answer",
    [
        text("no", status=500), text("no", status=403), text("no", status=401), text("", ("Location", "/x"), status=302),
        text("x", ("Content-Encoding", "br")), text("x", ("Content-Encoding", "gzip")),
    ],
    ids=["500", "403", "401", "302", "br", "gzip"],
)  # fmt: skip
@pytest.mark.parametrize("show", ["failed", "follow"])
def test_a_log_that_cannot_be_read_changes_no_outcome_and_is_told_once(
    tmp_path: Path, answer: Answers, show: str
) -> None:
    states = ["running"] * 4 + ["failed"] if show == "follow" else ["failed"]
    with ScriptedApi({**job(*states), "GET /jobs/7/log": answer}) as api:
        ended = run(api, tmp_path, jobs=WHOLE, logs={"show": show}, poll={"min": 0.01, "max": 0.1})
        assert len(api.at("/jobs")) == 1
    assert (ended.code, ended.outcomes, len(warnings(ended))) == (4, ["failed"], 1)
    assert ended.named("http.retry") == []


def by_range(kind: str) -> Route:
    """A log that is asked for by ranges of bytes: it grows by four bytes with each request, up to its end."""
    whole, asked = b"one\ntwo\nthree\n", itertools.count(1)

    def answer(seen: Asked) -> Answers:
        now = whole[: 4 * next(asked)]
        start = int(seen.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        plain = ("Content-Type", "text/plain")
        if kind == "ignored":
            return Answers(raw=now, headers=(plain,))
        if start >= len(now):
            return Answers(raw=b"", status=416, headers=(plain, ("Content-Range", f"bytes */{len(now)}")))
        told = ("Content-Range", f"bytes {start}-{len(now) - 1}/{len(now)}")
        return Answers(raw=now[start:], status=206, headers=(plain, told))

    return answer


@pytest.mark.parametrize("show", ["all", "follow"])
@pytest.mark.parametrize("kind", ["honoured", "ignored"])
def test_a_log_by_ranges_of_bytes_is_shown_once_whether_or_not_the_server_knows_ranges(
    tmp_path: Path, kind: str, show: str
) -> None:
    logs = {
        "request": {"path": "/log", "headers": {"Range": "bytes=${cursor}-"}},
        "cursor": {"start": 0, "count": "bytes"},
    }
    with ScriptedApi({**job("running", "running", "running", "completed"), "GET /log": by_range(kind)}) as api:
        ended = run(
            api, tmp_path, jobs={"logs": logs}, logs={"show": show, "dir": str(tmp_path / "kept")}, poll={"min": 0.01}
        )
    assert (ended.code, warnings(ended)) == (0, [])
    assert [event.line for event in ended.named("sync.log")] == ["one", "two", "three"]
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    "logs",
    [
        {"request": {"path": "/log"}, "form": "json", "text": "a[0].b"},
        {"request": {"path": "/log"}, "form": "json", "text": "length(a)"},
        {"request": {"path": "/log"}, "sections": {"request": {"path": "/log"}, "list": "a", "carry": {"x": "y"}}},
        {"request": {"path": "/log/${start_time?}"}} | {"request": {"path": "/nowhere"}, "missing": [410]},
    ],
)
def test_a_log_that_does_not_fit_the_profile_changes_no_outcome(tmp_path: Path, logs: dict[str, Any]) -> None:
    with ScriptedApi({**job("completed"), "GET /log": Answers({"a": 3})}) as api:
        ended = run(api, tmp_path, jobs={"logs": logs}, logs={"show": "all"})
    assert (ended.code, len(warnings(ended))) == (0, 0 if logs.get("text") == "a[0].b" else 1)


def test_a_missing_log_is_no_fault(tmp_path: Path) -> None:
    with ScriptedApi(job("failed")) as api:
        ended = run(api, tmp_path, jobs=WHOLE)
    assert (ended.code, shown(ended), warnings(ended)) == (4, [], [])


def test_a_connection_that_breaks_leaves_what_came_and_a_warning(tmp_path: Path) -> None:
    with ScriptedApi(job("failed")) as rest, serving({"/jobs/7/log": cut}, rest) as url:
        ended = run(url, tmp_path, jobs=WHOLE)
    assert (ended.code, shown(ended), len(warnings(ended))) == (4, ["one line", "half"], 1)


def test_a_log_that_never_comes_delays_no_poll_and_ends_with_its_own_time(tmp_path: Path) -> None:
    states = ["running"] * 9 + ["completed"]
    with ScriptedApi(job(*states)) as rest, serving({"/jobs/7/log": hang}, rest) as url:
        ended = run(
            url, tmp_path, jobs=WHOLE, logs={"show": "follow", "timeout": 0.3}, poll={"min": 0.01, "max": 0.2}
        )  # fmt: skip
        assert len(rest.at("/jobs/7")) == 10
    assert (ended.code, len(warnings(ended))) == (0, 1)


def endless(handler: BaseHTTPRequestHandler) -> None:
    line = b"x" * 99 + b"\n"
    chunked(handler, (line * 655 for _ in range(512)))  # 32 MiB


@pytest.mark.parametrize("behave", [endless, bomb], ids=["lines", "gzip of one line"])
@pytest.mark.parametrize("kept", [False, True], ids=["shown", "kept"])
def test_a_large_log_takes_little_memory_and_the_disk_that_is_allowed(tmp_path: Path, behave: Any, kept: bool) -> None:
    logs: dict[str, Any] = {"dir": str(tmp_path / "logs"), "max_bytes": 100_000} if kept else {}
    with ScriptedApi(job("failed")) as rest, serving({"/jobs/7/log": behave}, rest) as url:
        run(url, tmp_path, jobs=WHOLE)  # what is loaded once is no growth
        tracemalloc.start()
        ended = run(url, tmp_path, jobs=WHOLE, logs={"timeout": 60, **logs})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (ended.code, warnings(ended)) == (4, [])
    assert peak < 16 << 20
    assert sum(path.stat().st_size for path in tmp_path.glob("logs/*")) <= 100_000
    assert len(list(tmp_path.glob("logs/*"))) == int(kept)


def in_pieces(raw: bytes) -> Any:
    """A log whose pieces end after every byte of what is secret in it."""

    def pieces() -> Iterator[bytes]:
        for at in range(len(raw)):
            yield raw[at : at + 1]

    return lambda handler: chunked(handler, pieces())


@pytest.mark.parametrize(
    "raw",
    [
        f"token={SECRET}\nend\n",
        "a\x1b[31mb " + "\x1b[0m".join(SECRET[at : at + 4] for at in range(0, len(SECRET), 4)) + "\nend\n",
        f"{SECRET}",
        f"x\n{SECRET.encode().hex()}\n",
    ],
    ids=["line", "coloured", "no line end", "hex"],
)
@pytest.mark.parametrize("show", ["failed", "follow"])
def test_a_secret_in_a_log_is_redacted_wherever_the_pieces_end(tmp_path: Path, raw: str, show: str) -> None:
    redactor = Redactor()
    redactor.add(SECRET)
    behave = in_pieces(raw.encode())
    states = ["running"] * 4 + ["failed"] if show == "follow" else ["failed"]
    with (
        redacting_with(redactor.redact), ScriptedApi(job(*states)) as rest, serving({"/jobs/7/log": behave}, rest) as url,
    ):  # fmt: skip
        logs = {"show": show, "dir": str(tmp_path / "logs")}
        ended = run(url, tmp_path, jobs=WHOLE, logs=logs, poll={"min": 0.01, "max": 0.1})
    [path] = (tmp_path / "logs").iterdir()
    for made in ("\n".join(shown(ended)), "\n".join(ended.result.results[0].log), path.read_text()):
        assert "***" in made
        assert SECRET[:8] not in made
        assert SECRET.encode().hex()[:16] not in made


def test_what_steers_a_terminal_is_shown_harmlessly(tmp_path: Path) -> None:
    raw = "a\x1b]0;title\x07b\rc\td\u202ee\n::error::x\n##vso[task.complete]\n"
    with ScriptedApi({**job("failed"), "GET /jobs/7/log": text(raw)}) as api:
        ended = run(api, tmp_path, jobs=WHOLE, logs={"dir": str(tmp_path / "logs")})
    assert shown(ended) == [r"a\x1b]0;title\x07b\rc   d\u202ee", r"\x3a:error::x", r"#\x23vso[task.complete]"]
    [path] = (tmp_path / "logs").iterdir()
    assert path.read_text().splitlines() == shown(ended)


@pytest.mark.parametrize("job_id", ["../../../evil", "a/b", "..", ".hidden", "x" * 500, "-rf", "é\u2028", "CON"])
def test_no_job_id_leads_out_of_the_directory(tmp_path: Path, job_id: str) -> None:
    jobs = {
        "status": {"request": {"path": "/status"}},
        "logs": {"request": {"path": "/log"}},
    }
    routes: dict[str, Any] = {
        "POST /jobs": Answers({"job_id": job_id, "status": "pending"}, 201),
        "GET /status": Answers({"job_id": job_id, "status": "failed"}),
        "GET /log": text("x\n"),
    }
    (tmp_path / "inner").mkdir()
    with ScriptedApi(routes) as api:
        ended = run(api, tmp_path, jobs=jobs, logs={"dir": str(tmp_path / "inner" / "logs")})
    assert warnings(ended) == []
    [path] = (tmp_path / "inner" / "logs").iterdir()
    assert path.read_text() == "x\n"
    assert ended.result.results[0].log_file == str(path)
    assert {one.name for one in tmp_path.iterdir()} == {"inner", "secrets", "own.yaml"}


def test_a_link_in_the_place_of_a_log_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "logs" / "default--nightly--7.log").symlink_to(tmp_path / "precious")
    with ScriptedApi({**job("failed"), "GET /jobs/7/log": text("x\n")}) as api:
        run(api, tmp_path, jobs=WHOLE, logs={"dir": str(tmp_path / "logs")})
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "logs" / "default--nightly--7.log").read_text() == "x\n"


def test_a_file_that_is_full_keeps_its_beginning_and_the_last_lines(tmp_path: Path) -> None:
    log = "".join(f"line {number}\n" for number in range(20_000))
    with ScriptedApi({**job("failed"), "GET /jobs/7/log": text(log)}) as api:
        ended = run(api, tmp_path, jobs=WHOLE, logs={"dir": str(tmp_path / "logs"), "max_bytes": "40KiB"})
    kept = Path(ended.result.results[0].log_file or "").read_text()
    assert len(kept) <= 40 << 10
    assert kept.startswith("line 0\nline 1\n")
    assert kept.endswith("".join(f"line {number}\n" for number in range(19_950, 20_000)))
    assert "bytes left out (logs.max_bytes)" in kept


def test_a_directory_that_cannot_be_written_is_told_and_the_lines_are_shown(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with ScriptedApi({**job("failed"), "GET /jobs/7/log": text("x\n")}) as api:
        ended = run(api, tmp_path, jobs=WHOLE, logs={"dir": str(tmp_path / "logs")})
    assert (ended.code, shown(ended)) == (4, ["x"])
    assert ["logs.dir" in one for one in warnings(ended)] == [True]


def test_each_job_of_a_sync_that_is_tried_again_has_its_log(tmp_path: Path) -> None:
    routes: dict[str, Any] = {
        "POST /jobs": [Answers({"job_id": n, "status": "pending"}, 201) for n in (1, 2)],
        "GET /jobs/1": Answers({"job_id": 1, "status": "failed"}),
        "GET /jobs/2": Answers({"job_id": 2, "status": "completed"}),
        "GET /jobs/1/log": text("first\n"),
        "GET /jobs/2/log": text("second\n"),
    }
    with ScriptedApi(routes) as api:
        ended = run(api, tmp_path, jobs=WHOLE, retry={"job_attempts": 2}, logs={"dir": str(tmp_path / "logs")})
    assert (ended.code, shown(ended)) == (0, ["first"])
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["default--nightly--1.log"]


def test_jobs_with_long_ids_that_begin_alike_have_files_of_their_own(tmp_path: Path) -> None:
    for end in ("a", "b"):
        routes: dict[str, Any] = {
            "POST /jobs": Answers({"job_id": "x" * 400 + end, "status": "pending"}, 201),
            "GET /status": Answers({"job_id": "x" * 400 + end, "status": "failed"}),
            "GET /log": text("x\n"),
        }
        jobs = {"status": {"request": {"path": "/status"}}, "logs": {"request": {"path": "/log"}}}
        with ScriptedApi(routes) as api:
            run(api, tmp_path, jobs=jobs, logs={"dir": str(tmp_path / "logs")})
    assert len(list((tmp_path / "logs").iterdir())) == 2


@pytest.mark.parametrize("show", ["failed", "follow"])
def test_a_signal_while_a_log_is_read_ends_the_run_at_once_with_what_is_known(tmp_path: Path, show: str) -> None:
    asked = threading.Event()

    def dripping(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        chunked(handler, (b"one line\n" for _ in iter(lambda: time.sleep(0.05), 1)))

    (tmp_path / "secrets").mkdir()
    own = profile(tmp_path, **WHOLE)
    states = ["failed"] if show == "failed" else ["running"]
    with ScriptedApi(job(*states)) as rest, serving({"/jobs/7/log": dripping}, rest) as url:
        settings = {"logs.show": show, "logs.dir": tmp_path / "logs", "logs.timeout": "50s", "on_interrupt": "detach"}
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        options = ["--base-url", url, "--secrets-dir", str(tmp_path / "secrets"), "--profile", str(own), *sets]
        running = Running([*options, "run", "nightly", "--report", "-"], {})
        assert asked.wait(30)
        time.sleep(0.5)
        running.signal(signal.SIGTERM)
        ended = running.finish(20)
    assert ended.report["syncs"][0]["outcome"] == ("failed" if show == "failed" else "interrupted")
    assert ended.code == 143 if show == "follow" else ended.code in (4, 143)
    [path] = (tmp_path / "logs").iterdir()
    assert path.read_text().startswith("one line\n")
