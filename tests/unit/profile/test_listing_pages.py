"""What a profile may say of the pages of a listing, and where the next page of an answer stands."""

from pathlib import Path

import pytest

from runner import cli
from runner import profile as profiles
from runner.errors import ContractError
from runner.jobs.listing import link_to_next, target_of

RUNNING = "    request: {path: /api/sync/cli/status, query: {limit: 100}}\n"


@pytest.mark.parametrize(
    ("query", "pages", "told"),
    [
        (
            "limit: 1",
            "{by: offset}",
            "jobs.running.pages.by: the request has no ${offset}: each page would be the first",
        ),
        ("limit: 1", "{by: cursor, at: next}", "pages.by: the request has no ${cursor?}: each page would be the first"),
        ('c: "${cursor}"', "{by: cursor, at: next}", "query.c: `cursor` may be absent; write ${cursor?}"),
        ('c: "${cursor?}"', "{by: cursor}", "running.pages: give the place of the next page's cursor"),
        ("limit: 1", "{by: url}", "running.pages: give the place of the next page's url"),
        ("limit: 1", "{by: link, at: next}", "pages.at: is not allowed with `by: link`"),
        ('o: "${offset}"', "{by: offset, first: 0}", "pages.first: is only for `by: page`"),
        ('o: "${offset}"', "{by: page}", "query.o: unknown value `offset`"),
        ('p: "${page}"', "{by: page, most: 1}", "pages.most: "),
        ('p: "${page}"', "{by: page, most: 101}", "pages.most: "),
        ('p: "${page}"', "{by: number}", "pages.by: "),
        ('p: "${page}"', "{most: 2}", "pages.by: is required"),
        ("limit: 1", '{by: url, at: "a["}', "pages.at: not a valid JMESPath expression"),
        ("limit: 1", "{by: url, at: {value: nothing}}", "pages.at: unknown value `nothing`"),
    ],
)
def test_pages_that_lead_nowhere_are_an_error_that_says_what_to_do(
    query: str, pages: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = profiles.locate("garminsync").read_text()
    path = tmp_path / "own.yaml"
    new = RUNNING.replace("limit: 100", query) + f"    pages: {pages}\n"
    path.write_text(text.replace(RUNNING, new, 1))
    assert cli.run(["profiles", "validate", str(path)]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('</jobs?page=2>; rel="next"', "/jobs?page=2"),
        ("</a>; rel=prev, </b,c>; title=x; rel=next", "/b,c"),
        ('</a>; rel="first next"', "/a"),
        ('</a>; rel="nextish", </b>; rev=next', None),
        ("", None),
        ("<", None),
        ("<" * 100_000, None),
    ],
)
def test_the_next_page_stands_in_a_link_header(header: str, target: str | None) -> None:
    assert link_to_next(header) == target


@pytest.mark.parametrize(
    ("url", "current", "base_path", "target"),
    [
        ("/v1/jobs?page=2", "/v1/jobs", "", "/v1/jobs?page=2"),
        ("?page=2", "/v1/jobs?page=1", "", "/v1/jobs?page=2"),
        ("jobs?c=a%2Fb", "/v1/jobs", "/api/", "/v1/jobs?c=a%2Fb"),
        ("/api/v1/jobs?page=2", "/v1/jobs", "/api", "/v1/jobs?page=2"),
        ("/apiary/jobs", "/v1/jobs", "/api", "/apiary/jobs"),
        ("http://inner:8080/v1/jobs?a=1#x", "/v1/jobs", "/api", "/v1/jobs?a=1"),
        ("//evil.example/x", "/v1/jobs", "", "/x"),
        ("https://evil.example", "/v1/jobs", "", "/"),
        ("mailto:somebody", "/v1/jobs", "", "/somebody"),
    ],
)
def test_the_next_pages_address_is_a_path_below_the_base_url(
    url: str, current: str, base_path: str, target: str
) -> None:
    assert target_of(url, current, base_path) == target


def test_what_is_no_address_is_a_contract_error() -> None:
    with pytest.raises(ContractError, match="the address of the next page is invalid"):
        target_of("http://[", "/v1/jobs", "")
