"""Sends one POST at the end of the run, with a user-defined body."""

import json
from collections.abc import Mapping
from string import Template
from typing import Any, ClassVar

from runner.events.observer import Record
from runner.outputs.delivery import MAX_BODY, Message, address, deliver
from runner.outputs.interface import Ended, Output, OutputContext
from runner.outputs.report_model import Report
from runner.outputs.sending import check_address
from runner.outputs.summary import one_line
from runner.outputs.waiting import send_aside, waits_for_person
from runner.settings import WEBHOOK_VALUES


class Webhook(Output):
    """`notify.webhook`: after the runs that `when` selects."""

    name: ClassVar[str] = "notification"
    checked: ClassVar[str] = "can be reached; nothing was sent, so only a run shows whether it accepts data"

    def __init__(self, context: OutputContext) -> None:
        """Sends nothing yet."""
        super().__init__(context)
        self._url: str | None = None

    def check(self, seconds: float) -> str | None:
        """Checks whether something listens at the address."""
        hook = self.context.settings.notify.webhook
        url = address(self.context, "webhook", hook.url, hook.url_file)
        return check_address(url, seconds) if url else "its address cannot be read"

    def open(self) -> None:
        """Reads the address."""
        hook = self.context.settings.notify.webhook
        self._url = address(self.context, "webhook", hook.url, hook.url_file)

    def take(self, record: Record) -> None:
        """Posts immediately that a login waits for a person. Values of the run's end are empty, numbers are 0."""
        hook = self.context.settings.notify.webhook
        text = waits_for_person(record)
        if text and self._url and "code" in hook.when:
            values: dict[str, Any] = dict.fromkeys(WEBHOOK_VALUES, "")
            values |= {"text": f"sync-runner: {text}", "run_id": self.context.run_id, "result": "code"}
            values |= dict.fromkeys(("exit_code", "completed", "failed", "total", "duration_seconds"), 0)
            values["base_url"] = self.context.settings.base_url
            body = fill(hook.body, values, as_json=is_json(hook.content_type))
            send_aside(self.context, "webhook", Message(self._url, body, hook.content_type))

    @property
    def push_seconds(self) -> float | None:
        """`notify.budget`."""
        return self.context.settings.notify.budget

    @property
    def where(self) -> str:
        """Hides the address, which may be a secret."""
        return "webhook"

    def push(self, ended: Ended, seconds: float) -> str | None:
        """Posts the body."""
        hook = self.context.settings.notify.webhook
        if not self._url or ended.report.result not in hook.when:
            return None
        body = fill(hook.body, webhook_values(ended.report), as_json=is_json(hook.content_type))
        return deliver(Message(self._url, body, hook.content_type), seconds)


def is_json(content_type: str) -> bool:
    """Whether a body of this type is JSON: `application/json`, `application/*+json`, in any case, with any parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json")) or kind == "json"


def webhook_values(report: Report) -> dict[str, Any]:
    """The values that a body can contain."""
    return {
        "text": f"sync-runner: {one_line(report)}",
        "run_id": report.run_id,
        "exit_code": int(report.exit_code),
        "meaning": report.meaning,
        "result": report.result,
        "completed": report.completed,
        "failed": len(report.syncs) - report.completed,
        "total": len(report.syncs),
        "duration_seconds": report.duration_seconds,
        "base_url": report.base_url,
        "error": next((one.error for one in report.failed if one.error), next(iter(report.errors), "")),
    }


def fill(body: str, values: Mapping[str, Any], *, as_json: bool) -> bytes:
    """Returns the body with each `${name}` replaced, escaped in JSON. The settings have validated the names.

    It is at most 100,000 bytes: longer values are shortened, never the body, so that JSON stays valid.
    """
    limit = max(len(str(value)) for value in values.values())
    while True:
        made = Template(body).substitute(
            {name: _shown(value, limit, as_json=as_json) for name, value in values.items()}
        )
        raw = made.encode(errors="replace")
        if len(raw) <= MAX_BODY or limit <= 1:
            return raw
        limit //= 2


def _shown(value: Any, limit: int, *, as_json: bool) -> str:
    text = str(value)
    if len(text) > limit and isinstance(value, str):
        text = text[: limit - 1] + "…"
    return json.dumps(text)[1:-1] if as_json else text
