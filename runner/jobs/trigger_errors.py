"""Says whether a trigger's response shows its job, and if not whether it may have been accepted. Sends nothing."""
# Decision 0194.

from runner.errors import ContractError, PermissionMissing, RunnerError, Unreachable, UsageError
from runner.http import retry
from runner.http.messages import Response
from runner.jobs.plan import PlannedSync
from runner.jobs.requests import JobRequests
from runner.profile import extraction
from runner.profile.models import Jobs
from runner.profile.parts import Rule

REFUSED_BY_VALUE = frozenset({400, 404, 422})  # the API does not know or accept a value of the settings


def shows_job(jobs: Jobs, answer: Response, *, from_proxy: bool) -> bool:
    """Whether an accepted trigger's response shows the job: JSON, or an id beside the body. A page must hold the id."""
    sources = jobs.trigger.job_id or ()
    if answer.is_json or from_proxy:
        return answer.is_json or extraction.stands_in(answer, sources)
    return jobs.single is not None or any(source.body is None for source in sources)


def not_begun(requests: JobRequests, sync: PlannedSync, answer: Response, *, taken: bool) -> RunnerError:
    """Returns the error; its `sent` says that the trigger may have been accepted.

    `taken`: the profile accepts the response, which is not readable. A success that the profile does not name is in doubt
    too: the API may have started the job.
    """
    refused = requests.refused("trigger", answer)
    if (taken or answer.status in retry.MAYBE_TAKEN) and not requests.refused_by_name(answer):
        without = "" if answer.is_json else " without JSON"
        return Unreachable(f"trigger: the API answered {answer.status}{without}", retry_after=answer.retry_after)
    if unnamed_success(requests.profile.jobs.trigger.accepted, answer) and isinstance(refused, ContractError):
        return ContractError(f"{refused}, which `accepted` of the profile's trigger does not name", sent=True)
    if isinstance(refused, Unreachable):  # from a gateway or firewall, which blocked the request or has no route
        refused.sent = 200 <= answer.status < 300
    if answer.status in REFUSED_BY_VALUE and answer.is_json and not isinstance(refused, PermissionMissing):
        return UsageError(f"syncs.{sync.name}: {refused}; check the sync's type, dates and parameters")
    return refused


def unnamed_success(accepted: tuple[Rule, ...], answer: Response) -> bool:
    """Whether it is a 2xx whose status no rule of `accepted` is about: the request may have had its effect."""
    return 200 <= answer.status < 300 and extraction.unnamed(accepted, answer)
