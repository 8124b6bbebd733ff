"""Which servers a test runs on."""

from typing import Any

import pytest

ALL = ("airflow", "allauth", "dagster", "flower", "prefect")


def on(*names: str, **faults: str) -> pytest.MarkDecorator:
    """Run the test on those servers. `faults`: by server, what the runner does wrong there today."""

    def marked(name: str) -> Any:
        marks = [pytest.mark.servers, pytest.mark.xdist_group(name)]
        if name in faults:
            marks.append(pytest.mark.xfail(strict=True, reason=faults[name]))
        return pytest.param(name, marks=marks, id=name)

    assert faults.keys() <= set(names)
    return pytest.mark.parametrize("server", [marked(name) for name in names], indirect=True, scope="session")


def on_all(**faults: str) -> pytest.MarkDecorator:
    """Run the test on every server."""
    return on(*ALL, **faults)
