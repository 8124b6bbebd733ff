"""Inputs that nobody would write, of nine kinds: code 1 (a defect) never comes, each ends in time, in bounded memory.

`python -m tests.campaign.fuzz runs=200000 [seed=N] [first=N] [processes=N] [kind=NAME]` is the campaign; `tests/integration/test_fuzz.py` runs a small part of it.
Everything runs in this process. The API is a transport of httpx whose headers or bodies are spoilt.
"""

import contextlib
import faulthandler
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

from runner import cli, errors
from runner.engine import account as engine_account
from runner.http.client import Client
from tests.campaign.canary_cases import QuickClock
from tests.campaign.figures import BROKEN, PART, Figures, cpu_minutes, in_parts, main
from tests.campaign.made_once import quick_runs

SECONDS = 60.0  # for one input, on a machine that does other things too
MIB = 512  # of one process
PIECES = [
    "", " ", "\0", "\n", "\r\n", "\t", "\x1b[2J", "\u202e", "\ud800", "\udcff", "é", "🙂", "²", "\uff11", "..", ".", "/", "%2e%2e", "//", "\\", "${x}", "${", "$$",
    "{", "}", "[", "]", "[[", "{}", "[]", "null", "true", "NaN", "Infinity", "-1", "0", "1e999", "9" * 400, "9" * 20, "0x10", "1_000", "-0", "1.5e308",
    "http://[x/jobs/1", "http://h:99999", "https://a..b", "http://[::1", "localhost,[::1]", "10.0.0.0/99", "socks4://x", "http://p:0", "*", ",", ":", "=", "a=b",
    "&a", "*a", "<<: x", "!!python/object:os.system x", "!!binary x", "? x", "- ", "#", "'", '"', "|", ">", "@", "`", "2026-13-99", "-99999999d", "last-success",
    "9999-12-31", "0001-01-01", "Mon, 01 Jan 0001 00:00:00 +2359", "gzip", "br", "a" * 5000, "x.y.z", "jobs[0]", "@", "a || b", "max(@)", "[?x]", "`1`",
    "1h30m", "1e9d", "-5s", "99999999999999d", "/dev/null", "/proc/self/mem", "/nonexistent", "::error::x", "##vso[x]", "__", "SYNC_RUNNER_",
]  # fmt: skip
CONFIG = b"""base_url: https://sync.example.org
syncs:
  - { type: activities, start: last-success }
  - { type: health, start: -7d, end: today }
deadline: { sync: 30m, run: 1h }
limits: { accounts: 3, polls_per_second: 2 }
params: { region: eu }
metrics: { pushgateway: { url: "http://127.0.0.1:9091" }, listen: "127.0.0.1:9464" }
notify: { webhook: { url: "https://hooks.example.org/x", body: '{"t": "${text}"}' } }
log: { level: info, progress_step: 10 }
"""


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with a few of its parts replaced, repeated, cut, or exchanged for odd pieces."""
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.choice((0, 1, 1, 4, 20, 200)))
        piece = rng.choice(PIECES).encode(errors="surrogatepass")
        new = rng.choice((piece, piece, bytes([rng.randrange(256)]), raw[at:end] * 2, b"", raw[:at]))
        raw = (raw[:at] + new + raw[end:])[:200_000]
    return raw


def text(rng: random.Random) -> str:
    """Some pieces in a row."""
    return "".join(rng.choice(PIECES) for _ in range(rng.choice((0, 1, 1, 2, 4))))


class Bench:
    """A directory with credentials, and one input after the other."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.rng, self.clock = home, random.Random(seed), QuickClock()
        self.secrets = home / "secrets"
        self.secrets.mkdir()
        for name, value in (
            ("username", "someone@example.org"),
            ("password", "xK9#vQ2m!pL7wz"),
            ("totp_seed", "JBSWY3DPEHPK3PXP"),
        ):
            (self.secrets / name).write_text(value)
            (self.secrets / name).chmod(0o600)
        profiles = Path(errors.__file__).parent / "profile" / "builtin"
        self.profiles = [path.read_bytes() for path in sorted(profiles.glob("*.yaml"))]
        self.state = home / "state"
        with self.answering(lambda path, answer: answer):
            code, _ = self.cli(
                ["--state-dir", str(self.state), "--set", "state.dir=" + str(self.state), "run", "health"]
            )
        assert code in (0, 4, 5), code
        self.kept = {
            path.relative_to(self.state): path.read_bytes() for path in self.state.rglob("*") if path.is_file()
        }

    def cli(self, words: list[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
        """The exit code of a command line, and what it wrote."""
        out, err = io.StringIO(), io.StringIO()
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SYNC_RUNNER_") and "PROXY" not in name.upper()
        }
        common = (
            [] if environment and "SYNC_RUNNER_BASE_URL" in environment else ["--base-url", "https://sync.example.org"]
        )
        with (
            mock.patch.dict(os.environ, {**clean, "LC_ALL": "C", **(environment or {})}, clear=True),
            quick_runs(self.clock),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.run([*common, "--secrets-dir", str(self.secrets), "--log-format", "json", *words])
        return code, out.getvalue() + err.getvalue()

    @contextlib.contextmanager
    def answering(self, spoil: Callable[[str, httpx.Response], httpx.Response]) -> Iterator[None]:
        """The API in the network's place; `spoil` changes its answers."""
        jobs: dict[str, str] = {}

        def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.path
            told = json.loads(request.content or b"{}") if request.content else {}
            made: Any = {"success": True, "error": "no"}
            status = 200
            if path.endswith("/login") and not told.get("mfa_code"):
                status, made = 401, {"success": False, "mfa_required": True, "mfa_type": "totp", "error": "code"}
            elif path.endswith("/login"):
                made = {"success": True, "session_id": "s1", "access_token": "ACCESS-0123456789", "refresh_token": "REFRESH-0123456789",
                        "token_type": "Bearer", "expires_in": 900, "mfa_required": True, "user": {"id": "u1"}}  # fmt: skip
            elif path.endswith("/trigger"):
                jobs[f"job-{len(jobs)}"] = told.get("sync_type", "health")
                made = {
                    "success": True,
                    "job_id": f"job-{len(jobs) - 1}",
                    "status": "pending",
                    "sync_type": told.get("sync_type"),
                }
            elif path.endswith("/status"):
                made = {
                    "success": True,
                    "jobs": [
                        {
                            "job_id": name,
                            "sync_type": kind,
                            "status": "completed",
                            "progress": 100,
                            "total_items": 3,
                            "processed_items": 3,
                            "user_id": "u1",
                        }
                        for name, kind in jobs.items()
                    ],
                }
            elif path.endswith("/cancel"):
                made = {"success": True, "job_id": told.get("job_id"), "status": "cancelled"}
            return spoil(path, httpx.Response(status, headers={"date": "Fri, 27 Nov 2026 03:00:00 GMT"}, json=made))

        transport = httpx.MockTransport(answer)
        with mock.patch.object(engine_account, "Client", partial(Client, transport=transport)):
            yield

    def variables(self) -> tuple[int, str]:
        """Settings and proxies by the environment."""
        names = [
            "BASE_URL",
            "SYNCS",
            "PROFILE",
            "TIME_ZONE",
            "DEADLINE__RUN",
            "LIMITS",
            "PARAMS__X",
            "ACCOUNTS",
            "SHARD",
            "STATE__DIR",
            "LOG__LEVEL",
            "RETRY__WAIT",
            "X",
            "PASSWORD",
            "NOTIFY__WEBHOOK__BODY",
            "METRICS__LISTEN",
            "CONFIG",
            "REPORT__FILE",
        ]
        chosen = {f"SYNC_RUNNER_{self.rng.choice(names)}": text(self.rng) for _ in range(self.rng.randrange(1, 3))}
        if self.rng.random() < 0.5:
            chosen |= {
                self.rng.choice(("HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy")): text(self.rng)
            }
        usable = {
            name: value.replace("\0", "").encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
            for name, value in chosen.items()
        }
        return self.cli(self.rng.choice((["config", "show"], ["check", "--no-login"])), usable)

    def settings(self) -> tuple[int, str]:
        """The YAML file, and --set."""
        path = self.home / "config.yaml"
        path.write_bytes(mutated(CONFIG, self.rng))
        extra = ["--set", text(self.rng).replace("\0", "")] if self.rng.random() < 0.2 else []
        return self.cli(
            ["--config", str(path), *extra, *self.rng.choice((["config", "show"], ["check", "--no-login"]))]
        )

    def profile(self) -> tuple[int, str]:
        """A profile."""
        path = self.home / "profile.yaml"
        path.write_bytes(mutated(self.rng.choice(self.profiles), self.rng))
        return self.cli(["profiles", "validate", str(path)])

    def secret_files(self) -> tuple[int, str]:
        """Secret files."""
        name = self.rng.choice(("username", "password", "totp_seed"))
        path = self.secrets / name
        before = path.read_bytes()
        seed = self.rng.choice(
            (before, b"otpauth://totp/A:b?secret=JBSWY3DPEHPK3PXP&digits=6&period=30&algorithm=SHA1")
        )
        path.write_bytes(mutated(seed, self.rng))
        try:
            with self.answering(lambda path, answer: answer):
                return self.cli(["check", *(["--no-login"] if self.rng.random() < 0.7 else [])])
        finally:
            path.write_bytes(before)

    def state_files(self) -> tuple[int, str]:
        """What a state directory holds."""
        place = self.home / "spoilt"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.state, place)
        name = self.rng.choice(sorted(self.kept))
        (place / name).write_bytes(mutated(self.kept[name], self.rng))
        with self.answering(lambda path, answer: answer):
            return self.cli(
                [
                    "--state-dir",
                    str(place),
                    *self.rng.choice((["status", "--offline"], ["check", "--no-login"], ["run", "health"])),
                ]
            )

    def folders(self) -> tuple[int, str]:
        """Names of account folders."""
        place = self.home / "accounts"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for _ in range(self.rng.randrange(1, 4)):
            raw = mutated(b"account", self.rng).replace(b"\0", b"").replace(b"/", b"")[:200]
            if raw not in (b"", b".", b".."):
                folder = os.path.join(os.fsencode(place), raw)  # noqa: PTH118 - names may be any bytes
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder)  # noqa: PTH102
                    for name in ("username", "password", "totp_seed"):
                        os.link(self.secrets / name, os.path.join(folder, name.encode()))  # noqa: PTH118
        words = [
            "--set",
            f"accounts_dir={place}",
            "--set",
            f"metrics.textfile={self.home / 'm.prom'}",
            "--set",
            f"report.junit={self.home / 'j.xml'}",
        ]
        with self.answering(lambda path, answer: answer):
            return self.cli([*words, *self.rng.choice((["check", "--no-login"], ["run", "health", "--report", "-"]))])

    def headers(self) -> tuple[int, str]:
        """Headers of answers."""
        names = [
            "Retry-After",
            "Location",
            "Date",
            "Content-Encoding",
            "Content-Type",
            "Set-Cookie",
            "Content-Length",
            "X",
            "X-RateLimit-Reset",
            "Transfer-Encoding",
            "Link",
        ]
        wanted = self.rng.choice(("/login", "/trigger", "/status"))

        def spoil(path: str, answer: httpx.Response) -> httpx.Response:
            if not path.endswith(wanted):
                return answer
            raw = [
                (self.rng.choice(names).encode(), text(self.rng).encode(errors="surrogatepass"))
                for _ in range(self.rng.randrange(1, 4))
            ]
            status = self.rng.choice(
                (
                    answer.status_code,
                    answer.status_code,
                    200,
                    201,
                    202,
                    204,
                    301,
                    307,
                    403,
                    404,
                    409,
                    425,
                    429,
                    500,
                    503,
                    520,
                    599,
                )
            )
            return httpx.Response(status, headers=[*answer.headers.raw, *raw], stream=httpx.ByteStream(answer.content))

        with self.answering(spoil):
            return self.cli(self.ended("run", "health", "--start", "-1d"))

    def bodies(self) -> tuple[int, str]:
        """Bodies of answers."""
        wanted = self.rng.choice(("/login", "/trigger", "/status"))

        def spoil(path: str, answer: httpx.Response) -> httpx.Response:
            if not path.endswith(wanted):
                return answer
            return httpx.Response(answer.status_code, stream=httpx.ByteStream(mutated(answer.content, self.rng)))

        with self.answering(spoil):
            return self.cli(self.ended(*self.rng.choice((["run", "health"], ["status"], ["check"]))))

    def streams(self) -> tuple[int, str]:
        """Output streams that are closed, full or break."""
        after = self.rng.randrange(5)

        class Broken(io.StringIO):
            calls = 0

            def write(self, text: str) -> int:
                self.calls += 1
                if self.calls > after:
                    raise self_error
                return len(text)

        self_error = self.rng.choice(
            (
                OSError(28, "No space left on device"),
                ValueError("I/O operation on closed file"),
                BrokenPipeError(32, "Broken pipe"),
            )
        )
        which = self.rng.choice(("stdout", "stderr"))
        with self.answering(lambda path, answer: answer), mock.patch.object(sys, which, Broken()):
            words = self.rng.choice((["run", "health", "--report", "-"], ["status"], ["config", "show"], ["check"]))
            with mock.patch.object(contextlib, f"redirect_{which}", lambda _stream: contextlib.nullcontext()):
                return self.cli(self.ended(*words))

    def ended(self, *words: str) -> list[str]:
        """The command with a run that ends soon, whatever the API says."""
        bounds = {
            "retry.attempts": 2,
            "retry.wait": "10ms",
            "poll.min": "5ms",
            "poll.max": "1s",
            "deadline.run": "20s",
            "deadline.sync": "10s",
        }
        return [*(word for key, value in bounds.items() for word in ("--set", f"{key}={value}")), *words]


KINDS: dict[str, Callable[[Bench], tuple[int, str]]] = {
    "variables": Bench.variables,
    "settings": Bench.settings,
    "profile": Bench.profile,
    "secrets": Bench.secret_files,
    "state": Bench.state_files,
    "folders": Bench.folders,
    "headers": Bench.headers,
    "bodies": Bench.bodies,
    "streams": Bench.streams,
}


def inputs(kind: str, count: int, seed: int) -> dict[str, Any]:
    """So many inputs of one kind: the exit codes, the faults (first lines of what was told), the longest time in seconds."""
    codes: Counter[int] = Counter()
    faults: Counter[str] = Counter()
    longest = 0.0
    memory = Path("/dev/shm")
    # Relative paths are among the inputs: what they make is made in there.
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home, contextlib.chdir(home):
        bench = Bench(Path(home), seed)
        for _ in range(count):
            began = time.monotonic()
            faulthandler.dump_traceback_later(10 * SECONDS, exit=True)  # it hangs
            try:
                code, told = KINDS[kind](bench)
            except BaseException:  # nothing may come out of the command line but a code
                code, told = 1, traceback.format_exc()[-600:]
            longest = max(longest, time.monotonic() - began)
            codes[code] += 1
            if code == 1 or "external text" in told:
                faults[next((line[-300:] for line in told.splitlines() if "unexpected" in line), told[-300:])] += 1
        faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"kind": kind, "codes": codes, "faults": dict(faults), "longest": round(longest, 2), "peak_mib": peak}


def part(kinds: tuple[str, ...], seed: int, numbers: range) -> dict[str, Any]:
    """The inputs with these numbers, of one kind."""
    index = numbers.start // PART
    made = inputs(kinds[index % len(kinds)], len(numbers), seed * 1_000_000 + index)
    return {"seed": seed, "first": numbers.start, **made}


def campaign(runs: int = 200_000, seed: int = 0, first: int = 0, processes: int = 2, kind: str = "") -> Figures:
    """So many inputs, 500 of one kind after 500 of another. A campaign that was ended goes on with `first`."""
    kinds = (kind,) if kind else tuple(KINDS)
    totals: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
    bad: list[dict[str, Any]] = []
    longest, peak = 0.0, 0
    for made in in_parts(partial(part, kinds), runs=runs, seed=seed, first=first, processes=processes):
        totals[made["kind"]].update(made["codes"])
        if made["faults"] or made["longest"] > SECONDS or made["peak_mib"] > MIB:
            bad.append(made)
            print(json.dumps(made), file=sys.stderr, flush=True)
        longest, peak = max(longest, made["longest"]), max(peak, made["peak_mib"])
    return {
        "seed": seed, "first": first, "inputs": {kind: codes.total() for kind, codes in totals.items()},
        "codes": dict(sorted(sum(totals.values(), Counter()).items())), "longest": longest, "peak_mib": peak,
        "cpu_minutes": cpu_minutes(), BROKEN: bad[:20],
    }  # fmt: skip


if __name__ == "__main__":
    main({"fuzz": campaign}, __doc__)
