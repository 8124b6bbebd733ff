"""Where a redirected download goes, and what goes along."""

import pytest

from runner.errors import StrayAnswer
from runner.http.onward import Hop, follow

ASKED = Hop(
    "https://api.example.org/v1/files/a",
    {"Authorization": "Bearer t", "Cookie": "c=1", "X-Key": "k", "Range": "bytes=5-"},
)


@pytest.mark.parametrize(
    ("to", "url", "own"),
    [
        ("/v2/a", "https://api.example.org/v2/a", True),
        ("b", "https://api.example.org/v1/files/b", True),
        ("https://cdn.example.net/a?sig=1", "https://cdn.example.net/a?sig=1", False),
        ("//cdn.example.net/a", "https://cdn.example.net/a", False),
        ("https://CDN.example.net:8443/a", "https://CDN.example.net:8443/a", False),
        ("http://127.0.0.1:9/a", "http://127.0.0.1:9/a", False),
        ("https://api.example.org:8443/a", "https://api.example.org:8443/a", False),  # another port is another origin
    ],
)  # fmt: skip
def test_the_apis_headers_stay_at_its_own_origin(to: str, url: str, own: bool) -> None:
    hosts = ("*.example.net", "127.0.0.1", "api.example.org")
    hop = follow(ASKED, 302, to, hosts, "artifacts")
    assert (hop.url, hop.own) == (url, own)
    assert hop.headers == (ASKED.headers if own else {"Range": "bytes=5-"})


def test_a_redirect_back_to_the_api_from_another_host_brings_no_token() -> None:
    there = follow(ASKED, 302, "https://cdn.example.net/a", ("*.example.*",), "artifacts")
    back = follow(there, 302, "https://api.example.org/v1/files/a", ("*.example.*",), "artifacts")
    assert (back.own, back.headers) == (False, {"Range": "bytes=5-"})


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("https://cdn.example.com/a", "to cdn.example.com; add that host to artifacts.redirect_hosts"),
        ("https://evil.example/cdn.example.net", "to evil.example; add"),
        ("https://cdn.example.net.evil.example/", "to cdn.example.net.evil.example; add"),
        ("http://cdn.example.net/a", "from https to http at cdn.example.net, which is not followed"),
        ("https://u:p@cdn.example.net/a", "an address that cannot be followed"),
        ("ftp://cdn.example.net/a", "an address that cannot be followed"),
        ("", "an address that cannot be followed"),
        ("https://[cdn", "an invalid address"),
        ("https://cdn.example.net:x/", "an invalid address"),
    ],
)
def test_no_other_host_is_asked(to: str, told: str) -> None:
    with pytest.raises(StrayAnswer) as error:
        follow(ASKED, 302, to, ("*.example.net",), "artifacts")
    assert told in str(error.value)
    assert "u:p" not in str(error.value)
