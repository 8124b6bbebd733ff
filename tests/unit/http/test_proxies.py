"""Which proxy a request goes through, by the variables that name one; what cannot be understood is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.http.proxies import Proxies

PROXY = "http://proxy.example:3128"


def through(environment: dict[str, str], url: str) -> str | None:
    """The proxy's variable, or None."""
    proxy = Proxies.of(environment).through(url)
    return proxy.variable if proxy else None


def test_each_scheme_has_its_variable_and_all_proxy_stands_in_for_both() -> None:
    both = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY, "ALL_PROXY": PROXY}
    assert through(both, "http://x.example") == "HTTP_PROXY"
    assert through(both, "https://x.example") == "HTTPS_PROXY"
    assert (
        through({"ALL_PROXY": PROXY}, "http://x.example")
        == through({"ALL_PROXY": PROXY}, "https://x.example")
        == "ALL_PROXY"
    )
    assert through({"HTTP_PROXY": PROXY}, "https://x.example") is None
    assert through({}, "https://x.example") is None


def test_lower_case_wins_and_an_empty_variable_is_not_set() -> None:
    proxies = Proxies.of({"https_proxy": "lower:1", "HTTPS_PROXY": "upper:2"})
    assert proxies.by_scheme["https"].url == "http://lower:1"
    assert through({"https_proxy": "", "HTTPS_PROXY": PROXY}, "https://x.example") is None
    assert through({"HTTPS_PROXY": " "}, "https://x.example") is None


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "api.localhost", "LOCALHOST"]
)
def test_this_machine_is_never_reached_through_a_proxy(host: str) -> None:
    assert through({"ALL_PROXY": PROXY, "HTTP_PROXY": PROXY}, f"http://{host}/") is None


@pytest.mark.parametrize(
    ("entry", "direct", "proxied"),
    [
        ("*", ["a.example", "10.0.0.1", "[fd00::1]"], []),
        ("a.example", ["a.example", "A.EXAMPLE", "b.a.example", "a.example:8443"], ["ba.example", "example", "a.example.org"]),
        (".a.example", ["a.example", "b.a.example"], ["ba.example"]),
        ("*.a.example", ["b.a.example"], ["ba.example"]),
        ("a.example.", ["a.example", "a.example."], ["b.example"]),
        ("a.example:8443", ["a.example:8443", "b.a.example:8443"], ["a.example", "a.example:443"]),
        ("a.example:443", ["a.example", "a.example:443"], ["a.example:8443"]),
        ("10.0.0.0/8", ["10.1.2.3", "10.1.2.3:8443"], ["11.0.0.1", "ten.example"]),
        ("10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]),
        ("10.0.0.1:8443", ["10.0.0.1:8443"], ["10.0.0.1"]),
        ("fd00::/8", ["[fd00::1]:99"], ["[fe00::1]"]),
        ("[::1]", ["[::1]"], ["[fd00::1]"]),
        ("fd00::1", ["[fd00::1]"], ["[fd00::2]"]),
        ("[fd00::1]:8443", ["[fd00::1]:8443"], ["[fd00::1]"]),
        ("localhost,[::1]", ["[::1]"], ["a.example"]),
        ("x.example , a.example\tb.example", ["x.example", "a.example", "b.example"], ["c.example"]),
        ("", [], ["a.example"]),
        (" , ,", [], ["a.example"]),
        ("cluster_name,svc", ["cluster_name", "web.svc"], ["svc.example"]),
    ],
)  # fmt: skip
def test_no_proxy_takes_hosts_ports_addresses_and_networks(entry: str, direct: list[str], proxied: list[str]) -> None:
    environment = {"ALL_PROXY": PROXY, "NO_PROXY": entry}
    assert [host for host in direct if through(environment, f"https://{host}/x") is not None] == []
    assert [host for host in proxied if through(environment, f"https://{host}/x") is None] == []


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    "value",
    ["http://", "ftp://p:1", "http://p:99999", "http://p:x", "http://p:0", "http://[p:1", "http://p:1/path", "http://p:1?q", "socks4://p:1",
     "http://user:s3cret@p:1#x", "http://p\n:1", "p p", "http://us er:s3cret@p:1", "direct://", "//p"],
)  # fmt: skip
def test_a_proxy_that_cannot_be_understood_is_a_usage_error_that_names_the_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"^{variable}: ") as caught:
        Proxies.of({variable: value})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.0/99",
        "10.0.0",
        "10.0.0.0.0",
        "a.example:99999",
        "a.example:0",
        "[::1",
        "[::1]:x",
        "http://a.example",
        "a*b",
        "*.*",
        "fd00::/200",
        "[a.example]",
        "a/b",
        ":80",
        "-:-",
    ],
)
def test_an_entry_of_no_proxy_that_cannot_be_understood_is_named(entry: str) -> None:
    with pytest.raises(UsageError, match="^NO_PROXY: "):
        Proxies.of({"NO_PROXY": f"a.example,{entry}"})


@given(
    st.dictionaries(
        st.sampled_from(["HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"]), st.text(max_size=40)
    )
)
def test_whatever_the_variables_hold_is_understood_or_refused(environment: dict[str, str]) -> None:
    try:
        Proxies.of(environment).through("https://a.example:8443/x")
    except UsageError as error:
        assert str(error).split(":")[0] in environment


def test_the_password_is_known_to_the_redactor_and_never_shown() -> None:
    proxy = Proxies.of({"HTTPS_PROXY": "http://me:s3%23cret@proxy.example:3128"}).through("https://a.example")
    assert proxy is not None and proxy.password == "s3#cret"
    assert proxy.shown == "the proxy proxy.example:3128 (HTTPS_PROXY)"
    assert "s3" not in repr(proxy)
    six = Proxies.of({"ALL_PROXY": "http://[fd00::1]:1"}).through("https://a.example")
    assert six is not None and six.shown == "the proxy [fd00::1]:1 (ALL_PROXY)" and six.password is None
