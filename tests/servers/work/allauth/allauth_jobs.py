"""The few lines of jobs at the site with django-allauth's login, kept in a database of their own that outlives a restart."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path

SECONDS = 0.3  # a job's length where none is asked for
TOPICS = ("orders", "invoices", "nap", "fails")


class Jobs:
    """Jobs by number; their state follows from the time. `member` tells who asks, or None."""

    def __init__(self, directory: Path, member: Callable[[HttpRequest], Any]) -> None:
        self._path = directory / "jobs.sqlite3"
        self._member = member
        with self._database() as database:
            database.execute(
                "create table if not exists job (number integer primary key, topic text, seconds real, began real,"
                " cancelled real)"
            )

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=30)
        try:
            with database:
                yield database
        finally:
            database.close()

    def routes(self) -> list[Any]:
        """Where they stand."""
        return [path("jobs", self.jobs), path("jobs/<int:number>", self.one)]

    def jobs(self, request: HttpRequest) -> JsonResponse:
        """GET: those that run, newest first. POST: a new one."""
        if self._member(request) is None:
            return JsonResponse({"detail": "no session"}, status=401)
        with self._database() as database:
            if request.method == "GET":
                found = database.execute("select * from job order by number desc").fetchall()
                return JsonResponse({"jobs": [shown(row) for row in found if shown(row)["state"] == "busy"]})
            topic, seconds = request.GET["topic"], request.GET.get("seconds", str(SECONDS))
            if topic not in TOPICS:
                return JsonResponse({"detail": f"no topic {topic}"}, status=404)
            if not seconds.replace(".", "", 1).isdigit():
                return JsonResponse({"detail": "seconds is no number"}, status=400)
            row = (None, topic, float(seconds), time.time(), None)
            number = database.execute("insert into job values (?, ?, ?, ?, ?)", row).lastrowid
            return JsonResponse(shown((number, *row[1:])), status=201)

    def one(self, request: HttpRequest, number: int) -> JsonResponse:
        """GET: one job. DELETE: cancel it; one that has ended is left as it is."""
        if self._member(request) is None:
            return JsonResponse({"detail": "no session"}, status=401)
        with self._database() as database:
            if request.method == "DELETE":
                database.execute(
                    "update job set cancelled = ? where number = ? and began + seconds > ?",
                    (time.time(), number, time.time()),
                )
            row = database.execute("select * from job where number = ?", (number,)).fetchone()
        return JsonResponse(shown(row)) if row else JsonResponse({"detail": f"no job {number}"}, status=404)


def shown(row: tuple[Any, ...]) -> dict[str, Any]:
    """A job as it is now."""
    number, topic, seconds, began, cancelled = row
    done = min(1.0, (time.time() - began) / seconds) if seconds else 1.0
    ended = "broken" if topic == "fails" else "done"
    state = "stopped" if cancelled else ended if done == 1.0 else "busy"
    return {"number": number, "topic": topic, "state": state, "done": done, "began": began}
