"""The contract in both directions: the sandbox serves it, and the runner's requests keep to it."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

from runner.sandbox.app import CONTRACT
from tests.support.command_line import CommandLine
from tests.support.recording_proxy import Exchange, RecordingProxy

MakeCommandLine = Callable[..., CommandLine]


def test_the_sandbox_passes_schemathesis_with_every_check(cli_with: MakeCommandLine, tmp_path: Path) -> None:
    # Without a lock and a second factor: generated logins are wrong by nature and would lock the account.
    cli = cli_with(mfa="none", lock_after=10**9, access_token_seconds=86_400)
    cli.run("login")
    token = (
        next((cli.state / "sessions").glob("[0-9a-f]*.json")).read_text().split('"access_token": "')[1].split('"')[0]
    )
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", str(CONTRACT), "--url", cli.server.base_url]
    options = [
        "--checks",
        "all",
        "--seed",
        "6238",
        "--max-examples",
        "25",
        "--no-color",
        "--generation-database",
        "none",
    ]
    ended = subprocess.run(
        [*command, *options, "-H", f"Authorization: Bearer {token}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stdout
    assert "Tested: 5" in ended.stdout
    assert not [line for line in ended.stdout.splitlines() if "Failures:" in line]


@pytest.fixture(scope="module")
def contract() -> OpenAPI:
    """The contract as a validator of requests and answers."""
    loaded: dict[str, Any] = yaml.safe_load(CONTRACT.read_text())
    # The servers entry names the sandbox's usual address; here each has its own port.
    return OpenAPI.from_dict({**loaded, "servers": [{"url": "/"}]})


def _request(seen: Exchange) -> Any:
    return SimpleNamespace(
        host_url="http://api",
        path=seen.path,
        full_url_pattern=f"http://api{seen.path}",
        method=seen.method.lower(),
        parameters=RequestParameters(query=ImmutableMultiDict(seen.query), header=Headers(seen.headers)),
        body=seen.body or None,
        content_type=seen.headers.get("content-type", "").split(";")[0],
    )


def _answer(seen: Exchange) -> Any:
    return SimpleNamespace(
        data=seen.answer,
        status_code=seen.status,
        headers=Headers(seen.answer_headers),
        content_type=seen.answer_headers.get("content-type", "").split(";")[0],
    )


@pytest.fixture
def proxied(cli_with: MakeCommandLine) -> Iterator[Callable[..., tuple[CommandLine, RecordingProxy]]]:
    """A command line whose requests pass a recording proxy."""
    proxies: list[RecordingProxy] = []

    def make(**settings: Any) -> tuple[CommandLine, RecordingProxy]:
        cli = cli_with(**settings)
        proxies.append(RecordingProxy(cli.server.base_url).__enter__())
        return cli, proxies[-1]

    yield make
    for proxy in proxies:
        proxy.__exit__(None, None, None)


def _judge(contract: OpenAPI, exchanges: list[Exchange]) -> Counter[str]:
    """Validate each exchange; how many there were for each endpoint."""
    for seen in exchanges:
        contract.validate_request(_request(seen))
        contract.validate_response(_request(seen), _answer(seen))
    return Counter(seen.path.rpartition("/")[2] for seen in exchanges)


@pytest.mark.parametrize("mfa", ["totp", "challenge", "none"])
def test_what_the_runner_sends_and_gets_keeps_to_the_contract(
    proxied: Callable[..., tuple[CommandLine, RecordingProxy]], contract: OpenAPI, mfa: str
) -> None:
    cli, proxy = proxied(mfa=mfa)
    through = ["--base-url", proxy.base_url]
    assert cli.run("run", "activities", "health", "workouts", *through).code == 0
    assert cli.run("run", "health", "--start", "-30d", "--end", "today", "--force-full", *through).code == 0
    assert cli.run("status", *through).code == 0
    seen = _judge(contract, proxy.exchanges)
    assert seen["login"] == (1 if mfa == "none" else 2)
    assert seen["trigger"] == 4
    assert seen["status"] >= 5


def _both_watch_after_a_refusal(seen: list[Exchange], job_id: str) -> bool:
    """Whether both runners poll the job since a trigger was refused: before that, its end would let one trigger again."""
    refused = next((at for at, one in enumerate(seen) if one.status == 409), len(seen))
    polls = [one for one in seen[refused:] if ("job_id", job_id) in one.query and one.status == 200]
    return len({one.headers["authorization"] for one in polls}) > 1


def test_refresh_renewal_conflict_and_cancel_keep_to_the_contract(
    proxied: Callable[..., tuple[CommandLine, RecordingProxy]], contract: OpenAPI
) -> None:
    cli, proxy = proxied(mfa="none", job_seconds=600.0)
    through = ["--base-url", proxy.base_url]
    cli.fault(kind="expire_tokens", endpoint="status", skip=1)
    first = cli.start("run", "health", *through)
    job = cli.until("running")
    other = cli.start("run", "health", "--state-dir", str(cli.home / "other"), *through)
    while not _both_watch_after_a_refusal(list(proxy.exchanges), job["job_id"]):
        assert other.process.poll() is None
    assert cli.run("cancel", job["job_id"], *through).code == 0
    assert (first.finish().code, other.finish().code) == (4, 4)
    assert len(cli.jobs()) == 1
    seen = _judge(contract, proxy.exchanges)
    assert min(seen["refresh"], seen["cancel"], seen["trigger"]) >= 1
    assert {seen.status for seen in proxy.exchanges} >= {200, 401, 409}


def test_a_request_that_breaks_the_contract_is_found_out(contract: OpenAPI) -> None:
    wrong = Exchange(
        "POST", "/api/sync/cli/trigger", [], {"content-type": "application/json", "authorization": "Bearer x"},
        b'{"sync_type": "steps"}', 200, {"content-type": "application/json"}, b"{}",
    )  # fmt: skip
    with pytest.raises(Exception, match="Request body validation error"):
        _judge(contract, [wrong])
