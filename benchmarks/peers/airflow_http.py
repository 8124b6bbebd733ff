"""The same job by Airflow's HTTP operator and sensor: trigger a sync with a kept token, poll each second.

The operators are executed as they are, without a scheduler, which would only add to it.
"""

import json
import os
import sys
from pathlib import Path

os.environ["AIRFLOW_CONN_API"] = json.dumps({"conn_type": "http", "host": os.environ["BASE_URL"]})

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor

HEADERS = {
    "Authorization": f"Bearer {Path(os.environ['TOKEN_FILE']).read_text()}",
    "Content-Type": "application/json",
}


def main(kind: str) -> None:
    """Trigger and wait."""
    answer = HttpOperator(
        task_id="trigger", http_conn_id="api", method="POST", endpoint="/api/sync/cli/trigger", headers=HEADERS,
        data=json.dumps({"sync_type": kind}), response_filter=lambda response: response.json(),
    ).execute({})  # fmt: skip
    HttpSensor(
        task_id="wait", http_conn_id="api", method="GET", endpoint="/api/sync/cli/status", headers=HEADERS,
        request_params={"job_id": answer["job_id"]}, poke_interval=1,
        response_check=lambda response: response.json()["jobs"][0]["status"] == "completed",
    ).execute({})  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
