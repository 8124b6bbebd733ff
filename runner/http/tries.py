"""Runs the tries of a request: retries what can succeed, within the policy, the run's budget and the deadline."""

from collections.abc import Awaitable, Callable
from typing import Any

from runner.clock import Clock, Deadline
from runner.errors import DeadlineExceeded, Unreachable
from runner.events import events
from runner.events.observer import Observer
from runner.http import retry
from runner.http.budget import Budget
from runner.http.messages import Response
from runner.http.retry import Policy

CONNECT_PAUSE = 5.0  # at most, between two tries to connect to an unreachable server
Why = Callable[[Unreachable | int], str | None]  # the reason to try again after a failure or status, or None
Once = Callable[[int], Awaitable[Response]]  # sends the request; receives the number of the try, from 1


class Tries:
    """Sends requests with retries, for one client."""

    def __init__(self, clock: Clock, policy: Policy, budget: Budget) -> None:
        """`budget` is the retry budget that all requests share."""
        self._clock, self._policy, self._budget = clock, policy, budget

    async def repeat(
        self,
        endpoint: str,
        once: Once,
        *,
        why: Why,
        deadline: Deadline,
        observer: Observer,
    ) -> Response:
        """Calls `once` (with the number of the try, from 1) while `why` returns a reason and the policy allows.

        Raises as `Client.send` does.
        """
        patience = self._policy.connect_patience
        if patience:
            once = self._patient(
                endpoint, once, Deadline.after(self._clock, patience, "the patience").min(deadline), observer
            )
        first: Response | Unreachable
        try:
            first = await once(1)
            if why(first.status) is None:
                return first
        except Unreachable as error:
            if why(error) is None or (patience and error.passing):
                raise
            first = error
        return await self._again(endpoint, first, once, why, deadline, observer)

    def _patient(self, endpoint: str, once: Once, until: Deadline, observer: Observer) -> Once:
        """Repeats `once` `until` the server can be reached. Costs neither a try nor budget, and is reported once."""

        async def patient(attempt: int) -> Response:
            tries = 0
            while True:
                try:
                    return await once(attempt)
                except Unreachable as error:
                    tries += 1
                    seconds = min(CONNECT_PAUSE, retry.wait(self._policy, tries, None))
                    if not error.passing or seconds >= until.remaining:
                        raise
                    if tries == 1:
                        observer.emit(events.RetryScheduled(endpoint, "connect", attempt, round(seconds, 3)))
                await self._clock.sleep(seconds)

        return patient

    async def _again(
        self, endpoint: str, first: Response | Unreachable, once: Once, why: Why, deadline: Deadline, observer: Observer
    ) -> Response:
        """Runs the further tries after the first failed: most runs never get here, and so do not load tenacity."""
        import tenacity

        further = _Further(self._policy, self._budget, first, once)
        tries = tenacity.AsyncRetrying(
            sleep=self._clock.sleep,
            stop=further.stop,
            wait=lambda state: retry.wait(self._policy, state.attempt_number, _retry_after(state)),
            before_sleep=lambda state: _announce(state, endpoint, why, deadline, observer),
            retry=lambda state: _retry_reason(state, why) is not None,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        answer: Response = await tries(further.next)
        if why(answer.status):
            message = f"{endpoint}: the API kept answering {answer.status} in {further.attempt} tries{further.spent}"
            raise Unreachable(message, sent=False)
        return answer


class _Further:
    """The tries of one request: the first, which has ended, and those after it."""

    def __init__(self, policy: Policy, budget: Budget, first: Response | Unreachable, once: Once) -> None:
        self._policy, self._budget, self._first, self._once = policy, budget, first, once
        self._unasked = 0
        self.attempt = 0
        self.spent = ""

    async def next(self) -> Response:
        """Runs the next try; of the first, only returns its result."""
        self.attempt += 1
        if self.attempt > 1:
            return await self._once(self.attempt)
        if isinstance(self._first, Unreachable):
            raise self._first
        return self._first

    def stop(self, state: Any) -> bool:
        """Whether the API said when to retry: it is then not failing, so the response costs no try, only budget."""
        self._unasked += _retry_after(state) is None
        if self._unasked < self._policy.attempts and not self._budget.spend():
            self.spent = "; the run's retry budget is exhausted: the API is down or overloaded"
        return bool(self.spent) or self._unasked >= self._policy.attempts


def _announce(state: Any, endpoint: str, why: Why, deadline: Deadline, observer: Observer) -> None:
    """Reports the wait before the next try; ends the tries where the deadline comes first."""
    seconds = state.upcoming_sleep
    reason = _retry_reason(state, why) or ""
    if seconds >= deadline.remaining:
        raise DeadlineExceeded(
            f"{endpoint}: {deadline.what} ends in {deadline.remaining:.1f} s, before the next try "
            f"({reason}; it is due in {seconds:.1f} s)"
        )
    observer.emit(events.RetryScheduled(endpoint, reason, state.attempt_number, round(seconds, 3)))


def _retry_after(state: Any) -> float | None:
    """Returns the seconds that the last response asked to wait; None where there is none."""
    return None if state.outcome.failed else state.outcome.result().retry_after


def _retry_reason(state: Any, why: Why) -> str | None:
    if state.outcome.failed:
        error = state.outcome.exception()
        return why(error) if isinstance(error, Unreachable) else None
    return why(state.outcome.result().status)
