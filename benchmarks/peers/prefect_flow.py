"""The same job as a Prefect flow: trigger a sync with a kept token, poll each second.

Called as plain functions, without Prefect's engine and its API server: no run of Prefect can be lighter than this.
"""

import os
import sys
import time
from pathlib import Path

import httpx
from prefect import flow, task

BASE_URL, HEADERS = os.environ["BASE_URL"], {"Authorization": f"Bearer {Path(os.environ['TOKEN_FILE']).read_text()}"}


@task
def trigger(kind: str) -> str:
    answer = httpx.post(f"{BASE_URL}/api/sync/cli/trigger", json={"sync_type": kind}, headers=HEADERS)
    job: str = answer.raise_for_status().json()["job_id"]
    return job


@task
def wait(job: str) -> str:
    while True:
        answer = httpx.get(f"{BASE_URL}/api/sync/cli/status", params={"job_id": job}, headers=HEADERS)
        status: str = answer.raise_for_status().json()["jobs"][0]["status"]
        if status not in ("pending", "running"):
            return status
        time.sleep(1)


@flow
def sync(kind: str) -> str:
    return wait.fn(trigger.fn(kind))


if __name__ == "__main__":
    sys.exit(0 if sync.fn(sys.argv[1]) == "completed" else 4)
