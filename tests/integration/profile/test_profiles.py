"""What a profile can say of an API, each against a server that judges by what it was sent. No line of Python per API."""

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyotp
import pytest
import yaml

from runner.errors import UsageError
from runner.state.ledger import Entry
from tests.support.clock import LinkedClock
from tests.support.command_line import sync_runner
from tests.support.in_process import RunOutput, run_here
from tests.support.ledgers import open_ledger
from tests.support.scripted_api import Answers, Asked, Route, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SECRETS = {
    "username": "ann", "password": "geheim!", "api_token": "tok-123", "client_id": "app", "client_secret": "s3cret",
    "totp_seed": SEED,
}  # fmt: skip
OPEN: dict[str, Any] = {"secrets": [], "headers": {}}
JOBS: dict[str, Any] = {
    "trigger": {"request": {"method": "POST", "path": "/jobs", "json": {"type": "${sync_type}"}}},
    "status": {"request": {"path": "/jobs/${job_id}"}},
}
DONE: dict[str, Route] = {
    "POST /jobs": Answers({"job_id": 7, "status": "pending"}, 201),
    "GET /jobs/7": Answers({"job_id": 7, "status": "completed"}),
}
TOKEN = Answers({"access_token": "fresh", "expires_in": 60})


class Place:
    """A scripted API, a profile for it and the secrets it names."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home, self._stack = home, stack
        self.secrets = home / "secrets"
        self.secrets.mkdir()

    def api(self, routes: dict[str, Route]) -> ScriptedApi:
        """Serve it until the test's end."""
        return self._stack.enter_context(ScriptedApi(routes))

    def run(
        self, api: ScriptedApi, syncs: Any = "nightly", *, secrets: dict[str, str] | None = None, **more: Any
    ) -> RunOutput:
        """Run by the profile that `auth`, `jobs`, `parameters` and `errors` make."""
        parts: dict[str, Any] = {key: more.pop(key) for key in ("auth", "jobs", "parameters", "errors") if key in more}
        profile: dict[str, Any] = {"version": 1, "description": "test", "auth": OPEN, "jobs": JOBS, **parts}
        path = self.home / "own.yaml"
        path.write_text(yaml.safe_dump(profile, sort_keys=False))
        for name in profile["auth"].get("secrets", SECRETS):
            if (secrets or SECRETS).get(name):
                (self.secrets / name).write_text((secrets or SECRETS)[name])
        return run_here(api.base_url, self.secrets, syncs, profile=str(path), **more)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty place."""
    with ExitStack() as stack:
        yield Place(tmp_path, stack)


BASIC = base64.b64encode(b"ann:geheim!").decode()


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"secrets": ["api_token"], "headers": {"Authorization": "Bearer ${api_token}"}}, "Authorization", "Bearer tok-123"),
        ({"secrets": ["api_token"], "headers": {"X-API-Key": "${api_token}"}}, "X-API-Key", "tok-123"),
        ({"secrets": ["username", "password"], "headers": {"Authorization": "Basic ${basic}"}}, "Authorization", f"Basic {BASIC}"),
        (OPEN, "Authorization", None),
    ],
)  # fmt: skip
def test_secrets_go_with_each_request_where_there_is_no_login(
    place: Place, auth: dict[str, Any], header: str, value: str | None
) -> None:
    api = place.api(dict(DONE))
    assert place.run(api, auth=auth).code == 0
    assert [one.headers.get(header) for one in api.asked] == [value] * 2
    assert [one.path for one in api.asked] == ["/jobs", "/jobs/7"]


def test_check_asks_for_a_listing_where_there_is_no_login(place: Place) -> None:
    auth = {"secrets": ["api_token"], "headers": {"Authorization": "Bearer ${api_token}"}}
    jobs = {**JOBS, "recent": {"request": {"path": "/jobs"}}}
    api = place.api({**DONE, "GET /jobs": [Answers([]), Answers({}, 401)]})
    place.run(api, auth=auth, jobs=jobs)
    options = [
        "--base-url",
        api.base_url,
        "--secrets-dir",
        str(place.secrets),
        "--profile",
        str(place.home / "own.yaml"),
        "--set",
        "syncs=nightly",
    ]
    good, bad = (sync_runner(*options, "check") for _ in range(2))
    assert (good.code, "the API accepts it: it listed the account's jobs (none yet)" in good.stdout) == (0, True)
    assert (bad.code, "check the secret `api_token`" in bad.stdout) == (3, True)


def test_a_refused_token_is_code_3_and_names_the_secret_and_a_rotated_one_is_taken(place: Place) -> None:
    auth = {"secrets": ["api_token"], "headers": {"Authorization": "Bearer ${api_token}"}}
    told = place.run(place.api({"POST /jobs": Answers({}, 401)}), auth=auth)
    assert told.code == 3
    assert "check the secret `api_token`" in told.errors
    assert "tok-123" not in told.errors

    def rotated(seen: Asked) -> Answers:
        if seen.headers["Authorization"] == "Bearer new":
            return Answers({"job_id": 7, "status": "completed"})
        (place.secrets / "api_token").write_text("new")
        return Answers({}, 401)

    assert place.run(place.api({"POST /jobs": rotated}), auth=auth).code == 0


def _login(form: dict[str, str], **more: Any) -> dict[str, Any]:
    steps = {
        "token": {
            "request": {"method": "POST", "path": "/token", "form": form},
            "answers": [{"status": 200, "then": "done"}, {"status": [400, 401], "then": "refused"}],
        }
    }
    return {"steps": steps, "session": {"access_token": "access_token", "expires_in": "expires_in"}, **more}


def test_oauth_client_credentials_need_no_user(place: Place) -> None:
    auth = _login(
        {"grant_type": "client_credentials", "client_id": "${client_id}", "client_secret": "${client_secret}"},
        secrets=["client_id", "client_secret"],
    )
    api = place.api({**DONE, "POST /token": TOKEN})
    assert place.run(api, auth=auth).code == 0
    assert api.at("/token")[0].form == {
        "grant_type": "client_credentials",
        "client_id": "app",
        "client_secret": "s3cret",
    }
    assert {one.headers["Authorization"] for one in api.at("/jobs/7")} == {"Bearer fresh"}
    refused = place.run(place.api({"POST /token": Answers({"error": "invalid_client"}, 401)}), auth=auth)
    assert refused.code == 3
    assert "check the secrets `client_id` and `client_secret`" in refused.errors


def test_oauth_password_grant_takes_a_code_as_a_parameter_and_refreshes_by_a_form(place: Place) -> None:
    auth = _login(
        {"grant_type": "password", "username": "${username}", "password": "${password}", "totp": "${code}"},
        secrets=["username", "password", "totp_seed", "client_id", "client_secret"],
    )
    auth["session"] = {"access_token": "access_token", "refresh_token": "refresh_token"}
    auth["refresh"] = {
        "request": {"method": "POST", "path": "/refresh", "headers": {"X-Client": "${client_id}"},
                    "form": {"grant_type": "refresh_token", "refresh_token": "${refresh_token}"}},
        "session": {"access_token": "data.token"},
    }  # fmt: skip
    api = place.api({
        **DONE,
        "POST /token": Answers({"access_token": "first", "refresh_token": "r1"}),
        "POST /refresh": Answers({"data": {"token": "second"}}),
        "GET /jobs/7": [Answers({}, 401), Answers({"job_id": 7, "status": "completed"})],
    })  # fmt: skip
    assert place.run(api, auth=auth, clock=LinkedClock()).code == 0
    sent = api.at("/token")[0].form
    assert pyotp.TOTP(SEED).verify(sent["totp"], valid_window=1)
    assert api.at("/refresh")[0].form == {"grant_type": "refresh_token", "refresh_token": "r1"}
    assert api.at("/refresh")[0].headers["X-Client"] == "app"
    assert [one.headers["Authorization"] for one in api.at("/jobs/7")] == ["Bearer first", "Bearer second"]


def test_a_mounted_refresh_token_alone_is_a_way_in(place: Place) -> None:
    auth = {
        "secrets": ["refresh_token"],
        "session": {"access_token": "access_token"},
        "refresh": {"request": {"method": "POST", "path": "/refresh", "json": {"token": "${refresh_token}"}}},
    }
    api = place.api({**DONE, "POST /refresh": TOKEN})
    assert place.run(api, auth=auth, secrets={"refresh_token": "mounted"}).code == 0
    assert api.at("/refresh")[0].json == {"token": "mounted"}
    told = place.run(place.api({"POST /refresh": Answers({}, 401)}), auth=auth, secrets={"refresh_token": "mounted"})
    assert told.code == 3
    assert "mount a new one as the secret `refresh_token`" in told.errors


def test_values_are_carried_from_body_header_and_cookie_into_steps_session_headers_and_the_next_run(
    place: Place,
) -> None:
    auth: dict[str, Any] = {
        "secrets": ["username", "password", "totp_seed"],
        "steps": {
            "flow": {
                "request": {"path": "/flow"},
                "answers": [{"then": "password", "carry": {"flow": "ui.flow.id", "csrf": {"cookie": "csrftoken"}}}],
            },
            "password": {
                "request": {"method": "POST", "path": "/login", "query": {"flow": "${flow}"},
                            "headers": {"X-CSRF": "${csrf}"}, "form": {"u": "${username}", "p": "${password}"}},
                "answers": [{"status": 401, "then": "code", "carry": {"half": {"header": "X-Session-Token"}}}],
            },
            "code": {
                "request": {"method": "POST", "path": "/code", "headers": {"X-Session-Token": "${half}"}, "json": {"code": "${code}"}},
                "answers": [{"status": 302, "then": "done"}],
            },
        },
        "session": {"access_token": [{"header": "X-No-Such"}, {"cookie": "sessionid"}], "expires_at": {"header": "X-Until"}},
        "headers": {"Cookie": "sessionid=${access_token}", "X-CSRF": "${csrf}"},
    }  # fmt: skip
    until = str(int(time.time()) + 3600)
    api = place.api({
        **DONE,
        "GET /flow": Answers({"ui": {"flow": {"id": "f/1"}}}, 200, (("Set-Cookie", "a=b"), ("Set-Cookie", "csrftoken=c77; Path=/"))),
        "POST /login": Answers({"wants": "a code"}, 401, (("X-Session-Token", "half-way"),)),
        "POST /code": Answers(None, 302, (("Location", "/home"), ("Set-Cookie", "sessionid=s99; HttpOnly"), ("X-Until", until))),
    })  # fmt: skip
    told = place.run(api, auth=auth, state=place.home / "state")
    assert told.code == 0, told.errors
    assert (api.at("/login")[0].query, api.at("/login")[0].headers["X-CSRF"]) == ({"flow": ["f/1"]}, "c77")
    assert api.at("/code")[0].headers["X-Session-Token"] == "half-way"
    assert (api.at("/jobs")[0].headers["Cookie"], api.at("/jobs")[0].headers["X-CSRF"]) == ("sessionid=s99", "c77")
    assert place.run(api, auth=auth, state=place.home / "state").code == 0
    assert len(api.at("/flow")) == 1  # the session of the first run, with what it carried, goes on
    assert api.at("/jobs")[1].headers["X-CSRF"] == "c77"
    assert [path for path in api.asked if path.path == "/home"] == []


def test_a_lifetime_in_the_past_by_an_absolute_time_is_not_believed(place: Place) -> None:
    auth = _login({"u": "${username}"}, secrets=["username", "password"])
    auth["session"] = {"access_token": "access_token", "expires_at": "until"}
    api = place.api({**DONE, "POST /token": Answers({"access_token": "short", "until": "2001-01-01T00:00:00Z"})})
    assert place.run(api, auth=auth).code == 0
    assert len(api.at("/token")) == 1


PARAMETERS: dict[str, Any] = {
    "deployment": {"type": "string", "required": True},
    "priority": {"type": "integer", "default": 3},
    "conf": {"type": "object"},
    "dry": {"type": "boolean"},
    "tags": {"type": "array"},
    "weekly_only": {"type": "string", "sync_types": ["weekly"]},
}
WITH_PARAMETERS: dict[str, Any] = {
    "sync_types": {"nightly": 11, "weekly": "w/7"},
    "trigger": {
        "request": {
            "method": "POST",
            "path": "/deployments/${params.deployment}/${sync_type}",
            "query": {"tag": "${params.tags?}", "state": ["a", "b"]},
            "json": {"id": "${sync_type}", "conf": "${params.conf?}", "p": "${params.priority}", "dry": "${params.dry?}",
                     "label": "p${params.priority} $$5", "w": "${params.weekly_only?}", "none": None},
        },
        "accepted": 202,
    },
    "status": {"request": {"path": "/jobs/${job_id}", "query": {"d": "${params.deployment}"}}},
}  # fmt: skip


def test_parameters_and_sync_types_keep_their_json_type(place: Place) -> None:
    api = place.api({**DONE, "POST /deployments/a%20b/11": Answers({"job_id": 7}, 202)})
    syncs = [
        {
            "type": "nightly",
            "params": {"deployment": "a b", "conf": {"x": [1, None]}, "tags": ["t1", "t2"], "dry": False},
        }
    ]
    told = place.run(api, syncs, jobs=WITH_PARAMETERS, parameters=PARAMETERS)
    assert told.code == 0, told.errors
    sent = api.asked[0]
    assert sent.json == {"id": 11, "conf": {"x": [1, None]}, "p": 3, "dry": False, "label": "p3 $5", "none": None}
    assert sent.query == {"tag": ["t1", "t2"], "state": ["a", "b"]}
    assert api.at("/jobs/7")[0].query == {"d": ["a b"]}
    assert (
        place.run(
            api, "nightly", jobs=WITH_PARAMETERS, parameters=PARAMETERS, params={"deployment": "a b", "priority": "9"}
        ).code
        == 0
    )
    assert api.asked[-2].json["p"] == 9  # text of the environment or the command line, read by its declared type


@pytest.mark.parametrize(
    ("sync", "told"),
    [
        ({"type": "nightly"}, "syncs.nightly.params.deployment: this profile requires it"),
        ({"type": "nightly", "params": {"deploiment": "x"}}, "syncs.nightly.params.deploiment: no such parameter in this profile; did you mean `deployment`?"),
        ({"type": "nightly", "params": {"deployment": 5}}, "syncs.nightly.params.deployment: must be of type string"),
        ({"type": "nightly", "params": {"deployment": "x", "priority": "high"}}, "syncs.nightly.params.priority: must be a JSON integer"),
        ({"type": "nightly", "params": {"deployment": "x", "priority": True}}, "syncs.nightly.params.priority: must be of type integer"),
        ({"type": "nightly", "params": {"deployment": "x", "conf": "[1]"}}, "syncs.nightly.params.conf: must be of type object"),
        ({"type": "nightly", "params": {"deployment": "x", "conf": {"n": float("nan")}}}, "syncs.nightly.params.conf.n: not a JSON number"),
        ({"type": "nightly", "params": {"deployment": "x", "weekly_only": "y"}}, "syncs.nightly.params.weekly_only: is only for weekly"),
        ({"type": "nightley", "params": {"deployment": "x"}}, "unknown sync type `nightley` in this profile; known: nightly, weekly; did you mean `nightly`?"),
        ({"type": "nightly", "start": "-7d", "params": {"deployment": "x"}}, "syncs.nightly.start: this profile does not support it"),
    ],
)  # fmt: skip
def test_what_the_profile_does_not_know_is_an_error_before_anything_is_sent(
    place: Place, sync: dict[str, Any], told: str
) -> None:
    api = place.api(dict(DONE))
    with pytest.raises(UsageError, match=re.escape(told)):
        place.run(api, [sync], jobs=WITH_PARAMETERS, parameters=PARAMETERS)
    assert api.asked == []


def test_words_may_be_numbers_and_progress_may_be_counted_in_items(place: Place) -> None:
    jobs = {
        **JOBS,
        "trigger": {**JOBS["trigger"], "job": "data"},
        "status": {**JOBS["status"], "job": "data"},
        "fields": {"job_id": "id", "processed_items": "done", "total_items": "all"},
        "words": {"pending": 1, "running": [2, 3], "completed": 10, "failed": 20, "cancelled": 30},
        "progress": "items",
    }
    answers = [
        Answers({"data": {"id": 7, "status": 3, "done": 1, "all": 4}}),
        Answers({"data": {"id": 7, "status": 10}}),
    ]
    api = place.api({"POST /jobs": Answers({"data": {"id": 7, "status": 1}}), "GET /jobs/7": list(answers)})
    told = place.run(api, jobs=jobs)
    assert told.code == 0
    assert [event.progress for event in told.named("sync.progress")] == [25.0, None]
    api = place.api(
        {
            "POST /jobs": Answers({"data": {"id": 7, "status": 1}}),
            "GET /jobs/7": Answers({"data": {"id": 7, "status": True}}),
        }
    )
    told = place.run(api, jobs=jobs)
    assert told.code == 9
    assert "unknown job status boolean at `status`; the profile knows: 1, 2, 3, 10, 20, 30" in told.errors


def test_the_job_id_may_stand_in_a_location_header_and_the_body_be_empty(place: Place) -> None:
    jobs = {**JOBS, "trigger": {**JOBS["trigger"], "job_id": {"header": "Location", "segment": -1}}}
    api = place.api({**DONE, "POST /jobs": Answers(None, 202, (("Location", "https://other.example/v1/jobs/7/?x=1"),))})
    assert place.run(api, jobs=jobs).code == 0
    told = place.run(place.api({"POST /jobs": Answers(None, 202)}), jobs=jobs)
    assert told.code == 9
    assert "no job id" in told.errors


def test_what_lookups_and_the_trigger_carry_stands_in_later_requests_and_in_those_of_the_next_run(place: Place) -> None:
    jobs = {
        "lookups": [
            {"request": {"path": "/by-name/${sync_type}"}, "carry": {"deployment": "id"}},
            {"request": {"path": "/versions/${deployment}"}, "carry": {"version": "latest.number"}},
        ],
        "trigger": {
            "request": {"method": "POST", "path": "/d/${deployment}/runs", "json": {"v": "${version}"}},
            "carry": {"run_token": {"header": "X-Run"}},
        },
        "status": {"request": {"path": "/d/${deployment}/runs/${job_id}", "headers": {"X-Run": "${run_token}"}}},
    }
    routes: dict[str, Route] = {
        "GET /by-name/nightly": Answers({"id": "d1"}),
        "GET /versions/d1": Answers({"latest": {"number": 4}}),
        "POST /d/d1/runs": Answers({"job_id": "r1", "status": "pending"}, 200, (("X-Run", "abc"),)),
        "GET /d/d1/runs/r1": Answers({"job_id": "r1", "status": "completed"}),
    }
    api = place.api(dict(routes))
    assert place.run(api, jobs=jobs).code == 0
    assert api.at("/d/d1/runs")[0].json == {"v": "4"}
    assert [one.headers["X-Run"] for one in api.at("/d/d1/runs/r1")] == ["abc"]
    assert len(api.at("/by-name/nightly")) == 1

    ledger = open_ledger(place.home / "state")  # a killed run's job, and what its trigger gave
    ledger.intend(Entry("k", f"{api.base_url} default", "default", "nightly", "nightly", "earlier", time.time()))
    ledger.triggered("k", "r1", carried={"run_token": "abc"})
    ledger.close()
    api.routes["GET /d/d1/runs/r1"] = [
        Answers({"job_id": "r1", "status": "running"}),
        Answers({"job_id": "r1", "status": "completed"}),
    ]
    told = place.run(api, jobs=jobs, state=place.home / "state")
    assert (told.code, told.result.results[0].adopted) == (0, True)
    assert len(api.at("/d/d1/runs")) == 1
    assert {one.headers["X-Run"] for one in api.at("/d/d1/runs/r1")} == {"abc"}


def test_a_lookup_that_is_lost_leaves_no_doubt_about_the_trigger(place: Place) -> None:
    jobs = {**JOBS, "lookups": [{"request": {"path": "/find"}, "carry": {"x": "id"}}]}
    told = place.run(place.api({**DONE, "GET /find": Answers({}, 500)}), jobs=jobs, retry={"attempts": 2})
    assert told.code == 7
    told = place.run(place.api({**DONE, "GET /find": Answers({"other": 1})}), jobs=jobs)
    assert told.code == 9
    assert "lookup: nothing at `id`" in told.errors


@pytest.mark.parametrize("answer", [Answers([]), Answers({"results": [], "count": 0}), Answers({"error": "none"}, 404)])
def test_a_name_that_a_lookup_does_not_find_is_a_fault_of_the_settings(place: Place, answer: Answers) -> None:
    jobs = {**JOBS, "lookups": [{"request": {"path": "/find"}, "carry": {"x": "results[0].id"}}]}
    told = place.run(place.api({**DONE, "GET /find": answer}), jobs=jobs)
    assert told.code == 2, told.errors
    assert "check the sync's type and parameters" in told.errors


NAMED = {
    "trigger": {
        "request": {"method": "POST", "path": "/runs", "json": {"id": "${idempotency_key}"}},
        "job_id": {"value": "idempotency_key"},
    },
    "status": {"request": {"path": "/run", "query": {"id": "${job_id}"}}, "job": "[0]"},
}


@pytest.mark.parametrize("lost_after", [True, False])
def test_a_job_that_the_request_names_is_never_started_twice(place: Place, lost_after: bool) -> None:
    runs: list[str] = []
    lose = [True]

    def start(seen: Asked) -> Answers:
        first = bool(lose) and lose.pop()
        if seen.json["id"] in runs:
            return Answers({"error": "exists"}, 409)
        if not first or lost_after:
            runs.append(seen.json["id"])
        return Answers({}, 502) if first else Answers({"status": "pending"}, 201)

    def poll(seen: Asked) -> Answers:
        found = seen.query["id"][0] in runs
        return Answers([{"job_id": seen.query["id"][0], "status": "completed"}] if found else [])

    told = place.run(place.api({"POST /runs": start, "GET /run": poll}), jobs=NAMED)
    assert told.code == 0, told.errors
    assert len(runs) == 1
    job = told.result.results[0].job
    assert job is not None
    assert job.job_id == runs[0]


SINGLE: dict[str, Any] = {
    "single": {"idle": "idle"},
    "trigger": {"request": {"method": "POST", "path": "/start/${sync_type}"}},
    "status": {"request": {"path": "/status"}},
    "words": {"running": "busy", "completed": "done", "failed": "bad"},
    "fields": {"sync_type": "kind"},
}


@pytest.mark.parametrize(
    ("shown", "code", "told"),
    [
        (["idle", "idle", "busy", "done"], 0, ""),  # before the trigger, not yet begun, running, ended
        (["idle", "done"], 0, ""),
        (["done nightly", "busy nightly", "done nightly"], 0, ""),
        (["done", "busy", "bad"], 4, ""),
        (["idle", "busy", "idle"], 9, "does not know job"),
        (["idle", "busy", "busy other"], 8, "now shows a job of type other"),
        (["busy other", "done other", "busy", "done"], 0, ""),  # another's is waited for
        (["busy nightly", "done nightly"], 0, ""),  # one of our type is adopted
        (["idle", "what"], 9, "unknown job status 'what' at `status`; the profile knows: busy, done, bad"),
    ],
)
def test_a_single_job_is_followed_by_the_one_status(place: Place, shown: list[str], code: int, told: str) -> None:
    polls_per_second = [dict(zip(("status", "kind"), one.split(), strict=False)) for one in shown]
    api = place.api(
        {"POST /start/nightly": Answers(None, 202), "GET /status": [Answers(one) for one in polls_per_second]}
    )
    ended = place.run(api, jobs=SINGLE, clock=LinkedClock())
    assert (ended.code, told in ended.errors) == (code, True), ended.errors
    assert len(api.at("/start/nightly")) == (0 if shown[0] == "busy nightly" else 1)


def test_errors_behind_a_good_status_and_the_apis_own_words_are_told(place: Place) -> None:
    errors = {"when": "errors", "message": "errors[0].text"}
    api = place.api({"POST /jobs": Answers({"errors": [{"text": "no such flow"}]})})
    told = place.run(api, errors=errors)
    assert told.code == 9
    assert "trigger: the API answered 200: no such flow" in told.errors


@pytest.mark.parametrize("status", [403, 509])
def test_a_rate_limit_is_waited_for_however_it_is_spelled(place: Place, status: int) -> None:
    errors = {"rate_limit": {"status": [403, 509], "when": "contains(message, 'slow down')", "retry_after": "X-Reset"}}
    limited = Answers({"message": "slow down, please"}, status, (("X-Reset", str(int(time.time()) + 2)),))
    api = place.api({**DONE, "POST /jobs": [limited, Answers({"job_id": 7, "status": "pending"})]})
    told = place.run(api, errors=errors)
    assert told.code == 0
    waits = [event.wait_seconds for event in told.named("http.retry")]
    assert len(waits) == 1
    assert 0 <= waits[0] <= 3
    told = place.run(place.api({"POST /jobs": Answers({"message": "forbidden"}, 403)}), errors=errors)
    assert told.code == 3
    assert "answered 403: forbidden" in told.errors
    assert "answered 403" in place.run(place.api({"POST /jobs": Answers({"other": 1}, 403)}), errors=errors).errors


STARTING = Answers(status=404, raw=b"<pre>Cannot POST /it</pre>", headers=(("Content-Type", "text/html"),))


@pytest.mark.parametrize("where", ["POST /login", "POST /jobs", "GET /jobs/7"])
def test_a_request_that_meets_a_starting_server_is_sent_again(place: Place, where: str) -> None:
    login = {
        "request": {"method": "POST", "path": "/login", "json": {"key": "${api_token}"}},
        "answers": [{"then": "done"}],
    }
    auth = {"secrets": ["api_token"], "steps": {"login": login}, "session": {"access_token": "access_token"}}
    routes: dict[str, Route] = {"POST /login": TOKEN, **DONE}
    ready = routes[where]
    assert isinstance(ready, Answers)
    api = place.api({**routes, where: [STARTING, STARTING, ready]})
    starting = {"starting": [{"status": 404, "text": "<pre>Cannot "}]}
    told = place.run(api, auth=auth, errors=starting, retry={"connect_patience": "1m"})
    assert told.code == 0, told.errors
    assert [len(api.at("/login")), len(api.at("/jobs"))] == [
        1 + 2 * (where == "POST /login"),
        1 + 2 * (where == "POST /jobs"),
    ]


def test_no_value_of_an_answer_stands_in_an_error_about_its_shape(place: Place) -> None:
    api = place.api({"POST /jobs": Answers({"id": "a-secret-value", "list": ["another-secret"]})})
    told = place.run(api)
    assert told.code == 9
    assert "shape: {id: text, list: [text] of 1}" in told.errors
    assert "secret" not in json.dumps([str(event) for event in told.events])
