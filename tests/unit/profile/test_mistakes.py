"""What is wrong and can be seen without the server is an error when the profile is read: one mistake of each kind."""

import pytest

from runner import profile as profiles
from runner import yaml_source
from runner.errors import UsageError

GOOD = """
version: 1
description: An API
parameters: {day: {type: string}, team: {type: string, required: true}}
auth:
  secrets: [username, password, totp_seed]
  steps:
    password:
      request: {method: POST, path: /login, json: {u: "${username}", p: "${password}"}}
      answers: [{status: 200, then: done}, {status: 202, then: code, carry: {ticket: ticket}}, {status: 401, then: refused}]
    code:
      request: {method: POST, path: /code, json: {t: "${ticket}", c: "${code}"}}
      answers: [{status: 200, then: done}, {status: 401, then: refused}]
  session: {access_token: token, refresh_token: refresh, expires_in: ttl}
  refresh: {request: {method: POST, path: /refresh, json: {r: "${refresh_token}"}}}
jobs:
  lookups: [{request: {path: "/find/${params.team}"}, carry: {flow: id}}]
  trigger: {request: {method: POST, path: /jobs, json: {k: "${sync_type}", key: "${idempotency_key}"}}, idempotent: true}
  status: {request: {path: "/jobs/${job_id}"}}
  running: {request: {path: /jobs}, jobs: items}
  cancel: {request: {method: DELETE, path: "/jobs/${job_id}", query: {day: "${params.day?}"}}}
  words: {pending: queued, running: busy, completed: done, failed: bad, cancelled: gone}
"""
MISTAKES: dict[str, tuple[str, str]] = {
    "unknown key": ("description:", "desription:"),
    "step never reached": ("status: 202, then: code", "status: 202, then: refused"),
    "then nowhere": ("then: code", "then: kode"),
    "then case": ("then: done}, {status: 202", "then: Done}, {status: 202"),
    "secret not listed": ("[username, password, totp_seed]", "[username, totp_seed]"),
    "code without seed": ("[username, password, totp_seed]", "[username, password]"),
    "answer shadowed": ("{status: 202, then: code", "{status: 200, then: code"),
    "carry from a step that may not have run": ('u: "${username}", p', 'u: "${ticket}", x: "${username}", p'),
    "on as word": ("running: busy", "running: on"),
    "yes as word list": ("failed: bad", "failed: [no, bad]"),
    "word twice": ("failed: bad", "failed: [bad, done]"),
    "words lacks completed": ("completed: done, ", ""),
    "header in body place": ("access_token: token", "access_token: {headr: X-T}"),
    "bad css": ("access_token: token", 'access_token: {html: "input["}'),
    "bad regex": ("access_token: token", 'access_token: {text: "a("}'),
    "evil regex": ("access_token: token", 'access_token: {text: "(a+)+b"}'),
    "bad jmespath": ("jobs: items", 'jobs: "items[?"'),
    "jmespath quoted value": ("jobs: items", "jobs: \"items[?k == '${sync_type}']\""),
    "jmespath = for ==": ("jobs: items", 'jobs: "items[?k = ${sync_type}]"'),
    "unquoted number compare": ("jobs: items", 'jobs: "items[?k == 5]"'),
    "double quotes string": ("jobs: items", 'jobs: "items[?k == \\"a\\"]"'),
    "path without slash": ("path: /jobs, json", "path: jobs, json"),
    "whole url as path": ("path: /login", 'path: "https://api.example.org/login"'),
    "protocol relative path": ("path: /login", 'path: "//evil.example.org/login"'),
    "query in path": ("path: /jobs}, jobs", 'path: "/jobs?x=1"}, jobs'),
    "fragment in path": ("path: /jobs}, jobs", 'path: "/jobs#x"}, jobs'),
    "space in path": ("path: /jobs}, jobs", 'path: "/jo bs"}, jobs'),
    "dots in path": ("path: /jobs}, jobs", 'path: "/a/../jobs"}, jobs'),
    "GET with body": ("{method: POST, path: /jobs", "{path: /jobs"),
    "method lower": ("method: DELETE", "method: delete"),
    "param not known": ("${params.team}", "${params.teem}"),
    "param may be absent": ("${params.team}", "${params.day}"),
    "template typo": ('${job_id}"}}\n  running', '${jobid}"}}\n  running'),
    "shell style": ('"/jobs/${job_id}"}}\n  running', '"/jobs/$job_id"}}\n  running'),
    "mustache": ('"/jobs/${job_id}"}}\n  running', '"/jobs/{{job_id}}"}}\n  running'),
    "brace": ('"/jobs/${job_id}"}}\n  running', '"/jobs/{job_id}"}}\n  running'),
    "colon param": ('"/jobs/${job_id}"}}\n  running', '"/jobs/:id"}}\n  running'),
    "idempotent without key": (', key: "${idempotency_key}"', ""),
    "status code text": ("status: 200, then: done}, {status: 202", 'status: "200", then: done}, {status: 202'),
    "status 99": ("{status: 202", "{status: 99"),
    "accepted and conflict same": ("idempotent: true", "idempotent: true, accepted: 200, conflict: 200"),
    "accepted and missing same": (
        'status: {request: {path: "/jobs/${job_id}"}}',
        'status: {request: {path: "/jobs/${job_id}"}, accepted: [200, 404], missing: 404}',
    ),
    "expired and accepted same": ("idempotent: true", "idempotent: true, accepted: [200, 401]"),
    "header newline": ("trigger: {request: {", 'trigger: {request: {headers: {X-A: "a\\nb"}, '),
    "header name bad": ("trigger: {request: {", 'trigger: {request: {headers: {"X A": "a"}, '),
    "expires_in given a date key": ("expires_in: ttl", "expires_in: {body: ttl, unit: m}"),
    "refresh without place of refresh token": ("refresh_token: refresh, ", ""),
    "static with bearer access token": ("  steps:", "  stepz:"),
    "tabs": ("\n  session", "\n\tsession"),
    "duplicate key": ("  running: {request", '  status: {request: {path: "/x/${job_id}"}}\n  running: {request'),
    "login and auth": ("auth:\n", "login: n8n\nauth:\n"),
    "lookup uses job id": ("/find/${params.team}", "/find/${job_id}"),
    "sync_types empty param": ("{day: {type: string}", "{day: {type: text}"),
    "default wrong type": ("{day: {type: string}", "{day: {type: string, default: 3}"),
    "jwt of no claim": ("expires_in: ttl", 'expires_at: {body: token, jwt: "exp["}'),
    "segment text": ("access_token: token", "access_token: {header: Location, segment: last}"),
    "two places": ("access_token: token", "access_token: {header: A, body: b}"),
    "progress word": ("  words:", "  progress: percents\n  words:"),
    "version 2": ("version: 1", "version: 2"),
    "fields unknown": ("  words:", "  fields: {id: job_id}\n  words:"),
    "running list is a filter projection on nothing": ("jobs: items", 'jobs: ""'),
    "function arity": ("jobs: items", 'jobs: "length(items, 1)"'),
    "conflict named without conflict": ("idempotent: true", "idempotent: true, conflict: [], conflict_job_id: id"),
}


def test_the_profile_without_a_mistake_is_read() -> None:
    assert profiles.parse(yaml_source.parse(GOOD.encode(), "own.yaml"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_with_its_line_and_key(mistake: str) -> None:
    right, wrong = MISTAKES[mistake]
    assert right in GOOD
    text = GOOD.replace(right, wrong, 1)
    with pytest.raises(UsageError) as error:
        profiles.parse(yaml_source.parse(text.encode(), "own.yaml"))
    assert str(error.value).startswith("own.yaml:")
