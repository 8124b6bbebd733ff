"""URLs of settings, secret files and variables: what no client could use is refused with a reason, and no text of it."""

import pytest

from runner.url import is_loopback, split_url

SECRET = "T0KEN-in-the-path"


@pytest.mark.parametrize(
    "url",
    [
        "https://sync.example.org", "http://127.0.0.1:8000/api/", "https://[fd00::1]:8443/x?y=z", "https://exämple.org",
        "https://a_b.example.org.", "https://user:pass@h:1/",
    ],
)  # fmt: skip
def test_a_url_that_clients_can_use_is_accepted(url: str) -> None:
    assert split_url(url).hostname


@pytest.mark.parametrize(
    "url",
    [
        f"https://h/{SECRET}\n", f"https://h/{SECRET}\r\n", f"ht\ttps://h/{SECRET}", f"https://h/{SECRET} x", f"https://h/{SECRET}\0",
        f"https://[h/{SECRET}", f"https://[{SECRET}]/", f"https://h:99999/{SECRET}", f"https://h:0/{SECRET}", f"https://h:/{SECRET}",
        f"https://h:8x/{SECRET}", f"ftp://h/{SECRET}", f"//h/{SECRET}", SECRET, "", f"https:///{SECRET}", f"https://a..b/{SECRET}",
        f"https://{'a' * 64}.org/{SECRET}", f"https://{'a.' * 130}org/{SECRET}", f"https://a*b/{SECRET}", f"https://{'ä' * 64}/{SECRET}",
        f"https://h%41/{SECRET}", f"https://h/{SECRET}\\", f"https://h/<{SECRET}>",
    ],
)  # fmt: skip
def test_a_url_that_no_client_can_use_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(ValueError, match=r"the URL|give a URL|ddress|Octet|colons") as caught:
        split_url(url)
    assert SECRET not in str(caught.value) and SECRET.lower() not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]
)
def test_names_and_addresses_of_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "localhost.example.org",
        "127.example.org",
        "128.0.0.1",
        "::2",
        "10.0.0.1",
        "notlocalhost",
        "127.0.0.1.nip.io",
    ],
)
def test_other_hosts_are_not(host: str | None) -> None:
    assert not is_loopback(host)
