"""`profiles test`: what fits and what does not, told with the answer's shape and a fix, and with no secret."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import profile as profiles
from tests.support.command_line import CommandLine, Finished

MakeCommandLine = Callable[..., CommandLine]


@pytest.fixture(params=["garminsync", "garminsync-single"])
def profile(request: pytest.FixtureRequest) -> str:
    """Both forms of the sandbox's API."""
    name: str = request.param
    return name


def _rows(ended: Finished) -> dict[str, str]:
    """Each part's row."""
    rows = {}
    for line in ended.stdout.splitlines():
        part = line.split()[0] if line.split() else ""
        if part.startswith(("auth", "jobs.")):
            rows[part] = line
    return rows


def _spoiled(tmp_path: Path, old: str, new: str) -> str:
    text = profiles.locate("garminsync").read_text()
    assert old in text
    path = tmp_path / "own.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_a_profile_that_fits_is_walked_from_the_login_to_the_cancel(cli_with: MakeCommandLine) -> None:
    cli = cli_with(job_seconds=600.0)
    ended = cli.run("profiles", "test", cli.profile, "--sync", "health")
    assert ended.code == 0
    assert ended.stdout.startswith(f"default: a sync of type health will be triggered at {cli.server.base_url}")
    rows = _rows(ended)
    with_ids = cli.profile == "garminsync"
    for part in ("auth.steps", "auth.refresh", "jobs.trigger", "jobs.status"):
        assert " fits " in rows[part], ended.stdout
    assert "with a one-time code" in rows["auth.steps"]
    assert ("the job is cancelled" if with_ids else "absent") in rows["jobs.cancel"]
    assert [job["status"] for job in cli.jobs()] == ["cancelled" if with_ids else "running"]
    for secret in cli.server.credentials.values():
        assert secret not in ended.stdout + ended.stderr


@pytest.mark.parametrize("profile", ["garminsync"])
def test_nothing_is_triggered_unless_a_sync_is_chosen(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    ended = cli.run("profiles", "test", "garminsync")
    assert ended.code == 0
    assert "choose a harmless one with --sync TYPE" in _rows(ended)["jobs.trigger"]
    assert cli.jobs() == []
    assert cli.run("profiles", "test", "garminsync", "--sync", "steps").code == 2
    assert cli.jobs() == []


@pytest.mark.parametrize("profile", ["garminsync"])
@pytest.mark.parametrize(
    ("old", "new", "part", "told"),
    [
        ("access_token: access_token", "access_token: data.token", "auth.steps", "perhaps it is at `access_token`"),
        ("path: /api/auth/cli/login", "path: /api/login", "auth.steps", "see `path`: the API does not know this path"),
        ("{status: [400, 401, 403], then: refused}\n        - {status: 423, then: locked}\n    code", "{status: 423, then: locked}\n    code",
         "auth.steps", "add an answer with `status: 401` to the step"),
        ("path: /api/auth/cli/refresh", "path: /api/refresh", "auth.refresh", "see `path`, `accepted` and `session`"),
        ("expires_in: expires_in", "expires_in: lifetime", "auth.session.expires_in", "perhaps it is at `expires_in`"),
        ("path: /api/sync/cli/trigger", "path: /api/sync", "jobs.trigger", "see `path`: the API does not know this path"),
        ("    conflict_job_id", "    accepted: 201\n    conflict_job_id", "jobs.trigger", "add it to `accepted`"),
        ("    conflict_job_id", "    job: job\n    conflict_job_id", "jobs.trigger", "perhaps it is at `job_id`"),
        ("    job: jobs[0]", "    job: job", "jobs.status", "perhaps `job: jobs[0]`"),
        ("jobs:\n  sync_types", "jobs:\n  words: {pending: new, running: busy, completed: x, failed: y}\n  sync_types",
         "jobs.status", "add the word to `jobs.words`"),
        ("jobs:\n  sync_types", "jobs:\n  fields: {progress: percentage}\n  sync_types",
         "jobs.fields.progress", "perhaps it is at `progress`"),
        ("path: /api/sync/cli/cancel", "path: /api/cancel", "jobs.cancel", "see `path`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_a_fix(
    cli_with: MakeCommandLine, tmp_path: Path, old: str, new: str, part: str, told: str
) -> None:
    cli = cli_with(mfa="none", job_seconds=600.0)
    if "status: 401" in told:
        (cli.secrets / "password").write_text("not it")
    own = _spoiled(tmp_path, old, new)
    ended = cli.run("profiles", "test", own, "--sync", "health")
    row = _rows(ended)[part]
    assert told in row, ended.stdout
    assert ended.code == (0 if ".session." in part or ".fields." in part else 9), ended.stdout
    assert cli.server.credentials["password"] not in ended.stdout + ended.stderr


@pytest.mark.parametrize("profile", ["garminsync"])
def test_a_refused_login_is_code_3_and_nothing_else_is_tried(cli_with: MakeCommandLine) -> None:
    cli = cli_with(mfa="none")
    (cli.secrets / "password").write_text("not it")
    ended = cli.run("profiles", "test", "garminsync", "--sync", "health")
    assert ended.code == 3
    assert list(_rows(ended)) == ["auth.steps"]


@pytest.mark.parametrize("profile", ["garminsync"])
def test_with_run_a_job_is_followed_to_its_end_and_every_value_is_shown_with_its_unit(
    cli_with: MakeCommandLine,
) -> None:
    cli = cli_with(job_seconds=2.0)
    ended = cli.run("profiles", "test", cli.profile, "--sync", "health", "--run")
    assert ended.code == 0, ended.stdout
    assert "and followed to its end" in ended.stdout
    rows = _rows(ended)
    assert "completed within" in rows["jobs.status"]
    assert " s, until " in rows["auth.session.expires_in"]
    assert "per cent" in rows["jobs.fields.progress"]
    assert "RFC 3339" in rows["jobs.fields.start_time"]
    assert [job["status"] for job in cli.jobs()] == ["completed"]
