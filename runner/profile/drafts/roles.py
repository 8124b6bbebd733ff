"""Finds an API's login, trigger, status and so on among its exchanges. These are guesses by names and shapes, shown as such."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from runner.profile import suggestions
from runner.profile.drafts.exchanges import NAMES, Exchange, known_as

_JOB = "job run sync task execution build workflow pipeline dispatch import export backup report bake flow operation"
_ACT = "jobs runs execute dispatches trigger launch start submit batch process processes"
JOB = frozenset(_ACT.split()) | {form for word in _JOB.split() for form in (word, f"{word}s")}
CANCEL = frozenset({"cancel", "stop", "abort", "terminate", "kill"})
LOGIN = frozenset({"login", "signin", "authenticate", "token", "auth", "session", "sessions"})
NOT_JOBS = LOGIN | {"logout", "refresh", "user", "users", "password", "register", "health", "webhook", "webhooks"}


@dataclass(frozen=True)
class Roles:
    """The exchange of each role; None: not found. `others` may be the trigger, too."""

    login: Exchange | None
    refresh: Exchange | None
    trigger: Exchange | None
    status: Exchange | None
    listing: Exchange | None
    cancel: Exchange | None
    others: tuple[Exchange, ...] = ()


def roles(exchanges: Iterable[Exchange]) -> Roles:
    """Returns the best guess for each role."""
    every = list(exchanges)
    posts = [one for one in every if one.method in ("POST", "PUT")]
    refresh = _best(posts, lambda one: 5 * ("refresh" in one.words) + 3 * ("${refresh_token}" in _sends(one)), least=5)
    login = _best([one for one in posts if one is not refresh], _as_login, least=5)
    ranked = sorted((one for one in posts if one not in (login, refresh)), key=lambda one: -_as_trigger(one, every))
    likely = [one for one in ranked if _as_trigger(one, every) >= 3]
    trigger = likely[0] if likely else None
    status = _best([one for one in every if one.method == "GET"], lambda one: _as_status(one, trigger), least=4)
    listing = _best(
        [one for one in every if one.method == "GET"], lambda one: _as_listing(one, trigger, status), least=4
    )
    cancel = _best([one for one in every if one.method != "GET"], lambda one: _as_cancel(one, status), least=4)
    return Roles(login, refresh, trigger, status, listing, cancel, tuple(likely[1:4]))


def _best(exchanges: list[Exchange], score: Callable[[Exchange], int], *, least: int) -> Exchange | None:
    found = max(exchanges, key=lambda one: (score(one), -len(one.path)), default=None)
    return found if found is not None and score(found) >= least else None


def _sends(exchange: Exchange) -> set[str]:
    keys = exchange.asks if isinstance(exchange.asks, dict) else {}
    return {value for value in (known_as(str(key), NAMES) for key in keys) if value}


def _as_login(one: Exchange) -> int:
    sends = _sends(one)
    secret = bool(sends & {"${password}", "${client_secret}"})
    gives = suggestions.named("access_token", one.answer) is not None
    return 4 * secret + 2 * bool(LOGIN & set(one.words)) + 2 * gives


def _as_trigger(one: Exchange, every: list[Exchange]) -> int:
    words = set(one.words)
    if words & NOT_JOBS or words & CANCEL:
        return 0
    read_back = any(other.method == "GET" and _inside(other.path, one.path) for other in every)
    has_id = suggestions.named("job_id", one.answer) is not None
    has_status = suggestions.named("status", one.answer) is not None
    ends_with_job = bool(one.words) and one.words[-1] in JOB and not one.path.endswith("}")
    return 2 * bool(words & JOB) + 2 * ends_with_job + 2 * read_back + has_id + 2 * has_status


def _inside(path: str, collection: str) -> bool:
    """Whether `path` is one member of `collection`."""
    begin, _, last = path.rstrip("/").rpartition("/")
    return last.startswith("{") and begin == collection.rstrip("/")


def _as_status(one: Exchange, trigger: Exchange | None) -> int:
    words = set(one.words)
    if words & NOT_JOBS or isinstance(one.answer, list):
        return 0
    has = 3 * (suggestions.named("status", one.answer) is not None)
    member = 2 * one.path.rstrip("/").endswith("}")
    near = 0
    if trigger is not None:
        near = 4 * _inside(one.path, trigger.path) + 2 * bool(words & set(trigger.words) & JOB)
    return (has + member + near + bool(words & JOB)) if has and (member or "{" in one.path) else 0


def _as_listing(one: Exchange, trigger: Exchange | None, status: Exchange | None) -> int:
    if status is None or one is status or list_at(one.answer) is None:
        return 0
    return 5 * _inside(status.path, one.path) + 2 * (trigger is not None and one.path == trigger.path)


def list_at(answer: Any) -> str | None:
    """Returns the place of the list in a listing's response."""
    if isinstance(answer, list):
        return "@"
    return (
        next((key for key, value in answer.items() if isinstance(value, list)), None)
        if isinstance(answer, dict)
        else None
    )


def _as_cancel(one: Exchange, status: Exchange | None) -> int:
    if status is None or "{" not in one.path:
        return 0
    below = one.path.startswith(status.path.rstrip("/"))
    word = bool(CANCEL & set(one.words))
    deletes = one.method == "DELETE" and one.path == status.path
    return 4 * (below and word) + 4 * deletes + 2 * word
