"""Runs of one sync against a model API, driven by `decide`: no I/O, every choice by a random generator that hypothesis owns.

The model judges each step: no second job, no lost job, no cancel of a job that is another's or was not looked at, no
end that is not the job's own.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

from runner.errors import ContractError, RunnerError, Unreachable
from runner.external import ExternalText, raw
from runner.jobs import decide as machine
from runner.jobs import states as s
from runner.jobs.endings import ending
from runner.jobs.identity import match
from runner.jobs.states import Action, Do, Event, Facts, Phase, State, Why
from runner.models import JobStatus, Outcome, SyncJob

LEASE = 60.0
ACTIVE = (JobStatus.PENDING, JobStatus.RUNNING)
ENDS = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
KINDS: dict[str, Facts] = {
    "keyed": Facts("x", key_seconds=3600.0, lists=True, cancels=True, job_attempts=2),
    "named": Facts("x", key_seconds=float("inf"), names_job=True, lists=True, cancels=True),
    "listing": Facts("x", lists=True, cancels=True, job_attempts=2),
    "blind": Facts("x", cancels=True),
    "detached": Facts("x", key_seconds=3600.0, lists=True, cancels=True, cancel_on_interrupt=False),
    "single": Facts("x", lists=True),
}
LOST, FAILED = Unreachable("lost"), Unreachable("refused", sent=False)


@dataclass
class Job:
    """A job at the model API. `by` is the run that started it, None for somebody else."""

    name: str
    key: str | None
    by: "Run | None"
    run_key: str | None
    at: float
    status: JobStatus = JobStatus.PENDING
    ended_by_us: bool = False

    def shown(self, name: ExternalText | str | None = None) -> SyncJob:
        """As the API shows it."""
        begun = datetime.fromtimestamp(self.at, UTC).isoformat()
        return SyncJob(ExternalText(raw(name or self.name)), self.status, "x", start_time=ExternalText(begun))


@dataclass
class Entry:
    """A row of the model ledger."""

    key: str
    at: float
    run_key: str | None
    holder: int
    lease: float
    watched: float = 0.0  # until then another run polls its job too
    job: ExternalText | str | None = None
    outcome: str | None = None
    external: bool = False


@dataclass
class World:
    """The API, the ledger and the clock."""

    kind: str
    rng: Random
    refuses: bool
    now: float = 1e9
    jobs: list[Job] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)
    late: list[tuple[float, "Run", str]] = field(default_factory=list)  # triggers that arrive late
    lock: "Run | None" = None
    broken_until: float = 0.0
    came: Counter[str] = field(default_factory=Counter)

    def pass_time(self, seconds: float) -> None:
        """Let time pass: late triggers arrive, jobs move on."""
        self.now += seconds
        due = [one for one in self.late if one[0] <= self.now]
        self.late = [one for one in self.late if one[0] > self.now]
        for _, run, key in due:
            self.take(run, key)
        for job in self.jobs:
            if job.status in ACTIVE and self.rng.random() < 0.15:
                moves = [JobStatus.RUNNING, *ENDS] if job.status is JobStatus.RUNNING else [JobStatus.RUNNING]
                job.status = self.rng.choice(moves)
            elif job.status is JobStatus.RUNNING and self.kind != "single" and self.rng.random() < 0.05:
                job.status = JobStatus.PENDING  # put back into its queue

    def take(self, run: "Run", key: str) -> Job | None:
        """The API takes a trigger: a job, or None where it refuses. Never a second one of ours."""
        again = next((job for job in self.jobs if job.key == key), None)
        if again is not None and self.kind in ("keyed", "detached"):
            return again
        if again is not None and self.kind == "named":
            return None
        if (self.refuses or self.kind == "single") and any(job.status in ACTIVE for job in self.jobs):
            return None
        beside = [job for job in self.jobs if job.by is not None and job.status in ACTIVE]
        assert not beside, f"a second job beside {beside[0].name}: {run.told}"
        done = [job for job in self.jobs if run.run_key and job.run_key == run.run_key]
        assert all(job.status is not JobStatus.COMPLETED for job in done), f"done twice under one key: {run.told}"
        name = key if self.kind in ("named", "single") else f"job-{len(self.jobs)}"
        self.jobs.append(Job(name, key, run, run.run_key, self.now))
        return self.jobs[-1]

    def find(self, name: ExternalText | str) -> Job | None:
        return next((job for job in reversed(self.jobs) if job.name == name), None)


class Run:
    """One run of the sync: what it knows, and what it does next."""

    def __init__(self, world: World, number: int, run_key: str | None) -> None:
        self.world, self.number, self.run_key = world, number, run_key
        self.facts = KINDS[world.kind]
        self.rules: Sequence[machine.Rule] = machine.single() if world.kind == "single" else machine.with_ids()
        self.state, self.action = State(), Action((Do.RECALL,))
        self.told: list[str] = []
        self.entry: Entry | None = None
        self.over = False
        self.stop_at = world.now + world.rng.choice([5.0, 60.0, 3600.0, 3600.0])
        self.in_flight: tuple[bool, Job | None] | None = None
        self.missing_from: float | None = None  # since when each response said that there is no such job

    @property
    def _now(self) -> float:
        return self.world.now

    def step(self) -> None:
        """Do the action, and decide what comes next."""
        world = self.world
        if self.action.do[-1] is Do.RECALL and world.lock not in (None, self):
            world.pass_time(1.0)
            return
        world.pass_time(1.0 if self.action.after is None else self.action.after + 0.01)
        event = self._stopped() or self._act(self.action.do[-1])
        before = self.state
        self.state, self.action = machine.decide(before, event, self.facts, self.rules)
        self.told.append(
            f"{before.phase}: {type(event).__name__} -> {' + '.join(self.action.do)} -> {self.state.phase}"
        )
        world.came["steps"] += 1
        world.came[type(event).__name__] += 1
        if Do.CANCEL in self.action.do:
            self._judge_cancel(event)
        for write in self.action.do[:-1]:
            self._write(write)
        if self.state.phase is Phase.END:
            self._end(self.action.do[-1])

    def _stopped(self) -> Event | None:
        if self.state.stopped is not None:
            return s.TimeUp(self._now) if self._now > self.stop_at + 3.0 else None
        if self._now < self.stop_at:
            return None
        self.stop_at = self._now
        why = self.world.rng.choice([Why.SIGNAL, Why.DEADLINE])
        if self.action.do[-1] is Do.TRIGGER and self.world.rng.random() < 0.7:
            self.in_flight = self._sent()
            if why is Why.DEADLINE:
                self.in_flight = None
                return s.Stopped(self._now, why, lost=True)
            return s.Stopped(self._now, why, in_flight=True)
        return s.Stopped(self._now, why)

    def _act(self, do: Do) -> Event:
        match do:
            case Do.RECALL:
                return self._recall()
            case Do.INTEND:
                key = f"key-{self.number}-{len(self.world.ledger)}"
                self.entry = Entry(key, self._now, self.run_key, self.number, self._now + LEASE)
                self.world.ledger.append(self.entry)
                return s.Intended(self._now, key)
            case Do.TRIGGER:
                return self._trigger()
            case Do.POLL | Do.LIST:
                event = self._failure() or (self._poll() if do is Do.POLL else self._list())
                if not isinstance(event, s.Missing):
                    self.missing_from = None
                elif self.missing_from is None:
                    self.missing_from = self._now
                return event
            case Do.AWAIT:
                return self._answered()
            case _:
                return self._cancel()

    def _recall(self) -> Event:
        self.world.lock = self
        own = [one for one in self.world.ledger if self.run_key and one.run_key == self.run_key]
        done = next((one for one in own if one.outcome == "completed"), None)
        if done is not None:
            return s.Recalled(self._now, done=True)
        self.entry = next((one for one in reversed(self.world.ledger) if one.outcome is None), None)
        entry = self.entry
        if entry is None:
            return s.Recalled(self._now)
        name = entry.job or (entry.key if self.world.kind == "single" else None)
        job = None if name is None else SyncJob(ExternalText(raw(name)), JobStatus.PENDING, "x")
        held = entry.job is not None and not self._lease(entry)
        same = entry.run_key is not None and entry.run_key == self.run_key
        return s.Recalled(self._now, entry.key, job, self._now - entry.at, False, held, entry.external, same)

    def _lease(self, entry: Entry) -> bool:
        if entry.holder != self.number:
            if entry.lease > self._now:
                entry.watched = self._now + LEASE
                return False
            entry.watched = 0.0
        entry.holder, entry.lease = self.number, self._now + LEASE
        return True

    def _sent(self) -> tuple[bool, Job | None]:
        """Send the trigger: whether the API refused it, and the job."""
        assert self.state.key is not None
        job = self.world.take(self, self.state.key)
        return job is None, job

    def _trigger(self) -> Event:
        rng, key = self.world.rng, self.state.key
        assert key is not None
        chance = rng.random()
        if chance < 0.15:
            self._sent()
            return s.Lost(self._now, LOST)
        if chance < 0.25:
            return s.Lost(self._now, LOST)
        if chance < 0.32:
            self.world.late.append((self._now + rng.uniform(0.1, 4.0), self, key))
            return s.Lost(self._now, LOST)
        if chance < 0.40:
            return s.Rejected(self._now, FAILED)
        if chance < 0.45 and self.action.after:
            return s.Exhausted(self._now)
        return self._answer(self._sent())

    def _answer(self, sent: tuple[bool, Job | None]) -> Event:
        refused, job = sent
        if job is not None and not refused:
            shown = job.shown() if self.world.kind == "single" else replace(job.shown(), status=JobStatus.PENDING)
            return s.Begun(self._now, shown)
        running = next((one for one in self.world.jobs if one.status in ACTIVE), None)
        named = running.name if running and self.world.kind == "keyed" and self.world.rng.random() < 0.7 else None
        return s.AlreadyRuns(self._now, ContractError("it runs"), ExternalText(named) if named else None)

    def _answered(self) -> Event:
        if self.in_flight is None or self.world.rng.random() < 0.3:
            return s.StillOut(self._now)
        sent, self.in_flight = self.in_flight, None
        return s.Lost(self._now, LOST) if self.world.rng.random() < 0.3 else self._answer(sent)

    def _failure(self) -> Event | None:
        rng = self.world.rng
        if self._now < self.world.broken_until:
            return s.Unclear(self._now, rng.choice([LOST, FAILED]))
        chance = rng.random()
        if chance < 0.02:
            self.world.broken_until = self._now + rng.choice([5.0, 40.0, 700.0])
        if chance < 0.05:
            return s.Unclear(self._now, LOST)
        if chance < 0.07:
            return s.Misfit(self._now, ContractError("does not fit"))
        broken = chance < 0.075 and self.state.stopped is None
        return s.Broken(self._now, RunnerError("no session")) if broken else None

    def _poll(self) -> Event:
        world, state = self.world, self.state
        if world.kind == "single":
            return self._status()
        name = self._named() if state.phase is Phase.IDENTIFY else state.job.job_id if state.job else ""
        job = world.find(name)
        forgets = self.missing_from is None or self._now - self.missing_from < 9.0  # also again after an outage
        if job is None or (forgets and world.rng.random() < 0.1):
            return s.Missing(self._now, ContractError("no such job"))
        leased = None
        if state.phase in (Phase.POLL, Phase.LOOK) and self.entry is not None:
            leased = self._lease(self.entry)
        of_trigger = state.phase is not Phase.IDENTIFY or (self.entry is not None and job.at >= self.entry.at)
        return s.Seen(self._now, job.shown(), of_trigger, leased)

    def _named(self) -> ExternalText | str:
        return self.state.named or self.state.key or ""

    def _status(self) -> Event:
        if not self.world.jobs:
            return s.Seen(self._now, None)
        job, entry = self.world.jobs[-1], self.entry
        followed = self.state.phase in (Phase.POLL, Phase.LOOK, Phase.CONFIRM)
        if followed and self.state.job is not None and self.state.job.job_id != job.name and job.by is not None:
            return s.Replaced(self._now, ContractError("another job"))
        name = self.state.job.job_id if self.state.job and followed else self.state.key or ""
        of_trigger = followed or (entry is not None and job.at >= entry.at - 3.0)
        return s.Seen(self._now, job.shown(name), of_trigger)

    def _list(self) -> Event:
        world, state, entry = self.world, self.state, self.entry
        if world.kind == "single":
            seen = self._status()
            assert isinstance(seen, s.Seen | s.Replaced)
            new = isinstance(seen, s.Seen) and seen.of_trigger and seen.job is not None
            return s.Found(self._now, ours=seen.job if new and isinstance(seen, s.Seen) else None)
        if world.kind == "named" and state.lost:
            job = world.find(state.key or "")
            return s.Found(self._now, ours=job.shown() if job else None)
        known = {one.job for one in world.ledger if one is not entry}
        assert entry is not None
        listed = [job.shown() for job in world.jobs if job.name not in known]
        found = match(listed, entry.at, 0.0)
        running = next((job.shown() for job in world.jobs if job.status in ACTIVE), None)
        return s.Found(self._now, found.ours, running, found.doubtful)

    def _judge_cancel(self, event: Event) -> None:
        """Looked at, running, ours."""
        assert isinstance(event, s.Seen), f"cancelled unseen: {self.told}"
        assert event.job is not None
        job = self.world.find(event.job.job_id)
        assert job is not None
        assert job.by is not None, f"cancelled another's job: {self.told}"
        assert event.job.status in ACTIVE, f"cancelled what had ended: {self.told}"
        entry = self.entry
        assert entry is not None
        assert entry.holder == self.number, f"cancelled what another polls: {self.told}"

    def _cancel(self) -> Event:
        job = self.world.find(self.state.job.job_id if self.state.job else "")
        assert job is not None
        assert self.entry is not None
        if self.entry.watched > self._now:
            return s.Watched(self._now)
        if self.world.rng.random() < 0.2:
            return s.CancelRefused(self._now, LOST)
        if job.status in ACTIVE:
            job.status = JobStatus.CANCELLED
        return s.CancelAnswered(self._now, job.shown() if self.world.rng.random() < 0.5 else None)

    def _write(self, do: Do) -> None:
        entry, job = self.entry, self.state.job
        if do in (Do.KEEP, Do.KEEP_OURS, Do.KEEP_THEIRS):
            assert entry is not None
            assert job is not None
            entry.job, entry.external = job.job_id, self.state.external
            if do is Do.KEEP_OURS and self.world.kind != "single":
                found = self.world.find(job.job_id)
                assert found is not None
                assert found.by is not None, f"another's job taken for ours: {self.told}"
            self.world.lock = None
        elif do is Do.CLOSE and entry is not None:
            entry.outcome = job.status.value if job is not None and job.status.terminal else "unknown"

    def _end(self, do: Do) -> None:
        """As the real driver: what may go on stays open."""
        self.over, state, entry = True, self.state, self.entry
        if self.world.lock is self:
            self.world.lock = None
        self.world.came[do.name] += 1
        if do is Do.END_AS_JOB:
            self._judge_end()
        outcome, _error = ending(state, do, self.facts, "the deadline")
        goes_on = state.job is not None and not state.job.status.terminal
        if entry is not None and entry.outcome is None:
            if state.job is not None and state.job.status.terminal and not state.asked_to_cancel:
                assert outcome.value == state.job.status.value, f"{outcome} for an ended job: {self.told}"
            if goes_on and state.job is not None:
                entry.job = state.job.job_id
            elif not state.doubtful and outcome is not Outcome.UNKNOWN:
                entry.outcome = outcome.value
        self._judge_left()

    def _judge_end(self) -> None:
        assert self.state.job is not None
        job = self.world.find(self.state.job.job_id)
        if self.world.kind == "single":
            return  # the model calls another's job by our key
        assert job is not None
        assert job.status is self.state.job.status, f"an end that is not the job's: {self.told}"

    def _judge_left(self) -> None:
        """Every job of ours that runs is in the ledger, or its intent is."""
        still_open = [one for one in self.world.ledger if one.outcome is None]
        for job in self.world.jobs:
            if job.by is self and job.status in ACTIVE:
                known = any(one.job == job.name or one.key == job.key for one in still_open)
                assert known, f"lost {job.name}: {self.told}"

    def kill(self) -> None:
        """SIGKILL: the trigger that is on its way may still arrive."""
        if self.action.do[-1] is Do.TRIGGER and self.world.rng.random() < 0.5:
            self._sent()
        self.over = True
        if self.world.lock is self:
            self.world.lock = None


def chain(rng: Random, kind: str, came: Counter[str]) -> None:
    """Some runs of one sync, one after another or two at once; some are killed, and others start jobs by hand."""
    world = World(kind, rng, refuses=rng.random() < 0.5, came=came)
    keys = [rng.choice([None, "try"]) for _ in range(1)] * 6
    runs: list[Run] = []
    for number in range(rng.randint(2, 5)):
        if rng.random() < 0.2 and kind != "single":
            free = not world.refuses or not any(job.status in ACTIVE for job in world.jobs)
            if free:
                # Earlier than any intent: one that somebody else starts in the same minutes cannot be told from ours.
                intents = [one.at for one in world.ledger if one.outcome is None]
                at = min([world.now, *intents]) - 10.0
                world.jobs.append(Job(f"hand-{number}", None, None, None, at, JobStatus.RUNNING))
        runs.append(Run(world, number, keys[number]))
        if rng.random() < 0.3 and kind != "single":
            runs.append(Run(world, number + 100, keys[number]))
        _work([run for run in runs if not run.over], rng)
        world.pass_time(rng.choice([0.5, 15.0, 90.0]))
    came["chains"] += 1


def _work(runs: list[Run], rng: Random) -> None:
    for _ in range(4000):
        alive = [run for run in runs if not run.over]
        if not alive:
            return
        run = rng.choice(alive)
        if rng.random() < 0.01:
            run.kill()
        else:
            run.step()
    told = [run.told[-20:] for run in runs if not run.over]
    raise AssertionError(f"does not end: {told}")
