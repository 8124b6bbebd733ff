"""Gets codes from a program, such as a password manager. No shell, a deadline, bounded output."""

import asyncio
import os
import shutil
import signal
from contextlib import suppress

from runner.auth.code_sources.found import code_in, without_codes
from runner.auth.code_sources.interface import Code, CodeOptions, CodeWanted, keep_used, record_of
from runner.clock import Deadline
from runner.errors import AuthenticationError, DeadlineExceeded, UsageError
from runner.events import events
from runner.external import show
from runner.settings import ENV_PREFIX
from runner.state.interface import HeldState
from runner.state.record import AccountState

MAX_OUTPUT = 16 * 1024  # bytes
AGAIN = 1.0  # seconds until the program is run again, after it printed a code that was already sent


class CommandSource:
    """Runs the program once per code, and again while it prints the last sent code."""

    once = False
    stale = False
    by_person = False

    def __init__(self, options: CodeOptions) -> None:
        """Starts nothing yet."""
        self._settings = options.settings
        self._clock = options.clock
        self._add_secret = options.add_secret

    async def begin(self, deadline: Deadline) -> None:
        """Does nothing: the program creates a code when it runs."""

    async def next(self, wanted: CodeWanted) -> Code:
        """Returns the code that the program prints. Raises AuthenticationError where it prints none in `code.timeout`."""
        until = Deadline.after(self._clock, self._settings.timeout, "code.timeout")
        warned = False
        while True:
            code = await self._once(until, wanted.deadline)
            if wanted.held.state.last_code != record_of(code):
                break
            if not warned:
                wanted.observer.emit(events.CodeWait(round(min(until.remaining, 30.0), 3), "used"))
                warned = True
            if until.remaining <= AGAIN:
                raise AuthenticationError(
                    "login: code.command prints a code that was already sent; a code is never sent twice"
                )
            await self._clock.sleep(AGAIN)
        await keep_used(wanted.held, code)
        return Code(code)

    async def _once(self, until: Deadline, deadline: Deadline) -> str:
        raw, errors, status = await self._output(until.min(deadline), until)
        said = f": {show(without_codes(errors, self._settings.pattern), 300)}" if errors else ""
        if status != 0:
            raise AuthenticationError(f"login: code.command ended with {status}{said}; run it manually to check")
        if len(raw) > MAX_OUTPUT:
            raise AuthenticationError(
                f"login: code.command printed more than {MAX_OUTPUT} bytes; it must print only the code"
            )
        code = code_in(raw.decode(errors="replace"), self._settings.pattern)
        if code is None:
            raise AuthenticationError(f"login: code.command printed nothing that matches code.pattern{said}")
        return code

    async def _output(self, soonest: Deadline, until: Deadline) -> tuple[bytes, str, int]:
        """Returns the program's output, its error output and its exit status. Ends it and its children."""
        process = await self._started()
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(max(0.0, soonest.remaining)):
                raw, errors = await asyncio.gather(_bounded(process.stdout, process), _bounded(process.stderr, process))
                status = await process.wait()
        except TimeoutError:
            if until.remaining > 0:
                raise DeadlineExceeded(f"login: code.command did not end until {soonest.what} ended") from None
            raise AuthenticationError(
                f"login: code.command did not end within {self._settings.timeout:.0f} s (code.timeout)"
            ) from None
        finally:
            _kill(process)
            with suppress(ProcessLookupError):
                await process.wait()
        return raw, errors.decode(errors="replace").strip(), 0 if len(raw) > MAX_OUTPUT else status

    async def _started(self) -> asyncio.subprocess.Process:
        # This process's own variables may contain secrets that the program must not see.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        pipe = asyncio.subprocess.PIPE
        try:
            return await asyncio.create_subprocess_exec(
                *self._settings.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            fault = error.strerror if isinstance(error, OSError) else "a NUL in an argument"
            raise AuthenticationError(
                f"login: code.command: {show(self._settings.command[0], 200)} cannot be started ({fault})"
            ) from None

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Does nothing: the caller stores the code, which is still valid."""

    async def check(self, deadline: Deadline) -> str:  # noqa: ARG002 - nothing is waited for
        """Checks that the program exists. Does not run it, since that may use up a code."""
        program = self._settings.command[0]
        place = shutil.which(program)
        if place is None:
            raise AuthenticationError(f"code.command: {show(program, 200)} is not an executable program")
        return f"{show(place, 200)} is executable; it is not run, since that may use up a code"


async def _bounded(stream: asyncio.StreamReader, process: asyncio.subprocess.Process) -> bytes:
    """Reads to the end, or slightly beyond the bound; then kills the program, which would otherwise wait for a reader."""
    content = bytearray()
    while part := await stream.read(4096):  # always to the end: asyncio does not detect the end of unread output
        if len(content) <= MAX_OUTPUT:
            content += part
            if len(content) > MAX_OUTPUT:
                _kill(process)
    return bytes(content)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kills the program and everything it started in its process session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def command_source(options: CodeOptions) -> CommandSource:
    """Returns the source. Raises UsageError without a program."""
    if not options.settings.command or not options.settings.command[0]:
        raise UsageError("code.command: name the program that prints the code, such as [pass, otp, example.org]")
    return CommandSource(options)
