"""Runs with a fault between runner and sandbox, judged by the server's record: `python -m tests.campaign.jobs faults`."""

import multiprocessing
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from runner import profile as profiles
from runner.sandbox import data
from runner.sandbox.command import write_secrets
from runner.sandbox.faults import Fault
from runner.sandbox.server import SandboxServer
from runner.sandbox.settings import SandboxSettings
from runner.state.ledger import Ledger
from runner.state.record import AccountState
from tests.support.faults.connections import (
    NAME_KINDS,
    TUNNEL_HOST,
    TUNNEL_KINDS,
    TUNNEL_LOGIN,
    Authority,
    names_failing,
    tls_kinds,
)
from tests.support.faults.guards import Hang, alarm, complaints
from tests.support.faults.kinds import KINDS
from tests.support.faults.proxy import ENDPOINTS, FaultProxy
from tests.support.faults.table import GONE, Class, Kind, expected, expected_outage
from tests.support.in_process import RunOutput, run_here
from tests.support.sessions import session
from tests.support.stores import directory_store, save

OUTAGE = "outage"  # every poll of two runs
PASSWORD = "pass word of the campaign"
# Which connection the first request to an endpoint makes, where each request makes one of its own (before a cancel, no
# status is asked for: see `NO_LOOKS`).
FIRST_CONNECTION = {"login": 0, "refresh": 0, "trigger": 1, "status": 2, "list": 2, "cancel": 2}
NO_LOOKS = {"min": 60.0}
KEYLESS = (
    ("    idempotent: true\n", ""),
    ('      headers: {Idempotency-Key: "${idempotency_key}"}\n', ""),
)
_KINDS = {kind.name: kind for kind in KINDS}
_RESET_AFTER = _KINDS["reset after"].spoil


@dataclass(frozen=True)
class Case:
    """One faulted run: the first `times` requests to `endpoint` meet the fault called `kind`.

    `OUTAGE` for the endpoint: every poll of two runs does, and the third run meets none.
    """

    kind: str
    endpoint: str
    times: int
    seed: int


@dataclass
class Tally:
    """What came of the cases."""

    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    spoiled: int = 0
    runs: int = 0


def cases(seeds: Iterable[int], kinds: Sequence[str] | None = None) -> Iterator[Case]:
    """Every kind at every endpoint, for the first one, two and three requests to it, and for all polls of two runs.

    A 404 or 410 for so long is the API's own word that the job is gone.
    """
    seeds = [*seeds]
    for name in kinds or [*_KINDS, *NAME_KINDS, *tls_names(), *TUNNEL_KINDS]:
        for endpoint in _KINDS[name].endpoints if name in _KINDS else ENDPOINTS:
            for times in (1, 2, 3):
                yield from (Case(name, endpoint, times, seed) for seed in seeds)
    for kind in KINDS:
        if kind.of is not Class.HARMLESS and kind.name not in GONE and kind.name in (kinds or _KINDS):
            yield from (Case(kind.name, OUTAGE, -1, seed) for seed in seeds)


def tls_names() -> list[str]:
    """The names of the ways in which TLS fails."""
    with tempfile.TemporaryDirectory() as place:
        return list(tls_kinds(Authority(Path(place))))


def keyless_profile(home: Path) -> Path:
    """The built-in profile without idempotency keys, as a file in `home`."""
    text = profiles.locate("garminsync").read_text()
    for old, new in KEYLESS:
        assert old in text
        text = text.replace(old, new)
    path = home / "keyless.yaml"
    path.write_text(text)
    return path


class Bench:
    """A sandbox, the proxies before it, and the runs between them."""

    def __init__(self, stack: ExitStack) -> None:
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data.generate(self.home / "data", 7, SandboxSettings().last_day)
        self.server = stack.enter_context(SandboxServer(SandboxSettings(port=0, kdf="fast", data=self.home / "data")))
        self.authority = Authority(self.home)
        upstream = self.server.base_url
        self.plain = stack.enter_context(FaultProxy(upstream))
        self.named = stack.enter_context(FaultProxy(upstream, close_each=True))
        self.tls = stack.enter_context(FaultProxy(upstream, self.authority.context(), close_each=True))
        context = self.authority.context(TUNNEL_HOST)
        self.tunnel = stack.enter_context(FaultProxy(upstream, context, tunnel=True, close_each=True))
        self.tls_kinds = {**tls_kinds(self.authority), **TUNNEL_KINDS}
        self.keyless = keyless_profile(self.home)
        self._users = 0
        self._complaints = stack.enter_context(complaints())

    def judge(self, case: Case, tally: Tally) -> None:
        """Run the case, and then once more without a fault where it did not complete; write down what is wrong."""
        tried = Tally()
        self._judge_once(case, tried)
        if not tried.spoiled:  # the machine stalled before the fault: the case was not tried
            tried = Tally()
            self._judge_once(case, tried)
        tally.codes += tried.codes
        tally.wrong += tried.wrong
        tally.runs += tried.runs
        tally.spoiled += tried.spoiled

    def _judge_once(self, case: Case, tally: Tally) -> None:
        self._users += 1
        user = f"user-{self._users}"
        home = self.home / user
        self.server.sandbox.accounts.put(user, PASSWORD, "", "none")
        write_secrets(home / "secrets", {"username": user, "password": PASSWORD, "totp_seed": ""})
        (home / "secrets" / "totp_seed").unlink()
        faults = [
            *self._run_and_judge(case, user, home, tally),
            *(f"complained: {words}" for words in self._complaints),
        ]
        self._complaints.clear()
        tally.wrong.extend(f"{case}: {fault}" for fault in faults)
        shutil.rmtree(home)

    def _run_and_judge(self, case: Case, user: str, home: Path, tally: Tally) -> Iterator[str]:
        if case.endpoint == OUTAGE:
            yield from self._judge_outage(case, user, home, tally)
            return
        wanted = _expected(case)
        try:
            told, proxy, met = self._run(case, user, home)
        except Hang:
            yield "hangs"
            return
        tally.runs += 1
        tally.codes[told.code] += 1
        tally.spoiled += met
        if not met:
            yield "the fault was not met"
        if told.code != wanted:
            yield f"code {told.code} instead of {wanted}: {told.errors}"
        if told.code in (0, 1) and told.code != wanted:
            return
        yield from self._judge_jobs(user, home, completed=told.code == 0)
        if told.code in (7, 8, 9) and case.endpoint in ("trigger", "status", "list"):
            again = self._clean_run(home, proxy)
            if again.code != 0:
                yield f"the next run ended with {again.code}: {again.errors}"
            yield from self._judge_jobs(user, home, most=2, completed=True)

    def _judge_outage(self, case: Case, user: str, home: Path, tally: Tally) -> Iterator[str]:
        """Two runs whose polls all fail, and one without a fault: one job, which the third run adopts."""
        kind = _KINDS[case.kind]
        self.plain.plan("status", kind.spoil, -1, random.Random(f"{case}"))
        self.server.sandbox.faults.clear()
        try:
            with alarm():
                found = [self._start(home, self.plain, poll={"patience": 1.2}) for _ in range(2)]
        except Hang:
            yield "hangs"
            return
        codes = tuple(one.code for one in found)
        tally.runs += 1
        tally.codes.update(codes[:1])
        tally.spoiled += self.plain.spoiled > 0
        if codes != expected_outage(kind):
            yield f"codes {codes} instead of {expected_outage(kind)}: {[one.errors for one in found]}"
        yield from self._judge_jobs(user, home, completed=False)
        again = self._clean_run(home, self.plain)
        if again.code != 0:
            yield f"the run after the outage ended with {again.code}: {again.errors}"
        yield from self._judge_jobs(user, home, most=2, completed=True)

    def _judge_jobs(self, user: str, home: Path, *, most: int = 1, completed: bool) -> Iterator[str]:
        """By the server's own record."""
        jobs = self.server.sandbox.state.all(
            "SELECT * FROM jobs WHERE user_id=(SELECT id FROM users WHERE username=?) ORDER BY number", user
        )
        if len(jobs) > most:
            yield f"{len(jobs)} jobs: duplicate"
        ledger = Ledger(home / "state")
        still_open = [entry.job_id for entry in ledger.recent(10) if entry.outcome is None]
        ledger.close()
        for job in jobs:
            if job["status"] in ("pending", "running") and not {job["job_id"], None} & {*still_open}:
                yield f"job {job['job_id']} is {job['status']} and not remembered: orphan"
        if completed and (not jobs or jobs[-1]["status"] != "completed"):
            yield f"called complete, but the server has {[job['status'] for job in jobs]}"

    def _run(self, case: Case, user: str, home: Path) -> tuple[RunOutput, FaultProxy, bool]:
        """How the run ended, the proxy it went through, and whether it met its fault."""
        rng = random.Random(f"{case}")
        times, first = case.times, FIRST_CONNECTION.get(case.endpoint, 0)
        which = range(first, first + times)
        failing: AbstractContextManager[Sequence[int]] = nullcontext(())
        proxy = self.plain
        if case.kind in NAME_KINDS:
            proxy, failing = self.named, names_failing(NAME_KINDS[case.kind], which)
        elif case.kind in self.tls_kinds:
            proxy = self.tunnel if case.kind in TUNNEL_KINDS else self.tls
        proxy.plan(case.endpoint, None if proxy is not self.plain else _KINDS[case.kind].spoil, times, rng)
        if case.kind in self.tls_kinds:
            proxy.plan_connections(self.tls_kinds[case.kind], which)
        settings: dict[str, Any] = {}
        if case.endpoint == "list":
            proxy.plan_also("trigger", _RESET_AFTER)
            settings["profile"] = str(self.keyless)
        if case.endpoint == "refresh":
            self._expired_session(self._url(proxy), user, home)
        self.server.sandbox.faults.clear()
        if case.endpoint == "cancel":
            self.server.sandbox.faults.add(Fault("job_stalls"))
            settings["deadline"] = {"sync": 3.0}  # a tenth of it is for the cancel
            if proxy is not self.plain:
                settings["poll"] = NO_LOOKS
        with failing as struck, alarm():
            told = self._start(home, proxy, **settings)
        return told, proxy, proxy.spoiled > 0 or len(struck) > 0

    def _clean_run(self, home: Path, proxy: FaultProxy) -> RunOutput:
        proxy.plan("", None, 0, random.Random(0))
        self.server.sandbox.faults.clear()
        return self._start(home, proxy)

    def _url(self, proxy: FaultProxy) -> str:
        if proxy is self.tunnel:
            return proxy.base_url.replace("localhost", TUNNEL_HOST)
        return proxy.base_url.replace("127.0.0.1", "localhost") if proxy is self.named else proxy.base_url

    def _start(self, home: Path, proxy: FaultProxy, **settings: Any) -> RunOutput:
        deadline = {"request": 1.0, **settings.pop("deadline", {})}
        tls = {"ca_file": str(self.authority.file)} if proxy.tls else {}
        syncs = [{"type": "health", "start": "-7d", "end": "today"}]
        through = {"HTTPS_PROXY": proxy.base_url.replace("https", "http")} if proxy.tunnel else {}
        with mock.patch.dict(os.environ, through):
            return run_here(
                self._url(proxy),
                home / "secrets",
                syncs,
                state=home / "state",
                deadline=deadline,
                tls=tls,
                **{**settings, "poll": {"patience": 20.0, **settings.get("poll", {})}},
            )

    def _expired_session(self, base_url: str, user: str, home: Path) -> None:
        tokens = self.server.sandbox.accounts.login({"username": user, "password": PASSWORD})
        store = directory_store(home / "state", base_url, user)
        save(
            store, AccountState(session(tokens["access_token"], refresh_token=tokens["refresh_token"], expires_at=1.0))
        )


def _expected(case: Case) -> int:
    unsent = Class.PROXY_LOGIN if case.kind == TUNNEL_LOGIN else Class.UNSENT
    kind = _KINDS.get(case.kind) or Kind(case.kind, unsent, _RESET_AFTER)
    return expected(kind, case.endpoint, case.times)


def judged(some: Sequence[Case]) -> Tally:
    """What came of the cases, one after another."""
    tally = Tally()
    with ExitStack() as stack:
        bench = Bench(stack)
        for case in some:
            bench.judge(case, tally)
    return tally


def faults(seeds: int = 2, workers: int = 6, part: int = 0, parts: int = 1, seed: int = 0) -> dict[str, Any]:
    """Every kind x endpoint x first 1 to 3 requests x seed. Fails where one run is not as the table has it.

    `part` of `parts` equal ones; `seed` is the first of the seeds.
    """
    every = list(cases(range(seed, seed + seeds)))
    random.Random(1).shuffle(every)
    every = every[part::parts]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        tallies = list(pool.map(judged, (every[number::workers] for number in range(workers))))
    wrong = [fault for tally in tallies for fault in tally.wrong]
    codes: Counter[int] = sum((tally.codes for tally in tallies), Counter())
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:60])
    return {
        "faulted runs": sum(tally.runs for tally in tallies),
        "kinds": len({case.kind for case in every}),
        "runs that met their fault": sum(tally.spoiled for tally in tallies),
        "exit codes": dict(sorted(codes.items())),
        "duplicates": 0, "orphans": 0, "tracebacks": 0, "hangs": 0, "wrong codes": 0,
    }  # fmt: skip
