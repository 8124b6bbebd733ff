"""Every exit code, by the real command line over a real socket."""

import base64
import http.server
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.errors import ExitCode
from runner.outputs import report_model
from tests.support.command_line import CommandLine, sync_runner

MakeCommandLine = Callable[..., CommandLine]
BOTH_FORMS = pytest.mark.parametrize("profile", ["garminsync", "garminsync-single"])


def _end(cli: CommandLine) -> str:
    """How a job ends at the server that the runner gives up: one without an id cannot be cancelled there."""
    return "cancelled" if cli.profile == "garminsync" else "running"


@BOTH_FORMS
def test_0_every_sync_completed(cli: CommandLine) -> None:
    ended = cli.run("run", "activities", "health", "workouts")
    assert ended.code == ExitCode.COMPLETED
    done = {
        sync["sync_type"]: (sync["outcome"], sync["processed_items"], sync["total_items"])
        for sync in ended.report["syncs"]
    }
    told = cli.profile == "garminsync"  # the other form counts no items
    assert done == {
        "activities": ("completed", *((140, 140) if told else (None, None))),
        "health": ("completed", *((365, 365) if told else (None, None))),
        "workouts": ("completed", *((83, 83) if told else (None, None))),
    }
    stored = [item for item in cli.record()["items"] if not item["error"]]
    assert len(stored) == 140 + 365 + 83


def test_1_a_defect_is_told_by_kind_and_place_and_never_by_its_values(cli: CommandLine, tmp_path: Path) -> None:
    sabotage = tmp_path / "sabotage"
    sabotage.mkdir()
    (sabotage / "sitecustomize.py").write_text(
        "import runner.jobs.api as jobs\n"
        "async def broken(self, *arguments):\n"
        "    raise KeyError('a-value-from-within')\n"
        "jobs.JobApi.poll = broken\n"
    )
    ended = cli.run("run", "health", PYTHONPATH=f"{sabotage}:{Path.cwd()}")
    assert ended.code == ExitCode.DEFECT
    assert "unexpected KeyError" in ended.errors
    assert "please report it" in ended.errors
    assert "a-value-from-within" not in ended.stdout + ended.stderr
    assert ended.report["syncs"][0]["outcome"] == "defect"


def test_1_a_defect_before_the_run_is_told_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import runner.settings as settings\n"
        "def broken(*arguments):\n"
        "    raise RuntimeError('a-value-from-within')\n"
        "settings.load = broken\n"
    )
    ended = sync_runner("run", "health", PYTHONPATH=f"{tmp_path}:{Path.cwd()}")
    assert ended.code == ExitCode.DEFECT
    assert "unexpected RuntimeError" in ended.errors
    assert "a-value-from-within" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--no-such-option"], "unknown option `--no-such-option`"),
        (["run", "health"], "base_url: is required"),
        (["--base-url", "nonsense", "run", "health"], "give a URL such as https://sync.example.org"),
        (["--base-url", "http://192.0.2.1", "run", "health"], "would send the password in the clear"),
        (["--base-url", "http://127.0.0.1:1", "run"], "nothing to run"),
        (["--base-url", "http://127.0.0.1:1", "run", "steps"], "steps"),
        (["--base-url", "http://127.0.0.1:1", "--profile", "garminsink", "run", "health"], "garminsync"),
        (
            ["--base-url", "http://127.0.0.1:1", "--set", "retry.atempts=3", "run", "health"],
            "did you mean `retry.attempts`?",
        ),
        (["--base-url", "http://127.0.0.1:1", "run", "health", "--start", "lately"], "give 2026-01-31, today"),
        (["--config", "/nowhere/runner.yaml"], "/nowhere/runner.yaml: cannot be read"),
        (["cancel"], "give JOB, the job's id"),
    ],
)
def test_2_usage_or_configuration(arguments: list[str], told: str) -> None:
    ended = sync_runner(*arguments)
    assert ended.code == ExitCode.USAGE
    assert told in ended.errors


def test_3_the_login_is_refused_for_a_wrong_seed(cli: CommandLine) -> None:
    (cli.secrets / "totp_seed").write_text("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    ended = cli.run("run", "health", "workouts")
    assert ended.code == ExitCode.AUTHENTICATION
    assert (
        "the one-time code was refused (401: wrong or used one-time code); check the secret `totp_seed`" in ended.errors
    )
    assert cli.jobs() == []
    assert (
        len([one for one in cli.record()["requests"] if one["endpoint"] == "login"]) == 3
    )  # password, code, one more code: this runner remembers no step


def test_3_the_login_is_refused_for_a_wrong_password_which_is_sent_only_once(cli: CommandLine) -> None:
    (cli.secrets / "password").write_text("not this one")
    ended = cli.run("run", "health", "workouts")
    assert ended.code == ExitCode.AUTHENTICATION
    assert "the username or password was refused (401: wrong username or password)" in ended.errors
    assert len([one for one in cli.record()["requests"] if one["endpoint"] == "login"]) == 1


@pytest.mark.parametrize("name", ["username", "password", "totp_seed"])
def test_3_a_missing_secret_is_named(cli: CommandLine, name: str) -> None:
    (cli.secrets / name).unlink()
    ended = cli.run("run", "health")
    assert ended.code == ExitCode.AUTHENTICATION
    assert name in ended.errors
    assert cli.jobs() == []


@BOTH_FORMS
def test_4_every_sync_failed_at_the_server(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", times=-1)
    ended = cli.run("run", "health", "workouts")
    assert ended.code == ExitCode.FAILED
    assert [sync["outcome"] for sync in ended.report["syncs"]] == ["failed", "failed"]
    assert len(cli.jobs("failed")) == 2


@BOTH_FORMS
def test_5_some_completed_and_some_did_not(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", sync_type="health", times=-1)
    ended = cli.run("run", "health", "workouts")
    assert ended.code == ExitCode.PARTIAL
    assert [sync["outcome"] for sync in ended.report["syncs"]] == ["failed", "completed"]


@BOTH_FORMS
def test_6_a_deadline_passed_and_the_job_is_cancelled(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_stalls", times=-1)
    ended = cli.run("run", "health", "--set", "deadline.sync=10s")
    assert ended.code == ExitCode.DEADLINE
    assert "the sync's deadline (deadline.sync: " in ended.errors
    assert [job["status"] for job in cli.jobs()] == [_end(cli)]


@BOTH_FORMS
def test_6_the_runs_deadline_holds_for_all_syncs(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="job_stalls", times=-1)
    ended = cli.run("run", "health", "workouts", "--set", "deadline.run=10s")
    assert ended.code == ExitCode.DEADLINE
    assert [sync["outcome"] for sync in ended.report["syncs"]] == ["deadline", "skipped"]
    assert len(cli.jobs()) == 1


def test_7_nobody_answers_at_the_address(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = cli.run("run", "health", "--base-url", f"http://127.0.0.1:{port}", "--set", "retry.attempts=2")
    assert ended.code == ExitCode.UNREACHABLE
    assert f"cannot connect to 127.0.0.1:{port}" in ended.errors


@BOTH_FORMS
def test_7_the_api_keeps_failing_and_the_next_sync_is_not_started_in_vain(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="status", status=503, endpoint="trigger", times=-1)
    ended = cli.run("run", "health", "workouts", "--set", "retry.attempts=3")
    assert ended.code == ExitCode.UNREACHABLE
    assert "kept answering 503 in 3 tries" in ended.errors
    assert [sync["outcome"] for sync in ended.report["syncs"]] == ["unreachable", "skipped"]
    assert cli.jobs() == []


@pytest.fixture
def forgetful_profile(tmp_path: Path) -> Path:
    """An API that has neither idempotency keys nor a listing: a lost trigger cannot be looked up."""
    from runner import profile

    text = profile.locate("garminsync").read_text()
    text = text.replace("    idempotent: true\n", "").replace(
        '      headers: {Idempotency-Key: "${idempotency_key}"}\n', ""
    )
    start, end = text.index("  running:"), text.index("  recent:")
    path = tmp_path / "forgetful.yaml"
    path.write_text(text[:start] + text[end:])
    return path


def test_8_a_trigger_whose_answer_is_lost_and_can_not_be_looked_up_is_unknown(
    cli_with: MakeCommandLine, forgetful_profile: Path
) -> None:
    cli = cli_with(mfa="none")
    cli.fault(kind="reset_after", endpoint="trigger")
    ended = cli.run("run", "health", "--profile", str(forgetful_profile))
    assert ended.code == ExitCode.UNKNOWN
    assert "look at the API for a job of type health before you run it again" in ended.errors
    assert len(cli.jobs()) == 1


@pytest.mark.parametrize("profile", ["garminsync-single"])
def test_8_a_lost_trigger_that_the_one_status_can_not_tell_from_the_last_job_is_unknown(
    cli_with: MakeCommandLine,
) -> None:
    cli = cli_with(mfa="none")
    assert cli.run("run", "health").code == 0
    cli.fault(kind="reset_after", endpoint="trigger")
    ended = cli.run("run", "health")
    assert ended.code == ExitCode.UNKNOWN
    assert len(cli.jobs()) == 2


class _Html(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"<html>It works!</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *values: object) -> None:
        """Quiet."""


@pytest.fixture
def some_web_site() -> Iterator[str]:
    """A server that is no sync API."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Html) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_9_the_api_breaks_its_contract(cli: CommandLine, some_web_site: str) -> None:
    ended = cli.run("run", "health", "--base-url", some_web_site)
    assert ended.code == ExitCode.CONTRACT
    assert "not JSON" in ended.errors


@BOTH_FORMS
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, ExitCode.SIGTERM), (signal.SIGINT, ExitCode.SIGINT)])
def test_130_and_143_a_signal_cancels_what_runs_and_the_report_is_written(
    cli_with: MakeCommandLine, number: signal.Signals, code: ExitCode
) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    running = cli.start("run", "health", "workouts", "--report", "-")
    cli.until("running")
    running.signal(number)
    ended = running.finish()
    assert ended.code == code
    assert [sync["outcome"] for sync in ended.report["syncs"]] == ["interrupted", "interrupted"]
    assert [job["status"] for job in cli.jobs()] == [_end(cli)]
    assert ended.events("run.interrupted")[0]["signal"] == number.name


@BOTH_FORMS
def test_a_detached_job_goes_on_and_is_adopted_by_the_next_run(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none", job_seconds=4.0)
    running = cli.start("run", "health", "--set", "on_interrupt=detach")
    cli.until("running")
    running.signal(signal.SIGTERM)
    assert running.finish().code == ExitCode.SIGTERM
    ended = cli.run("run", "health")
    assert ended.code == ExitCode.COMPLETED
    assert ended.report["syncs"][0]["adopted"] is True
    assert len(cli.jobs()) == 1


def test_the_report_fits_its_schema_whatever_the_code(cli_with: MakeCommandLine) -> None:
    import jsonschema

    cli = cli_with(mfa="none")
    cli.fault(kind="job_fails", sync_type="health", times=-1)
    validator = jsonschema.Draft202012Validator(report_model.schema(), format_checker=jsonschema.FormatChecker())
    for types in (("health",), ("workouts",), ("health", "workouts"), ("nonsense",)):
        ended = cli.run("run", *types)
        validator.validate(ended.report)
        assert ended.report["exit_code"] == ended.code


def test_the_readme_and_the_help_tell_every_code() -> None:
    shown = sync_runner("--help")
    assert shown.code == 0
    for code in ExitCode:
        assert f"{code:>3}  {code.meaning}" in shown.stdout


def test_a_password_rotated_in_mid_run_is_found_in_the_mount(cli: CommandLine) -> None:
    right = cli.server.settings.password
    (cli.secrets / "password").write_text("of yesterday")
    cli.fault(kind="latency", endpoint="login", seconds=2.0)
    running = cli.start("run", "health")
    while not any(one["endpoint"] == "login" for one in cli.record()["requests"]):
        assert running.process.poll() is None
    (cli.secrets / "password").write_text(right)
    ended = running.finish()
    assert ended.code == ExitCode.COMPLETED
    assert ended.events("login.secrets_rotated")


def test_a_session_is_kept_encrypted_where_a_key_is_mounted(cli: CommandLine) -> None:
    (cli.secrets / "state_key").write_text(base64.b64encode(bytes(32)).decode())
    assert cli.run("run", "health").code == 0
    kept = next((cli.state / "sessions").glob("[0-9a-f]*.json")).read_text()
    assert '"sealed"' in kept
    assert "access_token" not in kept
    assert cli.run("run", "workouts").events("session.reused")
    (cli.secrets / "state_key").unlink()
    ended = cli.run("run", "health")
    assert ended.code == ExitCode.AUTHENTICATION
    assert "mount its key as the secret `state_key`" in ended.errors
