"""The sandbox keeps its promises: it is the judge of all other tests, so it is judged here."""

import base64
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from runner.sandbox import data
from runner.sandbox.faults import Fault, parse
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from tests.conftest import LAST_DAY
from tests.support.clock import LinkedClock
from tests.support.command_line import sync_runner

MakeClient = Callable[..., "ApiClient"]


class ApiClient:
    """A plain client of the contract."""

    def __init__(self, server: SandboxServer) -> None:
        self.server = server
        self.known = server.credentials
        self.http = httpx.Client(base_url=server.base_url, timeout=30)
        self.clock = LinkedClock(server)
        self.token = ""

    def code(self, ahead: int = 0) -> str:
        """The code of the current step, or of one `ahead`."""
        return pyotp.TOTP(self.known["totp_seed"]).at(self.clock.time() + 30 * ahead)

    def login(self, **body: Any) -> httpx.Response:
        """Log in with right values where none are given."""
        whole = {"username": self.known["username"], "password": self.known["password"], **body}
        return self.http.post("/api/auth/cli/login", json=whole)

    def enter(self) -> "ApiClient":
        """Have a token for the calls that follow."""
        code = {} if self.server.settings.mfa == "none" else {"mfa_code": self.code()}
        self.token = self.login(**code).raise_for_status().json()["access_token"]
        return self

    def trigger(self, kind: str = "health", key: str | None = None, **more: Any) -> httpx.Response:
        """Start a job."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
        return self.http.post("/api/sync/cli/trigger", json={"sync_type": kind, **more}, headers=headers)

    def status(self, **query: Any) -> httpx.Response:
        """Look at jobs."""
        return self.http.get("/api/sync/cli/status", params=query, headers={"Authorization": f"Bearer {self.token}"})

    def cancel(self, job_id: str) -> httpx.Response:
        """End a job."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.http.post("/api/sync/cli/cancel", json={"job_id": job_id}, headers=headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        found: dict[str, Any] = self.status(job_id=job_id).raise_for_status().json()["jobs"][0]
        return found

    def run(self, kind: str = "health", **more: Any) -> dict[str, Any]:
        """A job from start to end."""
        job_id = self.trigger(kind, **more).raise_for_status().json()["job_id"]
        while (job := self.job(job_id))["status"] in ("pending", "running"):
            time.sleep(0.01)
        return job

    def admin(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """Ask the admin endpoints."""
        headers = {"Authorization": f"Bearer {self.server.admin_token}"}
        return self.http.request(method, f"/admin/{path}", json=body, headers=headers).raise_for_status().json()


@pytest.fixture
def client_of(year: Path) -> Iterator[MakeClient]:
    """Makes a client of a sandbox set up as asked."""
    made: list[ApiClient] = []
    servers: list[SandboxServer] = []

    def make(**settings: Any) -> ApiClient:
        server = SandboxServer(SandboxSettings(**{"port": 0, "data": year, "kdf": "fast", **settings})).__enter__()
        servers.append(server)
        made.append(ApiClient(server))
        return made[-1]

    yield make
    for client in made:
        client.http.close()
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def api(client_of: MakeClient) -> ApiClient:
    """A client with a session, at a sandbox without a second factor."""
    return client_of(mfa="none").enter()


def test_passwords_are_kept_as_argon2_hashes_only(client_of: MakeClient, tmp_path: Path) -> None:
    api = client_of(state=tmp_path, kdf="normal")
    with sqlite3.connect(tmp_path / "sandbox.sqlite3") as db:
        (kept,) = db.execute("SELECT password_hash FROM users").fetchone()
    db.close()
    assert kept.startswith("$argon2id$")
    assert api.known["password"] not in (tmp_path / "sandbox.sqlite3").read_bytes().decode("latin-1")


def test_a_code_is_good_once_and_within_one_step_of_the_clock(client_of: MakeClient) -> None:
    api = client_of()
    api.clock.pass_time(30 - api.clock.time() % 30 + 10)
    assert api.login().json()["mfa_required"] is True
    for ahead in (-2, 2):
        assert api.login(mfa_code=api.code(ahead)).status_code == 401
    code = api.code(-1)
    assert api.login(mfa_code=code).status_code == 200
    assert api.login(mfa_code=code).status_code == 401
    assert api.login(mfa_code=api.code(1)).status_code == 200
    assert api.login(mfa_code=api.code()).status_code == 401  # an older step than the last used


def test_the_challenge_goes_with_one_code(client_of: MakeClient) -> None:
    api = client_of(mfa="challenge")
    challenge = api.login().json()["mfa_challenge_id"]
    assert api.login(mfa_code=api.code()).status_code == 401
    assert api.login(mfa_code=api.code(), mfa_challenge_id="other").status_code == 401
    assert api.login(mfa_code=api.code(), mfa_challenge_id=challenge).status_code == 200
    assert api.login(mfa_code=api.code(1), mfa_challenge_id=challenge).status_code == 401


def test_an_sms_factor_never_lets_a_program_in(client_of: MakeClient) -> None:
    api = client_of(mfa="sms")
    assert api.login(mfa_code=api.code()).json()["mfa_type"] == "sms"


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"mfa_code": "000000"}])
def test_repeated_failures_lock_the_account_for_a_while(client_of: MakeClient, wrong: dict[str, str]) -> None:
    api = client_of(lock_after=3)
    assert [api.login(**wrong).status_code for _ in range(3)] == [401] * 3
    assert api.login(mfa_code=api.code()).status_code == 423
    api.clock.pass_time(301)
    assert api.login(mfa_code=api.code()).status_code == 200


def test_an_unknown_user_is_answered_as_a_wrong_password(client_of: MakeClient) -> None:
    api = client_of()
    assert api.login(username="nobody").json() == api.login(password="wrong").json()


def test_access_tokens_are_signed_and_expire(client_of: MakeClient) -> None:
    api = client_of(mfa="none", access_token_seconds=60).enter()
    assert api.status().status_code == 200
    head, claims, signature = api.token.split(".")
    padded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**padded, "end": 9e12}).encode()).decode().rstrip("=")
    real = api.token
    for token in (f"{head}.{forged}.{signature}", "-", "x.y.z"):
        api.token = token
        assert api.status().status_code == 401
    api.token = real
    api.clock.pass_time(61)
    assert api.status().status_code == 401


def test_refresh_tokens_rotate_and_a_second_use_revokes_the_session(client_of: MakeClient) -> None:
    api = client_of(mfa="none")

    def refresh(token: str) -> httpx.Response:
        return api.http.post("/api/auth/cli/refresh", json={"refresh_token": token})

    first = api.login().json()
    second = refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    api.token = second["access_token"]
    assert api.status().status_code == 200
    assert refresh(first["refresh_token"]).status_code == 401
    assert api.status().status_code == 401
    assert refresh(second["refresh_token"]).status_code == 401
    assert refresh("unknown").status_code == 401


def test_one_job_of_a_type_runs_at_a_time_and_the_conflict_names_it(client_of: MakeClient) -> None:
    api = client_of(mfa="none", job_seconds=60.0).enter()
    job_id = api.trigger().json()["job_id"]
    conflict = api.trigger()
    assert (conflict.status_code, conflict.json()["job_id"]) == (409, job_id)
    assert api.trigger("workouts").status_code == 200


def test_a_trigger_with_a_known_key_starts_nothing(api: ApiClient) -> None:
    first = api.trigger(key="k")
    assert api.trigger(key="k").json() == first.json()
    assert len(api.status(limit=100).json()["jobs"]) == 1


def test_cancel_ends_a_running_job_and_leaves_an_ended_one(client_of: MakeClient) -> None:
    api = client_of(mfa="none", job_seconds=60.0).enter()
    job_id = api.trigger().json()["job_id"]
    assert api.cancel(job_id).json()["status"] == "cancelled"
    assert api.cancel(job_id).json()["status"] == "cancelled"
    assert api.cancel("unknown").status_code == 404
    assert api.trigger().status_code == 200


def test_users_do_not_see_each_others_jobs(api: ApiClient) -> None:
    job = api.run()
    api.admin("users", {"username": "other", "password": "pass", "mfa": "none"})
    api.token = api.login(username="other", password="pass").json()["access_token"]
    assert api.status().json()["jobs"] == []
    assert api.status(job_id=job["job_id"]).status_code == 404
    assert api.cancel(job["job_id"]).status_code == 404


def test_a_restart_fails_what_was_running_and_keeps_the_rest(client_of: MakeClient, tmp_path: Path) -> None:
    api = client_of(mfa="none", state=tmp_path, job_seconds=60.0, password="same").enter()
    job_id = api.trigger().json()["job_id"]
    api.server.__exit__(None, None, None)
    again = client_of(mfa="none", state=tmp_path, password="same").enter()
    assert (again.job(job_id)["status"], again.job(job_id)["error_message"]) == ("failed", "the server was restarted")


def test_items_are_counted_as_they_are_and_a_second_run_finds_nothing_new(api: ApiClient) -> None:
    first, second = api.run("activities"), api.run("activities")
    assert (first["status"], first["total_items"], first["processed_items"], first["progress"]) == (
        "completed",
        140,
        140,
        100,
    )
    assert (second["status"], second["total_items"], second["processed_items"]) == ("completed", 0, 0)
    full = api.run("activities", force_full_sync=True)
    assert full["total_items"] == 140


def test_a_date_range_limits_what_is_done(api: ApiClient, year: Path) -> None:
    days = sorted(path.stem for path in (year / "health").glob("*.json"))
    window = {"start_date": days[10], "end_date": days[19]}
    assert api.run("health", date_range=window)["total_items"] == 10
    assert api.run("health")["total_items"] == 355


def test_activities_come_as_gpx_and_tcx_and_both_are_read(api: ApiClient, year: Path) -> None:
    kinds = {path.suffix for path in (year / "activities").iterdir()}
    assert kinds == {".gpx", ".tcx"}
    for kind in kinds:
        path = next((year / "activities").glob(f"*{kind}"))
        parsed = data.parse(path)
        assert parsed, kind
    assert api.run("activities")["error_message"] is None


def test_a_broken_item_fails_with_its_reason_and_the_rest_goes_on(client_of: MakeClient, tmp_path: Path) -> None:
    data.generate(tmp_path / "data", 3, LAST_DAY)
    files = sorted((tmp_path / "data" / "activities").iterdir())
    files[0].write_text("<gpx>")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><gpx>&b;</gpx>'
    next(path for path in files[1:] if path.suffix == ".tcx").write_text(bomb)
    min((tmp_path / "data" / "health").iterdir()).write_text("{")
    api = client_of(mfa="none", data=tmp_path / "data").enter()
    job = api.run("activities")
    assert job["status"] == "completed"
    assert job["error_message"] == f"2 of {len(files)} items failed"
    assert api.run("health")["error_message"].startswith("1 of 365")
    failed = [item for item in api.admin("record", method="GET")["items"] if item["error"]]
    assert len(failed) == 3
    assert api.run("activities")["total_items"] == 2  # what failed is tried again


def test_the_generator_gives_the_same_year_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        data.generate(tmp_path / name, seed, LAST_DAY)

    def content(name: str) -> dict[str, bytes]:
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}

    assert content("a") == content("b")
    assert content("a") != content("c")


def test_the_generated_year_ends_today_unless_told_otherwise(client_of: MakeClient, tmp_path: Path) -> None:
    api = client_of(mfa="none", data=None, state=tmp_path / "now").enter()
    today = time.strftime("%Y-%m-%d", time.gmtime(api.server.sandbox.clock()))
    window = {"start_date": (date.fromisoformat(today) - timedelta(days=6)).isoformat(), "end_date": today}
    assert api.run("health", date_range=window)["total_items"] in (6, 7)  # a test may run over midnight
    old = client_of(mfa="none", data=None, state=tmp_path / "then", last_day=date(2020, 2, 29)).enter()
    assert old.run("health", date_range={"start_date": "2020-02-29"})["total_items"] == 1


def test_latency_delays_an_answer(api: ApiClient) -> None:
    api.admin("faults", {"kind": "latency", "endpoint": "status", "seconds": 0.3})
    began = time.monotonic()
    api.status()
    assert time.monotonic() - began >= 0.3


def test_a_status_fault_answers_with_retry_after_as_often_as_asked(api: ApiClient) -> None:
    api.admin("faults", {"kind": "status", "endpoint": "status", "status": 429, "retry_after": "7", "times": 2})
    answers = [api.status() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "7"


@pytest.mark.parametrize(("kind", "jobs"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_comes_before_or_after_the_work_is_taken(api: ApiClient, kind: str, jobs: int) -> None:
    api.admin("faults", {"kind": kind, "endpoint": "trigger"})
    with pytest.raises(httpx.TransportError):
        api.trigger()
    assert len(api.status().json()["jobs"]) == jobs


def test_a_drip_sends_the_body_byte_by_byte(api: ApiClient) -> None:
    api.admin("faults", {"kind": "drip", "endpoint": "status", "seconds": 0.005})
    with api.http.stream("GET", "/api/sync/cli/status", headers={"Authorization": f"Bearer {api.token}"}) as answer:
        assert len(list(answer.iter_raw())) > 3


def test_tokens_expire_in_mid_job_on_request(api: ApiClient) -> None:
    api.admin("faults", {"kind": "expire_tokens", "endpoint": "status"})
    assert api.status().status_code == 401
    api.enter()
    assert api.status().status_code == 200
    api.admin("expire")
    assert api.status().status_code == 401


def test_the_clock_can_be_wrong_and_the_date_header_tells(api: ApiClient) -> None:
    from email.utils import parsedate_to_datetime

    api.admin("faults", {"kind": "clock_offset", "seconds": 3600.0})
    told = parsedate_to_datetime(api.status().headers["date"]).timestamp()
    assert 3500 < told - api.clock.time() < 3700


def test_a_job_can_fail_or_stall_on_request(api: ApiClient) -> None:
    api.admin("faults", {"kind": "job_fails", "sync_type": "health"})
    assert api.run("health")["error_message"] == "the data source is not available"
    api.admin("faults", {"kind": "job_stalls"})
    job_id = api.trigger("workouts").json()["job_id"]
    while (job := api.job(job_id))["progress"] < 50:
        time.sleep(0.01)
    assert job["status"] == "running"
    assert api.job(job_id)["processed_items"] == job["processed_items"]


def test_faults_are_listed_and_cleared_and_only_by_the_admin(api: ApiClient) -> None:
    api.admin("faults", {"kind": "job_fails"})
    assert len(api.admin("faults", method="GET")["faults"]) == 1
    assert api.admin("faults", method="DELETE")["faults"] == []
    for path in ("faults", "record"):
        assert api.http.get(f"/admin/{path}").status_code == 401
    headers = {"Authorization": f"Bearer {api.server.admin_token}"}
    for path, body in (("faults", {"kind": "nonsense"}), ("faults", [1]), ("users", {"username": "x"})):
        assert api.http.post(f"/admin/{path}", json=body, headers=headers).status_code == 400


def test_the_single_job_form_knows_one_job_and_a_progress_from_0_to_1(client_of: MakeClient) -> None:
    api = client_of(mfa="none", job_seconds=60.0).enter()
    headers = {"Authorization": f"Bearer {api.token}"}

    def state() -> Any:
        return api.http.get("/api/v1/garmin/sync/status", headers=headers).json()

    assert state() == {"status": "idle", "progress": 0}
    assert api.http.post("/api/v1/garmin/steps", headers=headers).status_code == 404
    assert api.http.post("/api/v1/garmin/health", headers=headers).status_code == 200
    assert api.http.post("/api/v1/garmin/workouts", headers=headers).status_code == 409
    assert state()["status"] == "in_progress"
    assert 0 <= state()["progress"] <= 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kind=status,endpoint=trigger,status=503,times=2", Fault("status", "trigger", 2, 0, 503)),
        ("kind=latency,seconds=0.5", Fault("latency", seconds=0.5)),
        ("kind=job_fails,sync_type=health,skip=1", Fault("job_fails", skip=1, sync_type="health")),
    ],
)
def test_a_fault_is_written_as_pairs(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    "text", ["", "kind", "kind=nonsense", "kind=status,endpoint=nowhere", "kind=status,times=many", "x=1"]
)
def test_a_fault_that_can_not_be_is_a_usage_error(text: str) -> None:
    ended = sync_runner("sandbox", "--port", "0", "--fault", text)
    assert ended.code == 2
    assert "--fault" in ended.errors


def test_a_taken_port_and_unreadable_files_are_usage_errors(api: ApiClient, tmp_path: Path) -> None:
    port = api.server.base_url.rpartition(":")[2]
    taken = sync_runner("sandbox", "--port", port, "--data-dir", str(tmp_path))
    assert (taken.code, "cannot serve at 127.0.0.1" in taken.errors) == (2, True)
    for options in (["--password-file", "/nowhere"], ["--port", "99999"], ["--sandbox-state", "/dev/null/x"]):
        ended = sync_runner("sandbox", *options)
        assert ended.code == 2, options
        assert options[1] in ended.errors
