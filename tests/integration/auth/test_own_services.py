"""Services that the repository has never seen, each with a login and an API of its own, said by configuration alone."""

import base64
import hashlib
import re
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from runner.auth import totp
from tests.support.in_process import RunOutput, run_here
from tests.support.scripted_api import Answers, Asked, Route, ScriptedApi

pytestmark = pytest.mark.usefixtures("dispositions_kept")


class Service:
    """What the services have in common: bob, his password, and codes of 8 digits by SHA-256."""

    period = 5  # seconds: where password and code go together, a runner without memory waits for the next step

    def __init__(self) -> None:
        key = base64.b32encode(secrets.token_bytes(20)).decode()  # its own: a code of one seed is sent once
        self.seed = f"otpauth://totp/x:bob?secret={key}&algorithm=SHA256&digits=8&period={self.period}"
        self.secrets = {"username": "bob", "password": "pw", "totp_seed": self.seed}

    def takes(self, code: str | None) -> bool:
        """Whether it is the code of this time step, or the one before."""
        seed = totp.parse_seed(self.seed)
        step = totp.step_at(seed, time.time())
        return code in (totp.code(seed, step), totp.code(seed, step - 1))


def page(fields: str) -> Answers:
    text = f"<html><body><form method=post action=''>{fields}</form></body></html>"
    return Answers(raw=text.encode(), headers=(("Content-Type", "text/html; charset=utf-8"),))


class Portal(Service):
    """A site as Django and Laravel make them: forms with a CSRF field, a code on a second page, redirects, and an API whose
    requests send a cookie's value back in a header. The value changes with every response, and is percent-encoded in the
    cookie. Jobs are named by addresses, their state stands in pages of a list alone, in capitals, their times are in
    milliseconds."""

    period = 60

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[dict[str, Any]] = []
        self.csrf, self.session, self.passed = "", "", ""
        self.refused: list[str] = []
        self.logins = 0

    def renewed(self, answer: Answers, *cookies: str) -> Answers:
        self.csrf = secrets.token_hex(8) + "+/="
        quoted = self.csrf.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        lines = [("Set-Cookie", one) for one in (f"XSRF-TOKEN={quoted}; Path=/", *cookies)]
        return Answers(answer.body, answer.status, (*answer.headers, *lines), answer.raw)

    def form(self, field: str) -> Answers:
        made = self.renewed(Answers())
        return Answers(
            None,
            200,
            (*made.headers, *page("").headers),
            page(f"<input type=hidden name=_token value='{self.csrf}'><input name={field}>").raw,
        )

    def routes(self) -> dict[str, Route]:
        return {
            "GET /app": lambda _seen: Answers(status=302, headers=(("Location", "/login?next=/app"),)) if not self.session else Answers({}),
            "GET /login": lambda _seen: self.form("email"),
            "POST /login": self.password,
            "GET /login/second": lambda _seen: self.form("otp"),
            "POST /login/second": self.code,
            "GET /home": lambda _seen: self.renewed(page("<p>Welcome</p>")),
            "POST /api/exports": self.api(self.begin),
            "GET /api/exports": self.api(self.listed),
        }  # fmt: skip

    def password(self, seen: Asked) -> Answers:
        if seen.form.get("_token") != self.csrf:
            return Answers(status=419)
        if (seen.form.get("email"), seen.form.get("password")) != ("bob", "pw"):
            return self.form("email")
        return self.renewed(
            Answers(status=302, headers=(("Location", "/login/second"),)), "portal=half; Path=/; HttpOnly"
        )

    def code(self, seen: Asked) -> Answers:
        if seen.form.get("_token") != self.csrf or "portal=half" not in seen.headers.get("Cookie", ""):
            return Answers(status=419)
        if not self.takes(seen.form.get("otp")):
            return self.form("otp")
        self.logins += 1
        self.session = secrets.token_hex(8)
        return self.renewed(
            Answers(status=302, headers=(("Location", "/home"),)), f"portal={self.session}; Path=/; Max-Age=3600"
        )

    def api(self, then: Any) -> Any:
        def checked(seen: Asked) -> Answers:
            if f"portal={self.session}" not in seen.headers.get("Cookie", ""):
                return Answers({"message": "Unauthenticated."}, 401)
            if seen.headers.get("X-XSRF-TOKEN") != self.csrf:
                self.refused.append(seen.path)
                return Answers({"message": "CSRF token mismatch."}, 419)
            return self.renewed(then(seen))

        return checked

    def begin(self, seen: Asked) -> Answers:
        number = 100 + len(self.jobs)
        address = f"https://portal.example/api/exports/{number}"
        self.jobs.insert(
            0, {"href": address, "kind": seen.json["kind"], "state": "QUEUED", "created": int(time.time() * 1000)}
        )
        return Answers(None, 201, (("Location", address),))

    def listed(self, seen: Asked) -> Answers:
        """Two jobs a page; others fill the first ones."""
        if self.jobs:
            self.jobs[0]["state"] = {"QUEUED": "RUNNING", "RUNNING": "SUCCEEDED"}.get(
                self.jobs[0]["state"], "SUCCEEDED"
            )
        others = [
            {
                "href": f"https://portal.example/api/exports/{one}",
                "kind": "other",
                "state": "RUNNING",
                "created": int(time.time() * 1000),
            }
            for one in range(900, 903)
        ]
        every = [*others, *self.jobs]
        start = int(seen.query.get("start", ["0"])[0])
        link = (("Link", f'</api/exports?start={start + 2}>; rel="next"'),) if start + 2 < len(every) else ()
        return Answers({"exports": every[start : start + 2]}, 200, link)


PORTAL: dict[str, Any] = yaml.safe_load(r"""
version: 1
description: A portal
auth:
  secrets: [username, password, totp_seed]
  cookies: true
  cookie_values: {csrf: XSRF-TOKEN}
  steps:
    page: {request: {path: /app, follow: true}, answers: [{status: 200, html: "input[name=email]", then: password}]}
    password:
      request: {submit: "input[name=email]", form: {email: "${username}", password: "${password}"}, follow: true}
      answers:
        - {status: 200, html: "input[name=otp]", then: code}
        - {status: 200, html: "input[name=email]", then: refused, cause: password}
    code:
      request: {submit: "input[name=otp]", form: {otp: "${code}"}, follow: true}
      answers:
        - {status: 200, html: "input[name=otp]", then: refused, cause: code}
        - {status: 200, type: text/html, text: Welcome, then: done}
  session: {expires_at: {cookie_expires: portal}}
  headers: {X-XSRF-TOKEN: "${csrf}"}
jobs:
  trigger:
    request: {method: POST, path: /api/exports, json: {kind: "${sync_type}"}}
    job_id: {header: Location, segment: -1}
  status:
    request: {path: /api/exports, query: {start: 2}}
    job: "exports[?ends_with(href, join('', ['/', ${job_id}]))] | [0]"
  running:
    request: {path: /api/exports}
    jobs: "exports[?state != 'SUCCEEDED']"
    pages: {by: link}
  recent: {request: {path: /api/exports}, jobs: exports, pages: {by: link}}
  fields: {job_id: {body: href, segment: -1}, status: state, sync_type: kind, start_time: created, user_id: null}
  words: {pending: QUEUED, running: RUNNING, completed: SUCCEEDED, failed: FAILED}
""")


def ran(home: Path, service: Any, profile: dict[str, Any], *, times: int = 1, **changed: str) -> list[RunOutput]:
    """So many runs with that profile and one state; the service's routes answer."""
    (home / "secrets").mkdir(exist_ok=True)
    for name, text in {**service.secrets, **changed}.items():
        (home / "secrets" / name).write_text(text, encoding="utf-8")
        (home / "secrets" / name).chmod(0o600)
    (home / "own.yaml").write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    own, state = str(home / "own.yaml"), home / "state"
    with ScriptedApi(service.routes()) as api:
        return [run_here(api.base_url, home / "secrets", "nightly", profile=own, state=state) for _ in range(times)]


def test_a_portal_of_forms_whose_csrf_value_changes_with_each_response(tmp_path: Path) -> None:
    pytest.importorskip("selectolax")
    portal = Portal()
    ended, again = ran(tmp_path, portal, PORTAL, times=2)
    assert (ended.code, ended.errors, portal.refused, portal.logins) == (0, "", [], 1)
    assert [one.result.results[0].job.job_id for one in (ended, again)] == ["100", "101"]  # type: ignore[union-attr]
    assert (again.code, again.errors) == (0, "")


def test_a_wrong_password_at_the_portal_is_told_by_its_cause(tmp_path: Path) -> None:
    pytest.importorskip("selectolax")
    (ended,) = ran(tmp_path, Portal(), PORTAL, password="other")
    assert ended.code == 3
    assert "password" in ended.errors


class Till(Service):
    """An API that says no with 200 and `success: false`, gives its token in a header and takes it in another, whose ids are
    whole numbers, whose states are numbers, and whose codes have 8 digits of SHA-256."""

    def __init__(self) -> None:
        super().__init__()
        self.token = ""
        self.polls = 0

    def routes(self) -> dict[str, Route]:
        return {"POST /rpc/login": self.login, "POST /rpc/start": self.start, "POST /rpc/show": self.show}

    def login(self, seen: Asked) -> Answers:
        if hashlib.sha256(seen.json["pass"].encode()).hexdigest() != hashlib.sha256(b"pw").hexdigest():
            return Answers({"success": False, "error": {"code": 17, "text": "bad login"}})
        if not self.takes(seen.json.get("otp")):
            return Answers({"success": False, "error": {"code": 18, "text": "bad code"}})
        self.token = secrets.token_hex(8)
        return Answers({"success": True}, 200, (("X-Auth-Token", self.token), ("X-Auth-Ttl", "600000")))

    def start(self, seen: Asked) -> Answers:
        if seen.headers.get("X-Auth-Token") != self.token:
            return Answers({"success": False, "error": {"code": 1, "text": "who are you"}})
        return Answers({"success": True, "result": {"id": 4711, "state": 0}})

    def show(self, seen: Asked) -> Answers:
        if seen.json != {"id": "4711"} or seen.headers.get("X-Auth-Token") != self.token:
            return Answers({"success": False, "error": {"code": 1, "text": "who are you"}})
        self.polls += 1
        return Answers(
            {"success": True, "result": {"id": 4711, "state": 1 if self.polls < 3 else 2, "begun": time.time() * 1e3}}
        )


TILL: dict[str, Any] = yaml.safe_load(r"""
version: 1
description: A till
auth:
  secrets: [username, password, totp_seed]
  steps:
    login:
      request: {method: POST, path: /rpc/login, json: {user: "${username}", pass: "${password}", otp: "${code}"}}
      answers:
        - {status: 200, when: "success", then: done}
        - {status: 200, when: "error.code == `17`", then: refused, cause: password}
        - {status: 200, when: "error.code == `18`", then: refused, cause: code}
  session: {access_token: {header: X-Auth-Token}, expires_in: {header: X-Auth-Ttl, unit: ms}}
  headers: {X-Auth-Token: "${access_token}"}
  expired: [{status: 200, when: "error.code == `1`"}]
  message: error.text
jobs:
  trigger: {request: {method: POST, path: /rpc/start, json: {what: "${sync_type}"}}, job: result}
  status: {request: {method: POST, path: /rpc/show, json: {id: "${job_id}"}}, job: result}
  fields: {job_id: id, status: state, start_time: begun, sync_type: null}
  words: {pending: 0, running: 1, completed: 2, failed: [3, -1]}
errors: {message: error.text, when: ["success == `false`"]}
""")


def test_an_api_that_says_no_with_200_and_speaks_in_numbers(tmp_path: Path) -> None:
    (ended,) = ran(tmp_path, Till(), TILL)
    assert (ended.code, ended.errors) == (0, "")
    job = ended.result.results[0].job
    assert job is not None
    assert job.job_id == "4711"


def test_a_no_with_200_is_a_refused_login_with_the_apis_words(tmp_path: Path) -> None:
    (ended,) = ran(tmp_path, Till(), TILL, password="x")
    assert ended.code == 3
    assert "bad login" in ended.errors


class Grant(Service):
    """An authorization server with PKCE for a public client, rotating refresh tokens, and an API beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.challenge, self.code, self.access, self.refresh = "", "", "", ""
        self.polls = 0
        self.grants: list[str] = []

    def routes(self) -> dict[str, Route]:
        return {
            "POST /authorize": self.authorize, "POST /token": self.exchange, "POST /jobs": self.start, "GET /jobs/a": self.show,
        }  # fmt: skip

    def authorize(self, seen: Asked) -> Answers:
        form = seen.form
        if (
            (form["user"], form["password"]) != ("bob", "pw")
            or form["code_challenge_method"] != "S256"
            or not self.takes(form["otp"])
        ):
            return Answers(status=302, headers=(("Location", "/login?error=access_denied"),))
        self.challenge, self.code = form["code_challenge"], secrets.token_urlsafe(16)
        to = f"http://127.0.0.1/callback?code={self.code}&state={form['state']}"
        return Answers(status=302, headers=(("Location", to),))

    def exchange(self, seen: Asked) -> Answers:
        form = seen.form
        self.grants.append(form["grant_type"])
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            good = (
                form["code"] == self.code and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.challenge
            )
        else:
            good = form["refresh_token"] == self.refresh
        if not good:
            return Answers({"error": "invalid_grant"}, 400)
        self.code, self.access, self.refresh = "", secrets.token_hex(6), secrets.token_hex(6)
        return Answers(
            {"access_token": self.access, "refresh_token": self.refresh, "expires_in": 3600, "token_type": "Bearer"}
        )

    def start(self, seen: Asked) -> Answers:
        return self.checked(seen, Answers({"id": "a", "status": "pending"}, 202))

    def show(self, seen: Asked) -> Answers:
        self.polls += 1
        if self.polls == 2:
            self.access = "revoked"
        return self.checked(seen, Answers({"id": "a", "status": "running" if self.polls < 5 else "completed"}))

    def checked(self, seen: Asked, good: Answers) -> Answers:
        return (
            good
            if seen.headers.get("Authorization") == f"Bearer {self.access}"
            else Answers({"error": "invalid_token"}, 401)
        )


GRANT: dict[str, Any] = yaml.safe_load(r"""
version: 1
description: A public client with PKCE
auth:
  secrets: [username, password, totp_seed]
  steps:
    authorize:
      request:
        method: POST
        path: /authorize
        form: {user: "${username}", password: "${password}", otp: "${code}", state: "${random.state}",
               code_challenge: "${pkce.challenge}", code_challenge_method: S256}
      answers:
        - {status: 302, header: {Location: "error="}, then: refused}
        - {status: 302, then: token, carry: {grant: {header: Location, query: code}}, match: {random.state: {header: Location, query: state}}}
    token:
      request: {method: POST, path: /token, form: {grant_type: authorization_code, code: "${grant}", code_verifier: "${pkce.verifier}"}}
      answers: [{status: 200, then: done}, {status: 400, then: refused, cause: token}]
  session: {access_token: access_token, refresh_token: refresh_token, expires_in: expires_in}
  refresh: {request: {method: POST, path: /token, form: {grant_type: refresh_token, refresh_token: "${refresh_token}"}}}
jobs:
  trigger: {request: {method: POST, path: /jobs, json: {kind: "${sync_type}"}}}
  status: {request: {path: "/jobs/${job_id}"}}
  fields: {job_id: id}
""")


def test_a_public_client_with_pkce_and_a_token_that_is_revoked_in_mid_watch(tmp_path: Path) -> None:
    grant = Grant()
    (ended,) = ran(tmp_path, grant, GRANT)
    assert (ended.code, ended.errors) == (0, "")
    assert grant.grants == ["authorization_code", "refresh_token"]


def test_the_value_that_is_sent_back_is_the_decoded_one() -> None:
    portal = Portal()
    (line,) = [value for name, value in portal.renewed(Answers()).headers if name == "Set-Cookie"]
    found = re.match(r"XSRF-TOKEN=([^;]+)", line)
    assert found
    assert unquote(found[1]) == portal.csrf != found[1]
