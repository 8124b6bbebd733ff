"""A login in two steps, with a one-time code, at django-allauth's own headless API: by a profile alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.processes import served
from tests.support.command_line import Finished, sync_runner
from tests.support.ports import free_port

HERE = Path(__file__).parent
PROFILE = HERE.parents[1] / "docs" / "examples" / "profiles" / "allauth.yaml"
MEMBER = {"username": "runner", "password": "correct horse battery", "totp_seed": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}
LOGIN, CODE = ["POST", "/_allauth/app/v1/auth/login"], ["POST", "/_allauth/app/v1/auth/2fa/authenticate"]

pytestmark = pytest.mark.xdist_group("allauth")


class Site:
    """The site, and what it saw."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._told = 0

    def news(self) -> list[list[Any]]:
        """The requests since the last call, as method, path and status."""
        seen: list[list[Any]] = httpx.get(f"{self.base_url}/record").json()["requests"]
        seen = [request for request in seen if request[1] != "/record"]
        before, self._told = self._told, len(seen)
        return seen[before:]

    def run(self, secrets: dict[str, str], home: Path) -> Finished:
        """One run of two syncs, with those secrets."""
        (home / "secrets").mkdir(parents=True, exist_ok=True)
        for name, secret in secrets.items():
            (home / "secrets" / name).write_text(secret)
        return sync_runner(
            "--base-url", self.base_url, "--profile", str(PROFILE), "--secrets-dir", str(home / "secrets"), "--state-dir",
            str(home / "state"), "--set", "poll.min=50ms", "run", "orders", "invoices", "--report", "-",
        )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with one member, who has an authenticator app."""
    place, port = tmp_path_factory.mktemp("site"), free_port()
    base_url = f"http://127.0.0.1:{port}"
    member = {"USERNAME": MEMBER["username"], "PASSWORD": MEMBER["password"], "SEED": MEMBER["totp_seed"]}

    def answers() -> bool:
        try:
            return httpx.get(f"{base_url}/record").is_success
        except httpx.TransportError:
            return False

    with served(
        HERE / "work" / "allauth" / "allauth_site.py",
        str(port),
        place,
        environment=member,
        log=place / "log",
        until=answers,
    ):
        yield Site(base_url)


def test_a_login_with_a_code_by_profile_alone_and_the_session_lasts(site: Site, tmp_path: Path) -> None:
    site.news()
    ended = site.run(MEMBER, tmp_path)
    assert ended.code == 0, ended.stderr
    seen = site.news()
    assert seen[:3] == [[*LOGIN, 401], [*CODE, 200], ["POST", "/jobs", 201]]
    assert {status for _method, _path, status in seen[3:]} == {200, 201}

    assert site.run(MEMBER, tmp_path).code == 0
    assert next(request[:2] for request in site.news()) == ["POST", "/jobs"]  # no second login


def test_a_wrong_seed_is_refused_after_two_codes(site: Site, tmp_path: Path) -> None:
    site.news()
    ended = site.run({**MEMBER, "totp_seed": "A" * 32}, tmp_path)
    assert ended.code == 3
    assert site.news() == [
        [*LOGIN, 401],
        [*CODE, 400],
        [*CODE, 400],
    ]  # no state: the first refusal says nothing of the seed
    assert MEMBER["password"] not in ended.stderr + ended.stdout


def test_a_wrong_password_is_sent_once(site: Site, tmp_path: Path) -> None:
    site.news()
    assert site.run({**MEMBER, "password": "wrong"}, tmp_path).code == 3
    assert site.news() == [[*LOGIN, 400]]


def test_the_built_in_login_goes_in_with_a_code_and_ends_its_session(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name, secret in MEMBER.items():
        (tmp_path / "secrets" / name).write_text(secret)
    words = [
        "--base-url", site.base_url, "--secrets-dir", str(tmp_path / "secrets"), "--state-dir", str(tmp_path / "state"), "--set",
        "login=allauth",
    ]  # fmt: skip
    site.news()
    ended = sync_runner(*words, "login")
    assert (ended.code, site.news()) == (0, [[*LOGIN, 401], [*CODE, 200]]), ended.errors
    assert sync_runner(*words, "logout").code == 0
    assert site.news() == [["DELETE", "/_allauth/app/v1/auth/session", 401]]
