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

LOGS = (
    '  logs: {request: {path: "/jobs/${job_id}/log", query: {from: "${cursor}"}}, cursor: {start: 0, count: bytes}}\n'
)
FILES = '  artifacts: {request: {path: "/jobs/${job_id}/${file}"}, names: [a.csv, b.csv]}\n'
RICH = GOOD + LOGS + FILES + "errors: {message: error.text}\n"
# what was wrong, and what the message must say: the key, and what to write instead
TOLD: dict[str, tuple[str, str, str]] = {
    "key of another part": ("jobs: items", "job: items", "jobs.running.job: no such key here; did you mean `jobs`?"),
    "key of no part": ("jobs: items", "jobs: items, order: newest", "jobs.running.order: no such key here; known here: accepted, jobs, pages"),
    "word of no list": ("status: 401, then: refused}]", "status: 401, then: refused, cause: secret}]", "must be one of 'password', 'code'"),
    "number in quotes": ("{status: 202,", "{status: '202',", "answers.1.status: must be a whole number, without quotes"),
    "rule as text": ("  refresh: {request: {method: POST", "  expired: over\n  refresh: {request: {method: POST", "auth.expired: must be a status without quotes, or a rule"),
    "a lifetime instead of its place": ("expires_in: ttl", "expires_in: 3600", "auth.session.expires_in: must be the place of a value in the response"),
    "null as word": ("running: busy", "running: null", "jobs.words.running: a status word is text, a whole number"),
    "name in capitals": ("carry: {ticket: ticket}", "carry: {Ticket: ticket}", "carry.Ticket: a name consists of a-z, 0-9 and _"),
    "a whole address as path": ("path: /login", "path: 'https://a.example/login'", "must begin with /; the host is in `base_url`"),
    "empty list": ("answers: [{status: 200, then: done}, {status: 401, then: refused}]", "answers: []", "auth.steps.code.answers: must not be empty"),
    "placeholder in braces": ('k: "${sync_type}"', 'k: "{sync_type}"', "json.k: would be sent as it stands; write ${sync_type}"),
    "placeholder of a template language": ('c: "${code}"', 'c: "{{ code }}"', "json.c: would be sent as it stands; write ${code}"),
    "placeholder of a shell of Windows": ('c: "${code}"', 'c: "%code%"', "json.c: would be sent as it stands; write ${code}"),
    "placeholder after a word": ("  session: {", '  headers: {Authorization: "Bearer {access_token}"}\n  session: {', "would be sent as it stands; write ${access_token}"),
    "placeholder in angle brackets": ('"/jobs/${job_id}"}}\n  running', '"/jobs/<job_id>"}}\n  running', "has a placeholder of another language"),
    "true without backticks": ("jobs: items", 'jobs: "items[?on == true]"', "in JMESPath true is the name of a key; write `true` in backticks"),
    "None of Python": ("jobs: items", 'jobs: "items[?None != on]"', "in JMESPath None is the name of a key; write `null` in backticks"),
    "TRUE in capitals": ("jobs: items", 'jobs: "items[?TRUE == on]"', "in JMESPath TRUE is the name of a key; write `true` in backticks"),
    "JSONPath": ("jobs: items", "jobs: $.items", "without the $ of JSONPath: a.b"),
    "JSON pointer": ("jobs: items", "jobs: /a/items", "a.b in place of the JSON pointer"),
    "one equals sign": ("jobs: items", "jobs: \"items[?k = 'x']\"", "== compares"),
    "a number without backticks": ("jobs: items", 'jobs: "items[?size > 5]"', "a number stands in backticks"),
    "a key with a dash": ("access_token: token", "access_token: data.access-token", "a key with a dash stands in double quotes"),
    "a lifetime with a unit": ("expires_in: ttl", "expires_in: 30m", "a key that begins with a digit stands in double quotes"),
    "placeholder as the name of a field": ('u: "${username}"', 'u: "${username}", "{username}": x', "would be sent as it stands; write ${username}"),
    "text in backticks": ("jobs: items", 'jobs: "items[?k == `abc`]"', "`abc` in backticks is not JSON; write a text as 'abc'"),
    "status of no job": ('status: {request: {path: "/jobs/${job_id}"}}', "status: {request: {path: /job}}", "jobs.status.request: names no job"),
    "cancel of no job": ('{method: DELETE, path: "/jobs/${job_id}"', '{method: DELETE, path: "/jobs"', "jobs.cancel.request: names no job"),
    "log without its cursor": ('from: "${cursor}"', "from: 0", "jobs.logs.request: does not use ${cursor}: each part would be the first"),
    "files without their names": ("/jobs/${job_id}/${file}", "/jobs/${job_id}/file", "jobs.artifacts.request: does not use ${file}"),
    "a file above its directory": ("[a.csv, b.csv]", "[a.csv, ../b.csv]", "jobs.artifacts.names.1: the file name has an empty part, `.` or `..`"),
    "a file twice": ("[a.csv, b.csv]", "[a.csv, a.csv]", "jobs.artifacts.names.1: the file name is listed twice"),
    "jobs by a key that is not asked for": ("  running:", "  by_key: {request: {path: /jobs}, jobs: items}\n  running:", "jobs.by_key.request: does not use ${idempotency_key}"),
    "trigger by GET": ('{method: POST, path: /jobs, json: {k: "${sync_type}", key: "${idempotency_key}"}}', '{path: /jobs, query: {k: "${sync_type}", key: "${idempotency_key}"}}', "jobs.trigger.request: has no `method`"),
    "cancel by GET": ("{method: DELETE, path:", "{path:", "jobs.cancel.request: has no `method`"),
    "rule without a condition": ("idempotent: true", "idempotent: true, conflict: [{}]", "jobs.trigger.conflict.0: a rule without a condition matches every response"),
    "every good answer is an error": ("{message: error.text}", "{when: [{status: 200}]}", "errors.when: 200 alone is every good response"),
    "every good answer means slower": ("{message: error.text}", "{rate_limit: {status: [200, 429]}}", "errors.rate_limit: 200 alone"),
    "header that is no name": ("access_token: token", "access_token: {header: 'X-Token:'}", "is not the name of a header or cookie"),
    "header of a rule that is no name": ("{status: 202,", "{status: 202, header: {X Token: a},", "`X Token` is not the name of a header or cookie"),
    "header of the client": ("trigger: {request: {", "trigger: {request: {headers: {Content-Length: '5'}, ", "Content-Length: the HTTP client sets this header itself"),
    "token that no header sends": ("  session: {", "  headers: {X-Client: runner}\n  session: {", "auth.headers: no header sends ${access_token}"),
    "lifetime that is a moment": ("expires_in: ttl", "expires_in: {body: token, jwt: exp}", "auth.session.expires_in: this is a moment, not a lifetime; give it as `expires_at`"),
    "random value that is not sent": ("carry: {ticket: ticket}", "carry: {ticket: ticket}, match: {random.state: state}", "match.random.state: no step sends ${random.state}"),
    "secret twice": ("[username, password, totp_seed]", "[username, username, password, totp_seed]", "auth.secrets.1: `username` is listed twice"),
    "parameter that is not used": ("{day: {type: string}", "{dag: {type: string}, day: {type: string}", "parameters.dag: no request uses ${params.dag}"),
    "steps that lead nowhere": ("answers: [{status: 200, then: done}, {status: 401, then: refused}]", "answers: [{status: 200, then: code}]", "auth.steps.code: no response leads from this step to an end"),
    "steps beside the way": ("  session: {", "    x: {request: {path: /x}, answers: [{then: y}, {status: 400, then: done}]}\n    y: {request: {path: /y}, answers: [{then: x}]}\n  session: {", "auth.steps.x: no response leads to this step from the first one"),
    "octal word": ("completed: done", "completed: 007", "YAML reads `007` as 7; write '007' in quotes"),
    "word of a clock": ("completed: done", "completed: 12:30", "YAML reads `12:30` as 750"),
    "tab": ("\n  session", "\n\tsession", "indent with spaces, not with tabs"),
    "placeholder without quotes": ('{path: "/jobs/${job_id}"}}\n  running', "{path: /jobs/${job_id}}}\n  running", 'put a text with ${...} in quotes'),
    "at sign": ("jobs: items", "jobs: @", "put a text that begins with @ in quotes"),
    "no space after a colon": ("\n  words:", "\n  progress:percent\n  words:", "write a space after the colon"),
    "colon in a text": ("description: An API", "description: An API: mine", "put a text with a colon and a space in quotes"),
    "brace left open": ("parameters: {day: {type: string}, ", "parameters: {day: {type: string, ", "close each { and ["),
}  # fmt: skip


@pytest.mark.parametrize("mistake", TOLD)
def test_a_mistake_is_named_by_its_key_with_what_to_write_instead(mistake: str) -> None:
    right, wrong, told = TOLD[mistake]
    assert right in RICH
    with pytest.raises(UsageError) as error:
        profiles.parse(yaml_source.parse(RICH.replace(right, wrong, 1).encode(), "own.yaml"))
    assert told in str(error.value)
    for words in ("Input should", "Tuple", "Value error", "pattern '"):  # pydantic's
        assert words not in str(error.value)


def test_an_entry_of_a_list_that_is_wrong_does_not_make_the_list_empty() -> None:
    text = RICH.replace("access_token: token", "access_token: {headr: X-T}")
    with pytest.raises(UsageError) as error:
        profiles.parse(yaml_source.parse(text.encode(), "own.yaml"))
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize(
    "right",
    [
        'json: {query: "{ jobs { job_id status } }", k: "${sync_type}", key: "${idempotency_key}"}',  # GraphQL
        'json: {note: "a {job_id} of ours", k: "${sync_type}", key: "${idempotency_key}"}',
        'json: {k: "${sync_type}", key: "${idempotency_key}", n: 12, m: -1, z: 0}',
    ],
)
def test_what_only_looks_like_a_mistake_is_read(right: str) -> None:
    text = RICH.replace('json: {k: "${sync_type}", key: "${idempotency_key}"}', right)
    assert profiles.parse(yaml_source.parse(text.encode(), "own.yaml"))


def test_the_profile_without_a_mistake_is_read() -> None:
    assert profiles.parse(yaml_source.parse(GOOD.encode(), "own.yaml"))
    assert profiles.parse(yaml_source.parse(RICH.encode(), "own.yaml"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_with_its_line_and_key(mistake: str) -> None:
    right, wrong = MISTAKES[mistake]
    assert right in GOOD
    text = GOOD.replace(right, wrong, 1)
    with pytest.raises(UsageError) as error:
        profiles.parse(yaml_source.parse(text.encode(), "own.yaml"))
    assert str(error.value).startswith("own.yaml:")


@pytest.mark.parametrize(
    "at", ["{header: Location, segment: -1}", "{body: url, jwt: sub}", "{bdy: url}", "{segment: 1}", "5"]
)
def test_an_id_of_a_job_stands_in_the_job(at: str) -> None:
    text = RICH.replace("jobs:\n", f"jobs:\n  fields: {{job_id: {at}}}\n", 1)
    with pytest.raises(UsageError, match=r"own.yaml:\d+: jobs.fields.job_id"):
        profiles.parse(yaml_source.parse(text.encode(), "own.yaml"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('  session: {', '  cookie_values: {csrf: X-SRF}\n  session: {'), "auth.cookie_values: needs `cookies: true`"),
        (('  session: {', '  cookies: true\n  cookie_values: {csrf: "X SRF"}\n  session: {'), "is not the name of a header or cookie"),
        (('  session: {', '  cookies: true\n  cookie_values: {csrf: X-SRF}\n  session: {'), "auth.cookie_values.csrf: no request uses ${csrf}"),
        (('  session: {', '  cookies: true\n  cookie_values: {ticket: X-SRF}\n  session: {'), "`ticket` already has a meaning"),
    ],
)  # fmt: skip
def test_values_of_cookies_are_named_and_used(change: tuple[str, str], told: str) -> None:
    with pytest.raises(UsageError) as error:
        profiles.parse(yaml_source.parse(RICH.replace(*change, 1).encode(), "own.yaml"))
    assert told in str(error.value)
