"""State in a Kubernetes Secret, against a small API server of its own: TLS, bearer token, resource versions, merge patches."""

import asyncio
import base64
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.clock import Deadline, SystemClock
from runner.errors import DeadlineExceeded, SecretError, StateError, Unreachable, UsageError
from runner.events.redaction import Redactor
from runner.external import redacting_with
from runner.state import kubernetes as kubernetes_store
from runner.state import mid_run
from runner.state.interface import AccountOptions
from runner.state.kubernetes import LEASE_SECONDS, Cluster, KubernetesState, KubernetesStore
from runner.state.kubernetes_locks import lock_of
from runner.state.record import AccountState, Codec
from tests.support import kubernetes_api
from tests.support.command_line import CommandLine, sync_runner
from tests.support.in_process import run_here
from tests.support.kubernetes_api import ApiServer, api_server
from tests.support.sessions import session
from tests.support.stores import OPENED, load, run, save

CLOCK = SystemClock()
STORED = AccountState(session("token", refresh_token="again"), last_step=7)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kubernetes_api.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(tmp_path: Path, certificate: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path, certificate) as made:
        yield made
        OPENED.clear()


def _state(server: ApiServer) -> KubernetesState:
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    state = KubernetesState(Cluster.of_pod(environment, server.account), "sessions", CLOCK)
    OPENED.append(state)
    return state


def _store(
    server: ApiServer, key: str = "account", warnings: list[str] | None = None, codec: Codec | None = None
) -> KubernetesStore:
    told: list[str] = [] if warnings is None else warnings
    return _state(server).account(key, AccountOptions(codec or Codec(), told.append))


def _deadline(seconds: float) -> Deadline:
    return Deadline.after(CLOCK, seconds, "the run's deadline")


def test_what_one_pod_saves_the_next_one_loads_and_accounts_do_not_mix(server: ApiServer) -> None:
    assert load(_store(server)) == AccountState()
    save(_store(server), STORED)
    save(_store(server, "other"), AccountState(last_step=9))
    assert load(_store(server)) == STORED
    assert load(_store(server, "other")) == AccountState(last_step=9)


def test_a_rotated_token_of_the_service_account_is_read_again(server: ApiServer) -> None:
    save(_store(server), STORED)
    (server.account / "token").write_text("the-next-token")
    assert load(_store(server)) == STORED


def test_a_change_by_another_pod_in_between_is_not_overwritten_unseen(server: ApiServer) -> None:
    async def work() -> None:
        async with _store(server).hold(_deadline(5)) as held:
            held.change(last_step=7)
            server.requests.clear()
            server.conflicts = 3
            await held.keep()
            patches = [request for request in server.requests if request[0] == "PATCH"]
            assert patches == [("PATCH", 409)] * 3 + [("PATCH", 200)]
            server.conflicts = 10_000
            held.change(last_step=8)
            with pytest.raises(StateError, match="other processes kept changing it"):
                await held.keep()
            server.conflicts = 0

    run(work())
    assert load(_store(server)).last_step == 8


def test_one_pod_at_a_time_holds_an_account_and_other_accounts_are_free(server: ApiServer) -> None:
    first, second, other = _store(server), _store(server), _store(server, "other")

    async def work() -> None:
        async with first.hold(_deadline(5)) as held:
            held.change(session=STORED.session, last_step=7)
            async with other.hold(_deadline(5)):
                pass
            with pytest.raises(DeadlineExceeded, match="another pod held the login lock"):
                async with second.hold(_deadline(0.2)):
                    raise AssertionError("two hold the lock")
        async with second.hold(_deadline(5)) as held:
            assert held.state == STORED

    run(work())
    assert server.secret is not None
    assert lock_of(server.secret, "sync-runner.io/lock-account")[0] == "-"  # nobody's, with the time of its last use


def test_a_login_costs_few_requests_and_what_must_be_kept_is_kept_before_it_goes_on(server: ApiServer) -> None:
    """A cold login: the lock, which brings the state; the used code; the session, with the unlock."""

    async def work() -> None:
        async with _store(server).hold(_deadline(5)) as held:
            held.change(last_step=7)
            await held.keep()
            assert (await _store(server).read(_deadline(5))).last_step == 7
            held.change(session=STORED.session)

    run(work())
    assert [method for method, _status in server.requests] == [
        "GET",
        "PATCH",
        "PATCH",
        "GET",
        "PATCH",
    ]  # GET: the test's
    assert load(_store(server)) == STORED
    assert server.secret is not None
    assert lock_of(server.secret, "sync-runner.io/lock-account")[0] == "-"  # nobody's, with the time of its last use


def test_a_login_that_holds_two_records_of_the_secret_reads_it_no_more_than_twice(server: ApiServer) -> None:
    """The account's record, and that of the seed's used steps: what one changed is no conflict for the other."""

    async def work() -> None:
        place = _state(server)
        account, seed = (place.account(key, AccountOptions(Codec(), print)) for key in ("a" * 32, f"seed-{'b' * 32}"))
        async with account.hold(_deadline(5)) as held:
            async with seed.hold(_deadline(5)) as of_seed:
                held.change(last_step=7)
                await held.keep()
                of_seed.change(last_step=7)
            held.change(session=STORED.session)

    run(work())
    assert [method for method, _status in server.requests] == [
        "GET",
        "PATCH",
        "GET",
        "PATCH",
        "PATCH",
        "PATCH",
        "PATCH",
    ]
    assert server.secret is not None
    locks = server.secret["metadata"]["annotations"].values()
    assert len(locks) == 2
    assert all(lock.startswith("- ") for lock in locks), "given back"


def test_many_pods_take_turns(server: ApiServer) -> None:
    inside: list[int] = []

    async def pod(number: int) -> None:
        async with _store(server).hold(_deadline(60)):
            inside.append(number)
            assert len(inside) == 1
            await asyncio.sleep(0.01)
            inside.remove(number)

    async def all_pods() -> None:
        await asyncio.gather(*(pod(number) for number in range(6)))

    run(all_pods())


def test_a_killed_pods_lock_ends_and_its_late_save_is_refused(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _store(server), _store(server)
    ahead = 0.0
    monkeypatch.setattr(CLOCK.__class__, "time", lambda _self: 1_800_000_000 + ahead)

    async def work() -> None:
        nonlocal ahead
        async with first.hold(_deadline(5)) as late:
            ahead = LEASE_SECONDS + 1
            async with second.hold(_deadline(5)) as held:
                held.change(session=STORED.session, last_step=7)
                await held.keep()
                late.change(last_step=1)
                with pytest.raises(StateError, match="took over the login lock"):
                    await late.keep()
            late.change(last_step=None)
        assert await second.read(_deadline(5)) == STORED

    run(work())


def test_an_api_server_that_stumbles_is_asked_again_and_one_that_is_down_is_told(server: ApiServer) -> None:
    for stumbles in ([500, 429, 503], [502, 504, 408]):
        server.failures = stumbles
        assert load(_store(server)) == AccountState()
    server.failures = [503] * 10
    with pytest.raises(Unreachable) as caught:
        load(_store(server))
    assert str(caught.value) == "secret syncs/sessions: the cluster's API answered 503"
    assert caught.value.sent is False  # the login was not
    assert len(server.failures) == 6


def test_an_api_server_that_is_silent_is_given_up(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_store, "TIMEOUT", 0.2)
    server.silent = threading.Event()
    with pytest.raises(
        Unreachable, match=r"secret syncs/sessions: the cluster's API does not respond \(no complete response within"
    ) as caught:
        load(_store(server))
    server.silent.set()
    assert caught.value.sent is False


def test_a_proxy_meant_for_others_is_not_asked(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert load(_store(server)) == AccountState()


def test_a_lost_token_of_the_service_account_is_named(server: ApiServer) -> None:
    store = _store(server)
    (server.account / "token").unlink()
    with pytest.raises(StateError) as caught:
        load(store)
    told = "the service account's token cannot be read; check its mount"
    assert str(caught.value) == f"{server.account}/token: {told}"


@pytest.mark.parametrize(
    ("status", "told"), [(403, "needs `get` and `patch` on it"), (401, "check the service account")]
)
def test_a_refusal_says_what_is_missing(server: ApiServer, status: int, told: str) -> None:
    server.failures = [status]
    with pytest.raises(StateError, match=told):
        load(_store(server))


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"[" * 100_000, "identity"), (b"", "identity"), (b"null", "identity"), (b'{"metadata": []}', "identity"),
        (b"\xff\xfe", "identity"), (b"{}", "br"), (b"not gzip", "gzip"), (gzip.compress(b" " * (64 << 20)), "gzip"),
        (b" " * (5 << 20), "identity"),
    ],
    ids=["brackets", "empty", "null", "list", "bytes", "brotli", "no gzip", "bomb", "large"],
)  # fmt: skip
def test_an_answer_that_is_no_secret_counts_as_none(
    server: ApiServer, body: bytes, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_store, "TRIES", 1)
    server.raw = body, encoding
    with pytest.raises(Unreachable, match="the cluster's API does not respond"):
        load(_store(server))


def test_the_words_of_the_api_server_are_redacted_and_steer_no_terminal(server: ApiServer) -> None:
    redactor = Redactor()
    redactor.add("Vq7-mango-Tz19-lantern")
    server.failures = [403]
    server.words = {"message": "E" * 290 + "Vq7-mango-Tz19-lantern \x1b]52;c;QUFB\x07\n::error::x"}
    with redacting_with(redactor.redact), pytest.raises(StateError) as caught:
        load(_store(server))
    told = str(caught.value)
    assert "EEE" in told and "Vq7-mang" not in told and told.isprintable()


def test_the_lock_names_its_pod_and_one_that_no_runner_wrote_does_not_count(server: ApiServer) -> None:
    assert server.secret is not None
    annotations = server.secret["metadata"]["annotations"] = {"sync-runner.io/lock-account": "by hand"}
    store = _store(server)

    async def work() -> None:
        async with store.hold(_deadline(5)):
            assert annotations["sync-runner.io/lock-account"].startswith(f"{socket.gethostname()}-")

    run(work())


def test_a_missing_secret_says_how_to_make_it(server: ApiServer) -> None:
    server.secret = None
    with pytest.raises(StateError, match="kubectl create secret generic"):
        load(_store(server))


def test_a_broken_state_counts_as_empty_with_all_steps_used_and_a_sealed_one_is_kept(server: ApiServer) -> None:
    assert server.secret is not None
    server.secret["data"] = {"account.json": base64.b64encode(b"{").decode()}
    warnings: list[str] = []
    assert load(_store(server, warnings=warnings)).assume_used_until > 0
    assert "unreadable" in warnings[0]
    sealed = Codec([base64.b64encode(bytes(32)).decode()])
    save(_store(server, codec=sealed), STORED)
    assert load(_store(server, codec=sealed)) == STORED
    with pytest.raises(SecretError, match="secret syncs/sessions: `account.json`: the stored session is encrypted"):
        load(_store(server))


def test_a_state_with_characters_that_are_not_base64_counts_as_broken(server: ApiServer) -> None:
    assert server.secret is not None
    save(_store(server), STORED)
    kept = server.secret["data"]["account.json"]
    server.secret["data"] = {"account.json": f"{kept[:8]}!{kept[8:]}"}
    assert load(_store(server)) != STORED


@pytest.mark.parametrize("environment", [{}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}])
def test_outside_of_a_pod_it_is_a_usage_error(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        Cluster.of_pod(environment, Path("/nowhere"))
    assert str(caught.value) == (
        "state.kubernetes_secret: works in a pod with its service account's token "
        "(automountServiceAccountToken: true); elsewhere set state.dir"
    )


def test_an_ipv6_cluster_is_reached_at_its_address(server: ApiServer) -> None:
    assert Cluster.of_pod({"KUBERNETES_SERVICE_HOST": "fd00::1"}, server.account).base_url == "https://[fd00::1]:443"


def test_the_command_line_says_so_too(cli: CommandLine) -> None:
    ended = sync_runner(*cli.options(), "--set", "state.kubernetes_secret=sessions", "run", "health")
    assert ended.code == 2
    assert "works in a pod with its service account's token" in ended.errors


@pytest.mark.parametrize("back", [False, True])
def test_a_store_that_refuses_in_mid_run_does_not_abandon_the_job_and_what_was_not_kept_is_told(
    server: ApiServer, cli_with: Callable[..., CommandLine], monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    pod = Cluster.of_pod(
        {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}, server.account
    )
    monkeypatch.setattr(Cluster, "of_pod", lambda _environment: pod)
    monkeypatch.setattr(mid_run, "PATIENCE", 0.1)
    cli = cli_with(mfa="none", job_seconds=6.0, access_token_seconds=2)

    def take_away() -> None:
        cli.until("running")
        kept, server.secret = server.secret, None
        while back and server.requests.count(("GET", 404)) < 2:  # once, and again after its patience
            time.sleep(0.02)
        if back:
            server.secret = kept

    thread = threading.Thread(target=take_away)
    thread.start()
    ended = run_here(cli.server.base_url, cli.secrets, "health", secret="sessions", poll={"max": 0.2})
    thread.join(60)
    assert (ended.code, [job["status"] for job in cli.jobs()]) == (0, ["completed"])
    told = [event.error for event in ended.named("state.problem")]
    assert len(told) == (1 if back else 2)
    assert "kubectl create secret generic" in told[0]
    assert "the run continues with its session in memory" in told[0]
    if back:
        assert server.secret is not None
        assert server.secret["data"]
    else:
        assert told[1].startswith("the session was not stored")


def test_a_store_that_refuses_from_the_start_is_configuration_and_nothing_is_sent(
    server: ApiServer, cli_with: Callable[..., CommandLine], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = Cluster.of_pod(
        {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}, server.account
    )
    monkeypatch.setattr(Cluster, "of_pod", lambda _environment: pod)
    server.secret = None
    cli = cli_with(mfa="none")
    ended = run_here(cli.server.base_url, cli.secrets, "health", secret="sessions")
    assert ended.code == 2
    assert "secret syncs/sessions: the cluster's API answered 404" in ended.errors
    assert cli.record()["requests"] == []
