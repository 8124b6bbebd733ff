"""The GitLab job in the image, as GitLab's executor runs it: a shell in the entrypoint's place, secrets as files that variables name."""

from pathlib import Path

import yaml

from tests.containers.engine import ROOT, RUNNER, Place, docker


def test_the_gitlab_job_is_green_in_the_image_and_leaves_its_artifacts(here: Place, tmp_path: Path) -> None:
    job = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab.yml").read_text(encoding="utf-8"))[".sync-runner"]
    assert job["image"]["entrypoint"] == [""]
    builds = tmp_path / "builds"
    builds.mkdir()
    builds.chmod(0o777)  # the helper that checks out is root, and lets any user of the image write
    files = {f"SYNC_RUNNER_{path.name.upper()}_FILE": f"/run/secrets/{path.name}" for path in here.secrets.iterdir()}
    variables = {
        **job["variables"],
        "SYNC_RUNNER_BASE_URL": "http://sandbox:8001",
        "SYNC_RUNNER_TLS__ALLOW_HTTP": "true",
        **files,
    }
    options = [
        word
        for name, value in variables.items()
        if name != "SYNC_RUNNER_IMAGE"
        for word in ("--env", f"{name}={value}")
    ]
    docker(
        *("run", "--rm", "--network", here.network, "--volume", f"{here.secrets}:/run/secrets:ro", *options),
        *(
            "--volume",
            f"{builds}:/builds",
            "--workdir",
            "/builds",
            "--entrypoint",
            "sh",
            RUNNER,
            "-ec",
            "\n".join(job["script"]),
        ),
    )
    kept = {*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()}
    assert {path.name for path in builds.iterdir()} == kept
