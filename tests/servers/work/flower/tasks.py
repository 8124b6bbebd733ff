"""Tasks that a real Celery worker runs. Each execution is written to the file in EXECUTIONS: what ran twice stands there twice."""

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task

app = Celery("tasks", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_track_started=True, task_send_sent_event=True, worker_send_task_events=True)


def _executed(task: Any) -> None:
    with Path(os.environ["EXECUTIONS"]).open("a", encoding="utf-8") as file:
        file.write(f"{task.request.id} {task.name}\n")


@app.task(name="nap", bind=True)
def nap(self: Task, seconds: float = 1.0) -> None:
    """Ends well, after a while."""
    _executed(self)
    time.sleep(seconds)


@app.task(name="fails", bind=True)
def fails(self: Task) -> None:
    """Ends badly."""
    _executed(self)
    raise RuntimeError("there is no data today")


@app.task(name="retries", bind=True)
def retries(self: Task) -> None:
    """Ends well at its second try, five seconds after the first."""
    if not self.request.retries:
        _executed(self)
        raise self.retry(countdown=5)
