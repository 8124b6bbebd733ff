"""DAGs that the real Airflow runs: one as long as it is told, one that fails, one that is paused, one with dates."""

import time
from typing import Any

from airflow.sdk import DAG, Param, task

with DAG("nap", schedule=None, params={"seconds": Param(1, type="number", minimum=0)}):

    @task
    def sleep(**context: Any) -> None:
        """Ends well, after a while."""
        time.sleep(context["params"]["seconds"])

    sleep()

with DAG("fails", schedule=None):

    @task
    def boom() -> None:
        """Ends badly."""
        raise RuntimeError("there is no data today")

    boom()

with DAG("paused", schedule=None, is_paused_upon_creation=True):

    @task
    def never() -> None:
        """Does not run while the DAG is paused."""

    never()
