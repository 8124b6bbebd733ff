"""Requests from templates: a value in a path is one segment, or refused; odd values and headers never end in a defect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ContractError, RunnerError, UsageError
from runner.http.messages import Response, from_outside, in_http, prepare
from runner.http.retry import http_date, parse_retry_after
from runner.profile.models import RateLimit, Request

PATH = Request(method="DELETE", path="/dags/prod/runs/${id}/x")


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "../..", "..\\x", "a/../b", "a%2f..%2fb", "./a", "..;", "..;v=1/x", "a/.."],
)  # fmt: skip
def test_a_value_that_would_remove_a_segment_is_refused_before_anything_is_sent(value: str) -> None:
    with pytest.raises(ContractError, match="cancel: `id` ") as caught:
        prepare("cancel", PATH, {"id": value})
    assert not caught.value.sent
    ours = Request(method="GET", path="/x/${params.id}")
    with pytest.raises(UsageError, match="`params.id` "):
        prepare("trigger", ours, {"params.id": value})


@pytest.mark.parametrize(
    ("value", "written"),
    [("a/b", "a%2Fb"), ("...", "..."), ("v1..2", "v1..2"), (".a", ".a"), ("%2e", None), ("a?b#c", "a%3Fb%23c"), ("é ", "%C3%A9%20"), (7, "7"), ("a;b", "a%3Bb"), ("\r\n\0", "%0D%0A%00")],
)  # fmt: skip
def test_any_other_value_is_one_quoted_segment(value: object, written: str | None) -> None:
    if written is None:
        with pytest.raises(ContractError):
            prepare("cancel", PATH, {"id": value})
    else:
        assert prepare("cancel", PATH, {"id": value}).target == f"/dags/prod/runs/{written}/x"


@given(st.text())
def test_whatever_a_value_holds_the_path_keeps_its_segments(value: str) -> None:
    import httpx

    try:
        target = prepare("cancel", PATH, {"id": value}).target
    except RunnerError:
        return
    path = httpx.URL(f"http://host{target}").raw_path.decode()
    assert path.count("/") == 5 and path.startswith("/dags/prod/runs/") and path.endswith("/x")


def test_half_characters_are_no_defect_wherever_they_stand() -> None:
    half = "\udcff"
    for request in (
        PATH,
        Request(method="POST", path="/", query={"q": "${id}"}),
        Request(method="POST", path="/", form={"q": "${id}"}),
    ):
        with pytest.raises(ContractError, match="cannot be encoded as UTF-8"):
            prepare("cancel", request, {"id": half})


@pytest.mark.parametrize(
    "value",
    [
        "9" * 400,
        "²",
        "\uff11\uff12",
        "-1",
        "1e999",
        "nan",
        "inf",
        "",
        " ",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "\0",
    ],
)
def test_a_retry_after_of_any_shape_is_a_bounded_wait_or_none(value: str) -> None:
    assert 0 <= (parse_retry_after(value, 1e9) or 0) <= 86_400
    http_date(value)
    limit = RateLimit(status=(403,), retry_after="x-wait")
    answer = in_http(Response(403, from_outside({"x-wait": value}), None, False, 0.0, 1e9, 0.0), limit)
    assert answer.status == 429 and 0 <= (answer.retry_after or 0) <= 86_400
