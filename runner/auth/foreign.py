"""Decides whether a response to a login is the API's own, or a page of a proxy, a firewall or a maintenance before it. Pure."""
# Decision 0188.

from collections.abc import Callable

from runner.http.messages import Response
from runner.profile.models import Answer as Rule

VERDICTS = ("refused", "locked", "unsupported")
WITHOUT_VERDICT = ("later", "failing")


def not_the_api(rule: Rule | None, answer: Response, used: Callable[[], bool]) -> str | None:
    """Returns why a response is not the API's own; None where it is. `rule`: what the profile takes it for, None for nothing.

    `used`: whether the login found something that it needs in a page: a value, a cookie, a form, a redirect.
    """
    if not answer.stray:
        return None
    if rule is not None:
        if rule.when or rule.without_json or rule.then in WITHOUT_VERDICT:
            return None
        if rule.then not in VERDICTS and used():
            return None
    return (
        f"{answer.status} came with {answer.stray}, which is not this API's response (a maintenance, firewall, proxy or sign-in "
        "page? is base_url the API's address?); no verdict on the credentials"
    )
