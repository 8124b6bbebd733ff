"""The command `profiles test NAME`: tries each part of a profile with your credentials and shows the results as a table."""

import argparse
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace

from runner import profile as profiles
from runner.clock import SystemClock
from runner.engine.each_account import Visit, visit_each
from runner.jobs.plan import PlannedSync
from runner.jobs.trial import Finding, Trial
from runner.profile import parameters
from runner.settings import SyncSettings
from runner.settings.arguments import params


def test(arguments: argparse.Namespace) -> int:
    """Tests the profile with every account. Returns 0 where everything fits, else the code of the first misfit."""
    arguments.profile = arguments.name
    profile = profiles.load(arguments.name)
    codes: list[int] = []

    async def work(visit: Visit) -> None:
        sync = _sync(arguments, profile, visit)
        if sync is not None:
            sys.stdout.write(
                f"{visit.account.name}: a sync of type {sync.sync_type} will be triggered at {visit.settings.base_url}, "
                f"{'and followed to its end' if arguments.run else 'and cancelled where the API can'}\n"
            )
            sys.stdout.flush()
        trial = Trial(profile, visit.account.provider, visit.account.api, SystemClock(), visit.observer)
        await trial.run(sync, str(uuid.uuid4()), visit.deadline, to_end=arguments.run)
        _show([_cleaned(one, visit) for one in trial.findings])
        codes.extend(one.code for one in trial.findings if one.code)

    failed = visit_each(arguments, work)
    return failed or (codes[0] if codes else 0)


def _sync(arguments: argparse.Namespace, profile: profiles.Profile, visit: Visit) -> PlannedSync | None:
    """Returns the sync to try, validated as `run` does. Raises UsageError."""
    if arguments.sync is None:
        return None
    asked = SyncSettings(type=arguments.sync, params=params(arguments.param))
    parameters.check(profile, asked, visit.settings.params)
    return PlannedSync(name=asked.name, sync_type=asked.type, params=asked.params)


def _cleaned(finding: Finding, visit: Visit) -> Finding:
    """Redacts the finding, in case the API repeated a secret."""
    return replace(
        finding, found=visit.redact(finding.found), shape=visit.redact(finding.shape), fix=visit.redact(finding.fix)
    )


def _show(findings: Sequence[Finding]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from runner.outputs.tables import table_console

    table = Table("part", "", "result", "shape of the response", "suggested fix", box=box.SIMPLE_HEAD)
    for one in findings:
        table.add_row(*(escape(text) for text in (one.part, one.fits, one.found, one.shape, one.fix)))
    console = table_console(sys.stdout)
    console.print(table)
