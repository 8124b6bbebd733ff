"""Answers that are no answers, by the hundred, at every endpoint: `python -m tests.campaign.jobs hostile`."""

import json
import multiprocessing
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from runner.sandbox.command import write_secrets
from runner.state.record import AccountState
from tests.campaign.faults import keyless_profile
from tests.campaign.figures import Figures
from tests.campaign.watching import SlowApi, write_secrets_of
from tests.support.clock import LinkedClock
from tests.support.in_process import command_here
from tests.support.sessions import session
from tests.support.stores import directory_store, save

ENDPOINTS = (
    "trigger",
    "cancel",
    "status",
    "login",
    "challenge",
    "code",
    "refresh",
    "list",
    "recent",
)  # the slow ones first
GROWTH_KIB = 16 * 1024
# Deadlines: where many a body says that the job runs on, or is asked for three times, a short one ends it; where a busy
# machine did not come so far as to ask for the body, the long one follows.
SHORT = {"status": "400ms", "cancel": "400ms", "trigger": "1s"}
LONG = "10s"
SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
WARM = 25  # bodies until everything is imported and every cache is filled

JOB = {
    "job_id": "job-1", "user_id": "u-1", "sync_type": "health", "status": "running", "progress": 12.5,
    "start_time": "2099-06-30T06:00:00Z", "end_time": None, "error_message": None, "total_items": 8, "processed_items": 1,
}  # fmt: skip
SESSION = {
    "success": True, "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 900,
    "session_id": "s", "scope": "sync", "user": {"id": "u-1", "email": "a@example.org"},
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "login": SESSION,
    "challenge": {"success": False, "error": "a code is wanted", "mfa_required": True, "mfa_challenge_id": "c-1", "mfa_type": "totp"},
    "code": SESSION,
    "refresh": {"success": True, "access_token": "t2", "refresh_token": "r2", "token_type": "bearer", "expires_in": 900},
    "trigger": {"success": True, "job_id": "job-1", "status": "pending", "message": "accepted"},
    "status": {"success": True, "jobs": [JOB]},
    "list": {"success": True, "jobs": [JOB]},
    "recent": {"success": True, "jobs": [JOB]},
    "cancel": JOB,
}  # fmt: skip

# What a field may be instead: JSON, as text. Each breaks a promise of its own.
VALUES = (
    "null", "true", "-1", "0", "101", "1e999", "-1e999", "NaN", "Infinity", "9" * 5000, "1e-999", "0.1", "1e15", "-0.0",
    '""', '" "', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\u2028\\u2029\\u0085"', '"\\n\\r\\t\\u001b[31m"', '"%s%n{}"',
    '"' + "x" * 100_000 + '"', '"../../etc/passwd"', '"\\"}\\n{\\"event\\": \\"forged\\"}"', '"completed"', '"COMPLETED"', '"\u202e"',
    "[]", "{}", "[null]", "[[[[[[]]]]]]", '{"a": {"b": {"c": {}}}}', "[" * 3000 + "]" * 3000, '{"__proto__": 1}', "[1, [2, [3]]]",
)  # fmt: skip


def bodies(endpoint: str, count: int, seed: int = 1) -> Iterator[bytes]:
    """Malformed bodies: each field with each value, then cuts, swaps and noise of the good one."""
    good = GOOD[endpoint]
    fields = good["jobs"][0] if "jobs" in good else good
    made: list[bytes] = []
    for name in fields:
        for value in VALUES:
            changed = {**{key: json.dumps(kept) for key, kept in fields.items()}, name: value}
            text = "{" + ", ".join(f'"{key}": {kept}' for key, kept in changed.items()) + "}"
            made.append((f'{{"success": true, "jobs": [{text}]}}' if "jobs" in good else text).encode())
    rng = random.Random(seed)
    whole = json.dumps(good).encode()
    made += [value.encode() for value in VALUES]
    made += [b"", b" ", b"\xef\xbb\xbf" + whole, whole.decode().encode("utf-16"), whole * 2, b"[" + whole + b"]"]
    made += [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"[" + b"{}," * 300_000 + b"{}]",
        b" " * (1 << 20) + whole,
        b"\xff" * 5000,
    ]
    while len(made) < count or len(made) % 50:
        cut, noise = rng.randrange(len(whole)), rng.randbytes(rng.randint(1, 20))
        made.append(whole[:cut] + noise + whole[cut + rng.randint(0, 9) :])
    rng.shuffle(made)
    yield from made[: max(count, WARM + 1)]


class HostileApi(SlowApi):
    """Good answers but for one endpoint, whose body is the one that is set; `met` says whether anybody asked for it."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(LinkedClock(), 1.0)
        self._hostile = endpoint
        self.body = b""
        self.met = False

    def answer(self, path: str, asked: bytes) -> tuple[int, bytes] | None:
        """A good answer, or the body that is set."""
        endpoint = self._endpoint(path, asked)
        status = 401 if endpoint == "challenge" else 200
        if endpoint == self._hostile:
            self.met = True
            return status, self.body
        if endpoint == "trigger" and self._hostile == "list":
            return None  # lost, so that the listing is asked
        good = GOOD[endpoint]
        if endpoint == "status" and self._hostile != "cancel":
            good = {"success": True, "jobs": [{**JOB, "status": "completed"}]}
        if endpoint == "list" and self._hostile == "trigger":
            good = {"success": True, "jobs": []}
        return status, json.dumps(good).encode()

    def _endpoint(self, path: str, asked: bytes) -> str:
        name = path.split("?")[0].rsplit("/", 1)[-1]
        if name == "status" and "job_id=" not in path:
            return "recent" if self._hostile == "recent" else "list"
        if name == "login" and self._hostile in ("challenge", "code"):
            return "code" if b"mfa_code" in asked else "challenge"
        return name


def attacked(endpoint: str, count: int) -> dict[str, Any]:
    """The whole command line in this process, once for each body. What it wrote and how much memory it took."""
    found: Counter[int] = Counter()
    wrong: list[str] = []
    lines = 0
    with tempfile.TemporaryDirectory() as place, HostileApi(endpoint) as api:
        home = Path(place)
        write_secrets_of(home / "secrets")
        if endpoint in ("challenge", "code"):
            write_secrets(home / "secrets", {"totp_seed": SEED})
        words = _words(endpoint, home, api.base_url)
        before = 0
        for number, body in enumerate(bodies(endpoint, count)):
            if number == WARM:
                before = _peak_kib(restart=True)
            api.body, api.met = body, False
            state = home / f"state-{number}"
            if endpoint == "refresh":
                old = session("t0", refresh_token="r0", expires_at=1.0)
                save(directory_store(state, api.base_url, "somebody"), AccountState(old))
            for seconds in (SHORT.get(endpoint, LONG), LONG):
                code, out, err = command_here([*words, "--state-dir", str(state), "--set", f"deadline.sync={seconds}"])
                if api.met:
                    break
            found[code] += 1
            told = _unfit(code, out, err, rows=endpoint == "recent") if api.met else "the body was not asked for"
            lines += err.count("\n")
            if told:
                wrong.append(f"{endpoint}, {body[:120]!r}: {told}")
        growth = _peak_kib() - before
    return {"codes": found, "wrong": wrong, "bodies": number + 1, "lines": lines, "growth": growth}


def _words(endpoint: str, home: Path, base_url: str) -> list[str]:
    words = ["--base-url", base_url, "--secrets-dir", str(home / "secrets")]
    words += ["status", "--json"] if endpoint == "recent" else ["run", "health", "--report", "-"]
    for setting in ("log.level=debug", "log.format=json", "retry.wait=1ms", "retry.attempts=2", "poll.min=1ms"):
        words += ["--set", setting]
    if endpoint == "list":
        words += ["--profile", str(keyless_profile(home))]
    return words


def _unfit(code: int, out: str, err: str, *, rows: bool = False) -> str | None:
    """What is wrong with what a command wrote: one report, or a row for each job."""
    if code not in (0, 3, 6, 7, 8, 9):
        return f"code {code}: {err[-600:]}"
    if not err.endswith("\n") or "Traceback" in err:
        return f"no lines, or a traceback: {err[-300:]}"
    try:
        for line in err.split("\n")[:-1]:
            _object(line)
        told = [_object(part) for part in (out.split("\n")[:-1] if rows else [out])]
    except (ValueError, TypeError) as error:
        return f"no JSON object: {error}"
    return None if rows or told[0]["exit_code"] == code else f"a report with another code than {code}: {told}"


def _object(line: str) -> dict[str, Any]:
    """The one JSON object of a line. Raises ValueError or TypeError for anything else, NaN too."""
    found = json.loads(line, parse_constant=_refused)
    if not isinstance(found, dict):
        raise TypeError(f"{line[:80]} is no object")
    return found


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _peak_kib(*, restart: bool = False) -> int:
    """The most resident memory so far, in KiB; counted anew from here on where asked (proc(5), clear_refs)."""
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def hostile(count: int = 450, only: str = "", workers: int = 6) -> Figures:
    """Every body at every endpoint, or `only` at one. Fails on a crash, a line that is no JSON object, or memory that grows."""
    endpoints = (only,) if only else ENDPOINTS
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        made = dict(zip(endpoints, pool.map(attacked, endpoints, [count] * len(endpoints)), strict=True))
    wrong = [fault for one in made.values() for fault in one["wrong"]]
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:30])
    growth = {endpoint: one["growth"] for endpoint, one in made.items()}
    assert max(growth.values()) < GROWTH_KIB, growth
    codes: Counter[int] = sum((one["codes"] for one in made.values()), Counter())
    return {
        "bodies": {endpoint: one["bodies"] for endpoint, one in made.items()},
        "runs": codes.total(),
        "exit codes": dict(sorted(codes.items())),
        "log lines, each one JSON object": sum(one["lines"] for one in made.values()),
        "peak memory growth KiB": growth,
        "python": sys.version.split()[0],
    }
