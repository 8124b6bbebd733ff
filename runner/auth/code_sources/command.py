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
AFTER_ITS_END = 0.5  # seconds in which the output of a program that ended is complete
AGAIN = 1.0  # seconds until the program is run again, after it printed a code that was already sent

_Output = tuple[asyncio.StreamReader, asyncio.ReadTransport]


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
            how = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
            raise AuthenticationError(f"login: code.command {how}{said}; run it manually to check")
        code = code_in(raw.decode(errors="replace"), self._settings.pattern)
        if code is None:
            raise AuthenticationError(f"login: code.command printed nothing that matches code.pattern{said}")
        return code

    async def _output(self, soonest: Deadline, until: Deadline) -> tuple[bytes, str, int]:
        """Returns the program's output, its error output and its exit status. Ends it and its children.

        What it leaves running may hold its output open (an agent): the output is complete shortly after its own end.
        """
        process, outputs = await self._started()
        contents = [bytearray(), bytearray()]
        reads = [
            asyncio.ensure_future(_read(reader, content, process))
            for (reader, _transport), content in zip(outputs, contents, strict=True)
        ]
        try:
            async with asyncio.timeout(max(0.0, soonest.remaining)):
                status = await process.wait()
                await asyncio.wait(reads, timeout=AFTER_ITS_END)
        except TimeoutError:
            if until.remaining > 0:
                raise DeadlineExceeded(f"login: code.command did not end before {soonest.what} ended") from None
            raise AuthenticationError(
                f"login: code.command did not end within {self._settings.timeout:.0f} s (code.timeout)"
            ) from None
        finally:
            _kill(process)
            for read, (_reader, transport) in zip(reads, outputs, strict=True):
                read.cancel()
                transport.close()
            await asyncio.gather(*reads, return_exceptions=True)
            await process.wait()
        raw, errors = (bytes(content) for content in contents)
        if max(len(raw), len(errors)) > MAX_OUTPUT:
            raise AuthenticationError(
                f"login: code.command printed more than {MAX_OUTPUT} bytes; it must print only the code"
            )
        return raw, errors.decode(errors="replace").strip(), status

    async def _started(self) -> tuple[asyncio.subprocess.Process, list[_Output]]:
        """Starts the program with two pipes of our own: those of asyncio report its end only after theirs."""
        # This process's own variables may contain secrets that the program must not see.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        pipes = [os.pipe(), os.pipe()]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._settings.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            for readable, _writable in pipes:
                os.close(readable)
            fault = error.strerror if isinstance(error, OSError) else "a NUL in an argument"
            raise AuthenticationError(
                f"login: code.command: {show(self._settings.command[0], 200)} cannot be started ({fault})"
            ) from None
        finally:
            for _readable, writable in pipes:
                os.close(writable)
        return process, [await _opened(readable) for readable, _writable in pipes]

    def give_back(self, held: HeldState, before: AccountState) -> None:
        """Does nothing: the caller stores the code, which is still valid."""

    async def check(self, deadline: Deadline) -> str:  # noqa: ARG002 - nothing is waited for
        """Checks that the program exists. Does not run it, since that may use up a code."""
        program = self._settings.command[0]
        place = shutil.which(program)
        if place is None:
            raise AuthenticationError(f"code.command: {show(program, 200)} is not an executable program")
        return f"{show(place, 200)} is executable; it is not run, since that may use up a code"


async def _opened(readable: int) -> _Output:
    reader = asyncio.StreamReader()
    transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(readable, "rb", buffering=0)
    )
    return reader, transport


async def _read(reader: asyncio.StreamReader, content: bytearray, process: asyncio.subprocess.Process) -> None:
    """Reads to the end, or slightly beyond the bound; then kills the program, which would otherwise wait for a reader."""
    while part := await reader.read(4096):
        content += part
        if len(content) > MAX_OUTPUT:
            _kill(process)
            return


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kills the program and everything it started in its process session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def command_source(options: CodeOptions) -> CommandSource:
    """Returns the source. Raises UsageError without a program."""
    if not options.settings.command or not options.settings.command[0]:
        raise UsageError("code.command: name the program that prints the code, such as [pass, otp, example.org]")
    return CommandSource(options)
