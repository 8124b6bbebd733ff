"""What the runner can know after each kind of fault, and the exit code that it must lead to at each endpoint.

The expectations are derived from the promises (docs/architecture.md; RFC 9110), and written down before anything is run.
"""

from dataclasses import dataclass
from enum import Enum

from tests.support.faults.proxy import ENDPOINTS, Spoil


class Class(Enum):
    """What the runner can know after a fault of this class."""

    HARMLESS = "the answer is whole"
    UNSENT = "the request certainly never left"
    TURNED_AWAY = "the server says that it did not take the request, and to come again"
    LOST = "no answer, or none that is HTTP: it may have been taken"
    FAILING = "the server failed: it may have begun"
    GARBLED = "a good status with a body that is no answer"
    ELSEWHERE = "a redirect, which is not followed"
    EXPIRED = "the token is no longer good"
    CONFLICT = "such a job is running already"
    DENIED = "refused as the login refuses credentials"
    REFUSED = "refused for another reason"
    ODD = "a failure that no repeat mends"
    PAGE = "a page of a gate or firewall, which let nothing through"
    PROXY_LOGIN = "the proxy requires its own login"


@dataclass(frozen=True)
class Kind:
    """One kind of fault, for some `endpoints`. `taken`: the request reaches the server before the answer is spoiled."""

    name: str
    of: Class
    spoil: Spoil
    taken: bool = False
    endpoints: tuple[str, ...] = ENDPOINTS


GONE = ("404", "410")  # in JSON, the API's own words about a job; ten seconds of them make it a missing one
OTHER_SHAPES = ("null", "another shape")  # JSON, and so the API's own, but nothing that the profile can read


def expected(kind: Kind, endpoint: str, times: int) -> int:
    """The exit code of a run in which the first `times` (1 to 3) requests to `endpoint` meet this kind.

    The tries of a request are five. A job at its deadline is cancelled, and the run ends with 6 whether that succeeds or not.
    """
    if endpoint == "cancel":
        return 6
    if endpoint == "refresh" and kind.name.startswith(("502", "503")):
        return 7  # a gate whose server is away: the refresh token is kept for the next run
    if kind.of in (Class.HARMLESS, Class.UNSENT, Class.TURNED_AWAY):
        return 0
    if kind.of is Class.PROXY_LOGIN:
        return 0 if endpoint in ("status", "list") else 3
    if endpoint == "refresh":  # whatever comes of it, the login follows
        return 0
    return {"login": _login, "trigger": _trigger, "status": _status, "list": _list}[endpoint](kind, times)


def _login(kind: Kind, times: int) -> int:
    """A password that nothing has proven is not sent again after a lost answer: the server may count it as a failure."""
    if kind.of in (Class.LOST, Class.FAILING, Class.ODD) or kind.of is Class.PAGE or kind.name == "HTML":
        return 7
    return 3 if kind.of in (Class.EXPIRED, Class.DENIED) else 9


_BY_VALUE = {"400": 2, "404": 2, "422": 2, "403": 3}  # what the settings name is refused; a right is missing


def _trigger(kind: Kind, times: int) -> int:
    """Sent again with its key twice; then the listing tells, where there is a job to list."""
    if kind.of in (Class.LOST, Class.FAILING, Class.ODD, Class.GARBLED):
        return 0 if times < 3 or kind.taken else 8
    if kind.of is Class.EXPIRED:
        return 0 if times == 1 else 3
    if kind.of is Class.PAGE:
        return 7
    if kind.of is Class.CONFLICT:  # the job may have ended between the refusal and the listing
        return 0 if times < 3 else 9
    return _BY_VALUE.get(kind.name, 9)


def _status(kind: Kind, times: int) -> int:
    """A poll is free: it goes on, unless the API itself gives three answers in a row that do not fit."""
    if kind.of is Class.EXPIRED:
        return 0 if times == 1 else 3
    refused = kind.of in (Class.CONFLICT, Class.DENIED, Class.REFUSED) and kind.name not in GONE
    misfits = refused or kind.name in OTHER_SHAPES
    if times == 3 and misfits:
        return 3 if kind.name == "403" else 9
    return 0


def _list(kind: Kind, times: int) -> int:
    """Asked after a lost trigger without a key: what cannot be listed stays unknown."""
    # A long listing is read to its bound, where this one has another shape.
    misfits = kind.name in (*GONE, "many values") and times == 3
    code = 9 if misfits else _status(kind, times)
    return 8 if code else 0


def expected_outage(kind: Kind) -> tuple[int, int]:
    """The exit codes of two runs whose polls all meet this kind: the first one's job is never let go of."""
    if kind.of is Class.EXPIRED:
        return 3, 3
    misfits = kind.of in (Class.CONFLICT, Class.DENIED, Class.REFUSED)
    if misfits or kind.name in OTHER_SHAPES:
        return (3, 3) if kind.name == "403" else (9, 9)
    return 7, 8
