"""Codes that a program prints: a password manager, a token's tool. No shell, a deadline, bounded output."""

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
AGAIN = 1.0  # seconds until the program is asked again, after a code that was sent before


class CommandSource:
    """Runs the program once for each code, and again while it prints the code that was sent last."""

    once = False
    stale = False
    by_person = False

    def __init__(self, options: CodeOptions) -> None:
        """Nothing runs yet."""
        self._settings = options.settings
        self._clock = options.clock
        self._add_secret = options.add_secret

    async def begin(self, deadline: Deadline) -> None:
        """Nothing is older: the program makes a code when it is asked."""

    async def next(self, wanted: CodeWanted) -> Code:
        """What the program prints. Raises AuthenticationError where it gives no code in `code.timeout`."""
        until = Deadline.after(self._clock, self._settings.timeout, "code.timeout")
        told = False
        while True:
            code = await self._once(until, wanted.deadline)
            if wanted.held.state.last_code != record_of(code):
                break
            if not told:
                wanted.observer.emit(events.CodeWait(round(min(until.remaining, 30.0), 3), "used"))
                told = True
            if until.remaining <= AGAIN:
                raise AuthenticationError(
                    "login: code.command prints the code that was sent before; a code is never sent twice"
                )
            await self._clock.sleep(AGAIN)
        await keep_used(wanted.held, code)
        return Code(code)

    async def _once(self, until: Deadline, deadline: Deadline) -> str:
        raw, errors, status = await self._output(until.min(deadline), until)
        said = f": {show(without_codes(errors, self._settings.pattern), 300)}" if errors else ""
        if status != 0:
            raise AuthenticationError(f"login: code.command ended with {status}{said}; try it by hand")
        if len(raw) > MAX_OUTPUT:
            raise AuthenticationError(
                f"login: code.command printed more than {MAX_OUTPUT} bytes; only the code is wanted"
            )
        code = code_in(raw.decode(errors="replace"), self._settings.pattern)
        if code is None:
            raise AuthenticationError(f"login: code.command printed nothing that fits code.pattern{said}")
        return code

    async def _output(self, soonest: Deadline, until: Deadline) -> tuple[bytes, str, int]:
        """What the program printed, what it said of errors, and how it ended. It and its children are gone afterwards."""
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
        # Our own variables may hold secrets that are none of the program's business.
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
            fault = error.strerror if isinstance(error, OSError) else "a NUL in a word"
            raise AuthenticationError(
                f"login: code.command: {show(self._settings.command[0], 200)} cannot be started ({fault})"
            ) from None

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """The code is kept by who asked, and still good."""

    async def check(self, deadline: Deadline) -> str:  # noqa: ARG002 - nothing is waited for
        """The program is there; it is not run, for it may use a code up."""
        program = self._settings.command[0]
        place = shutil.which(program)
        if place is None:
            raise AuthenticationError(f"code.command: {show(program, 200)} is no program that can be started here")
        return f"{show(place, 200)} can be started; it is not run, for that may use a code up"


async def _bounded(stream: asyncio.StreamReader, process: asyncio.subprocess.Process) -> bytes:
    """To the end, or a little beyond the bound; then the program is killed, which would else wait for who reads on."""
    content = bytearray()
    while part := await stream.read(4096):  # to the end in any case: asyncio sees none behind what nobody reads
        if len(content) <= MAX_OUTPUT:
            content += part
            if len(content) > MAX_OUTPUT:
                _kill(process)
    return bytes(content)


def _kill(process: asyncio.subprocess.Process) -> None:
    """With all that it started in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def command_source(options: CodeOptions) -> CommandSource:
    """The source. Raises UsageError without a program."""
    if not options.settings.command or not options.settings.command[0]:
        raise UsageError("code.command: name the program that prints the code, such as [pass, otp, example.org]")
    return CommandSource(options)
