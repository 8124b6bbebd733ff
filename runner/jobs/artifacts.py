"""Lists, selects and downloads the files of a job, one at a time. A file that cannot be downloaded changes no outcome."""

import uuid
from collections.abc import Mapping
from dataclasses import field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.clock import Deadline
from runner.errors import ContractError, RunnerError
from runner.events import events
from runner.events.observer import Observer
from runner.external import show
from runner.frozen import Frozen
from runner.http.messages import PreparedRequest
from runner.jobs.artifact_paths import Target, parts_of
from runner.jobs.context import OutputPolicy, SyncContext
from runner.jobs.download import Download, Wanted
from runner.jobs.log_files import safe_name
from runner.models import JSON, Artifact, SyncJob
from runner.profile.expressions import find, shape
from runner.profile.output_models import Artifacts
from runner.state.file_worker import FileWorker


class ListedFile(Frozen):
    """One file of the API's listing."""

    name: str
    size: int | None = None
    sha256: str | None = None
    carried: Mapping[str, JSON] = field(default_factory=dict)


class JobFiles:
    """The files of one job."""

    def __init__(
        self,
        artifacts: Artifacts,
        policy: OutputPolicy,
        shared: SyncContext,
        sync: str,
        job: SyncJob,
        observer: Observer,
    ) -> None:
        """Sends nothing yet."""
        self._artifacts, self._settings, self._shared = artifacts, policy.artifacts, shared
        self._client, self._sync, self._job, self._observer = policy.client(), sync, job, observer
        self._worker = FileWorker()

    async def download(self, deadline: Deadline) -> tuple[Artifact, ...]:
        """Downloads every selected file; returns where each is, or why it is missing."""
        until = Deadline.after(self._shared.clock, self._settings.timeout, "artifacts.timeout").min(deadline)
        found: list[Artifact] = []
        try:
            room = self._settings.max_total_bytes
            for number, one in enumerate(await self._wanted(until)):
                if number == self._settings.max_files:
                    raise ContractError(f"there are more than {number} files (artifacts.max_files)")
                found.append(await self._one(one, min(room, self._settings.max_bytes), until))
                room -= found[-1].size or 0
        except RunnerError as error:
            self._warn(str(error))
        finally:
            self._worker.close()
        return tuple(found)

    def _warn(self, problem: str) -> None:
        self._observer.emit(events.OutputUnread(self._job.shown_id, "artifacts", problem))

    async def _wanted(self, until: Deadline) -> list[ListedFile]:
        listed = await self._listed(until)
        return [one for one in listed if any(fnmatchcase(one.name, pattern) for pattern in self._settings.only)]

    async def _listed(self, until: Deadline) -> list[ListedFile]:
        listing = self._artifacts.listing
        if listing is None:
            return [ListedFile(name) for name in self._artifacts.names]
        call = await self._shared.api.signed("artifacts", listing.request, self._job, {}, until, self._observer)
        answer = await self._client.fetch(call, until, self._observer)
        if answer.status in listing.missing:
            return []
        found = find(answer.body, listing.list_, call.values) if answer.status in listing.accepted else None
        if not isinstance(found, list):
            raise ContractError(
                f"artifacts: the response has no list of files ({answer.status}, shape: {shape(answer.body)})"
            )
        return [self._entry(one, call.values) for one in found]

    def _entry(self, entry: JSON, values: Mapping[str, Any]) -> ListedFile:
        listing = self._artifacts.listing
        assert listing is not None
        name, size, sha256 = (find(entry, place, values) for place in (listing.name, listing.size, listing.sha256))
        if not isinstance(name, str):
            raise ContractError(f"artifacts: no file name at `{listing.name}` (shape: {shape(entry)})")
        carried = {key: find(entry, place, values) for key, place in listing.carry.items()}
        known_size = size if isinstance(size, int) and not isinstance(size, bool) else None
        return ListedFile(name, known_size, sha256 if isinstance(sha256, str) and sha256 else None, carried)

    async def _one(self, file: ListedFile, limit: int, until: Deadline) -> Artifact:
        began = self._shared.clock.monotonic()
        shown = show(file.name, 200)
        try:
            stored = await self._downloaded(file, limit, until)
        except RunnerError as error:
            self._warn(f"{shown}: {error}")
            return Artifact(shown, error=str(error))
        spent = round(self._shared.clock.monotonic() - began, 3)
        self._observer.emit(
            events.ArtifactStored(self._job.shown_id, show(stored.path or "", 300), stored.size or 0, spent)
        )
        return replace(stored, name=shown)

    async def _downloaded(self, file: ListedFile, limit: int, until: Deadline) -> Artifact:
        parts = (safe_name(self._shared.account), safe_name(self._sync), *parts_of(file.name))
        if file.size is not None and file.size > limit:
            raise ContractError(f"the file is larger than {limit} bytes (artifacts.max_bytes, max_total_bytes)")
        directory = self._settings.dir
        assert directory is not None
        target = await self._worker.acquire(lambda: Target(directory, parts), until, str(directory), Target.close)
        try:
            wanted = Wanted(file.name, limit, file.size, file.sha256)
            download = Download(wanted, target, self._client, self._worker, until)
            await download.run(lambda: self._call(file, until), self._observer)
            path = str(Path(directory, *parts))
            return Artifact(file.name, path, download.size, download.sha256.hexdigest())
        finally:
            target.close()

    async def _call(self, file: ListedFile, until: Deadline) -> PreparedRequest:
        """Returns the request for the file. Its path is inserted last, since its slashes stay slashes; each part was checked."""
        mark = uuid.uuid4().hex
        more: dict[str, Any] = {**file.carried, "file": mark}
        call = await self._shared.api.signed(
            "artifacts", self._artifacts.request, self._job, more, until, self._observer
        )
        return replace(call, target=call.target.replace(mark, quote(file.name, safe="/")))
