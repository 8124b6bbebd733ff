"""The cookie jar of a login: what goes where, for how long, and as it came (RFC 6265)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.auth.cookies import Jar

NOW = 1_800_000_000.0
SSO = "https://sso.example.org/realms/sync/login"


def jar(*lines: str, url: str = SSO) -> Jar:
    made = Jar()
    made.take(url, lines, NOW)
    return made


@pytest.mark.parametrize(
    ("line", "url", "header"),
    [
        ("a=1", "https://sso.example.org/realms/sync/other", "a=1"),
        ("a=1", "https://sso.example.org/realms/other", None),
        ("a=1; Path=/", "https://sso.example.org/x", "a=1"),
        ("a=1; Path=/realms", "https://sso.example.org/realmsandmore", None),
        ("a=1; path=/", "https://sso.example.org:8443/", "a=1"),
        ("a=1; Path=/", "https://example.org/", None),
        ("a=1; Path=/", "https://x.sso.example.org/", None),
        ("a=1; Path=/; Domain=.example.org", "https://api.example.org/", "a=1"),
        ("a=1; Path=/; Domain=example.org", "https://badexample.org/", None),
        ("a=1; Path=/; Domain=other.org", "https://sso.example.org/", None),
        ("a=1; Path=/; Domain=org", "https://sso.example.org/", None),
        ("a=1; Path=/; Secure", "http://sso.example.org/", None),
        ("a=1; Path=/; Secure; HttpOnly; SameSite=None", "https://sso.example.org/", "a=1"),
        ('a="x/y=="; Path=/', "https://sso.example.org/", 'a="x/y=="'),
        ("a=", "https://sso.example.org/realms/sync/", "a="),
        ("no pair", "https://sso.example.org/realms/sync/", None),
        ("=1", "https://sso.example.org/realms/sync/", None),
    ],
)
def test_a_cookie_goes_where_it_belongs_and_as_it_came(line: str, url: str, header: str | None) -> None:
    assert jar(line).header(url, NOW) == header


def test_a_secure_cookie_goes_to_this_machine_over_plain_http() -> None:
    here = "http://127.0.0.1:8180/realms/x"
    assert jar("a=1; Secure; Path=/", url=here).header("http://127.0.0.1:4180/", NOW) == "a=1"


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("a=1; Path=/; Max-Age=60", 60),
        ("a=1; Path=/; Max-Age=60; Expires=Fri, 01-Jan-2100 00:00:00 GMT", 60),
        ("a=1; Path=/; Expires=Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("a=1; Path=/; Max-Age=soon", None),
        ("a=1; Path=/; Expires=whenever", None),
    ],
)
def test_a_cookie_ends_with_its_max_age_or_expires(line: str, seconds: float | None) -> None:
    held = jar(line)
    assert held.header("https://sso.example.org/", NOW + 59) == "a=1"
    assert (held.header("https://sso.example.org/", NOW + 60) is None) is (seconds is not None)
    assert held.sent_to("https://sso.example.org/", NOW)[0].expires == (None if seconds is None else NOW + seconds)


@pytest.mark.parametrize("gone", ["a=; Max-Age=0", "a=; Max-Age=-1", "a=; Expires=Thu, 01-Jan-1970 00:00:00 GMT"])
def test_a_cookie_that_is_taken_away_is_gone(gone: str) -> None:
    held = jar("a=1; Path=/", "b=2; Path=/")
    assert held.take(SSO, (gone + "; Path=/",), NOW)
    assert held.header("https://sso.example.org/", NOW) == "b=2"
    assert not held.take(SSO, (gone + "; Path=/",), NOW)


def test_longer_paths_go_first_and_a_newer_value_takes_the_place() -> None:
    held = jar("a=1; Path=/", "a=2; Path=/realms/sync", "b=3; Path=/", "b=4; Path=/")
    assert held.header(SSO, NOW) == "a=2; a=1; b=4"


def test_a_kept_jar_is_the_same_and_a_damaged_one_is_empty() -> None:
    held = jar('a="1"; Path=/; Max-Age=5; Domain=example.org', "b=2")
    assert Jar(held.dumped()).dumped() == held.dumped()
    assert Jar(held.dumped()).secrets == ["1", "2"]
    for damaged in ("{", "7", "[[1]]", json.dumps([[1, "x", "h", "/", False, False, None]]), "[null]"):
        assert not Jar(damaged)


@given(st.lists(st.text(max_size=60), max_size=5), st.text(max_size=40))
def test_no_line_of_a_server_breaks_the_jar(lines: list[str], path: str) -> None:
    held = Jar()
    held.take(f"https://a.example/{path}", tuple(lines), NOW)
    held.header("https://a.example/", NOW)
    assert Jar(held.dumped()).dumped() == held.dumped()


def test_a_server_cannot_fill_the_memory() -> None:
    held = jar(*[f"c{number}=1; Path=/" for number in range(1000)], f"long={'x' * 10_000}")
    assert len(held.secrets) == 100
