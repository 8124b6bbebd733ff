"""Sources of one-time codes without a network: counters, patterns, and who is looked up when."""

import asyncio
import base64
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from runner.auth import totp
from runner.auth.code_sources import command, hotp, kinds, mail_text, mailbox, person
from runner.auth.code_sources.found import code_in, without_codes
from runner.auth.code_sources.interface import Code, CodeOptions, CodeWanted
from runner.auth.code_sources.totp import TotpSource
from runner.auth.codes import Codes
from runner.auth.totp import parse_seed
from runner.clock import Deadline, SystemClock
from runner.errors import SecretError, UsageError
from runner.events.observer import Observer
from runner.outputs.metrics import MetricsListener
from runner.settings.code_section import CodeSettings, ImapSettings
from runner.state.directory import DirectoryState
from runner.state.interface import AccountOptions, State, seed_key
from runner.state.memory import MemoryState, MemoryStore
from runner.state.record import Codec
from tests.support.login_model import FakeClock

KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 4226, appendix D: 12345678901234567890
CODES = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
CLOCK = SystemClock()
DEADLINE = Deadline.after(CLOCK, 60.0, "the test")


class Secrets:
    """A reader of one secret."""

    def __init__(self, text: str) -> None:
        self.text = text

    def require(self, _name: str) -> str:
        return self.text


def options(source: str, secret: str = KEY, **more: Any) -> CodeOptions:
    reader: Any = Secrets(secret)
    return CodeOptions(CodeSettings(source=source), reader, CLOCK, lambda *_a, **_k: None, inbox=MemoryStore(), **more)


def ask(source: hotp.HotpSource, store: MemoryStore, *, back: bool = False) -> str:
    async def once() -> str:
        async with store.hold(DEADLINE) as held:
            before = held.state
            code = await source.next(CodeWanted(held, DEADLINE, Observer(CLOCK)))
            kept = store.state
            assert kept.counter == held.state.counter, "the counter is kept before the code leaves"
            if back:
                source.give_back(held, before)
        return code.text

    return asyncio.run(once())


def test_counter_codes_are_those_of_the_rfc_and_none_comes_twice() -> None:
    store = MemoryStore()
    assert [ask(hotp.hotp_source(options("hotp")), store) for _ in CODES] == CODES


def test_a_code_that_was_not_looked_at_is_given_again() -> None:
    store, source = MemoryStore(), hotp.hotp_source(options("hotp"))
    assert [ask(source, store), ask(source, store, back=True), ask(source, store)] == [CODES[0], CODES[1], CODES[1]]


def test_the_counter_belongs_to_its_seed_and_begins_where_the_uri_says() -> None:
    store = MemoryStore()
    ask(hotp.hotp_source(options("hotp")), store)
    other = hotp.hotp_source(options("hotp", f"otpauth://hotp/x?secret={'B' * 32}&counter=7"))
    ask(other, store)
    assert store.state.counter == 8
    assert ask(hotp.hotp_source(options("hotp", f"otpauth://hotp/x?secret={KEY}&counter=9")), store) == CODES[9]


def test_the_counter_outlives_the_written_form() -> None:
    store, codec = MemoryStore(), Codec()
    ask(hotp.hotp_source(options("hotp")), store)
    again = MemoryStore(codec.decode(codec.encode(store.state)))
    assert ask(hotp.hotp_source(options("hotp")), again) == CODES[1]


@pytest.mark.parametrize(
    "secret",
    [
        "", "abc", "1234567", "otpauth://totp/x?secret=" + KEY, "otpauth://hotp/x", "otpauth://hotp/x?secret=!",
        f"otpauth://hotp/x?secret={KEY}&counter=-1", f"otpauth://hotp/x?secret={KEY}&counter=99999999999",
        f"otpauth://hotp/x?secret={KEY}&digits=5", "otpauth://[", f"otpauth://hotp/x?secret={KEY}&counter=",
    ],
)  # fmt: skip
def test_a_seed_that_cannot_be_used_is_named_and_not_shown(secret: str) -> None:
    if secret.endswith("counter="):  # an empty parameter is none
        assert hotp.parse(secret)[1] == 0
        return
    with pytest.raises(SecretError, match="hotp_seed") as caught:
        hotp.parse(secret)
    assert KEY not in str(caught.value)
    assert "totp_seed" not in str(caught.value) or "time-based" in str(caught.value)


def test_a_counter_needs_a_state_that_is_kept() -> None:
    with pytest.raises(UsageError, match="state.dir"):
        hotp.hotp_source(
            CodeOptions(CodeSettings(source="hotp"), options("hotp").reader, CLOCK, options("hotp").add_secret)
        )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Your code is 123456.", "123456"), ("order 123456789012\ncode 4711", "4711"), ("abc123456", None), ("", None),
        ("x" * 501 + " 123456", None), ("\n" * 2001 + "123456", None), ("code:\r\n  0042  ", "0042"),
    ],
)  # fmt: skip
def test_the_usual_pattern_finds_a_code_in_a_line(text: str, code: str | None) -> None:
    assert code_in(text, CodeSettings().pattern) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("\x1b[1;32m123456\x1b[0m", "123456"), ("code 123 456", "123456"), ("code 123-456", "123456"), ("code 12\u200b34\u200b56", "123456"),
        ("code 123\u00a0456", "123456"), ("\ufeff123456", "123456"), ("code " + "".join(chr(0xFF10 + one) for one in range(1, 7)), "123456"), ("code AB-12", None),
    ],
)  # fmt: skip
def test_a_code_that_is_shown_in_groups_colours_or_other_digits_is_the_code(text: str, code: str | None) -> None:
    assert code_in(text, r"(?<![0-9A-Za-z])([0-9]{3}[ -]?[0-9]{3})(?![0-9])") == code
    assert not set(without_codes(text, "PIN=([0-9]+)")) & set("123456") or code is None


def test_a_code_of_letters_stays_as_it_is_shown() -> None:
    assert code_in("code AB-12", r"[A-Z]{2}-[0-9]{2}") == "AB-12"


def _mail(
    body: str | bytes, kind: str = "text/plain; charset=utf-8", way: str = "8bit", subject: str = "Your code"
) -> bytes:
    head = f"From: S <a@svc.example>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {way}\r\n\r\n"
    return head.encode() + (body if isinstance(body, bytes) else body.encode())


def _both(plain: str, page: str) -> bytes:
    parts = (
        f"--b\r\nContent-Type: text/plain\r\n\r\n{plain}\r\n--b\r\nContent-Type: text/html\r\n\r\n{page}\r\n--b--\r\n"
    )
    return _mail(parts, "multipart/alternative; boundary=b")


MESSAGES = {
    "quoted-printable, cut within the code": _mail("Your code: 123=\r\n456\r\n", way="quoted-printable"),
    "base64": _mail(base64.encodebytes(b"Your code: 123456"), way="base64"),
    "base64 of UTF-16": _mail(base64.encodebytes("code: 123456".encode("utf-16")), "text/plain; charset=utf-16", "base64"),
    "a charset that nobody knows": _mail("Your code: 123456", "text/plain; charset=x-own"),
    "subject in base64": _mail("123456", subject="=?utf-8?b?WW91ciBjb2Rl?="),
    "subject in quoted-printable, folded": _mail("123456", subject="=?utf-8?q?Your_?=\r\n =?utf-8?q?code?="),
    "the code in the subject alone": _mail("See above.", subject="Your code is 123456"),
    "a page": _mail("<p>Your code: <b>123456</b></p>", "text/html"),
    "a page, digits in tags of their own": _mail("<p>".join(["", *(f"<span>{one}</span>" for one in "123456")]).replace("<p>", ""), "text/html"),
    "a page, digits in cells of their own": _mail("<tr>" + "\n".join(f"<td>{one}</td>" for one in "123456") + "</tr>", "text/html"),
    "a page with numbers that are not shown": _mail(
        "<title>Order 555555</title><style>p{width:444444px} a>b{x:666666}</style><!--[if mso]><p>777777</p><![endif]-->"
        "<!-- 888888 --><script>if (1 < 2) x = 999999</script><p style='color:#112233'>123456</p>", "text/html"
    ),
    "a plain text that refers to the page": _both("Please read this message as HTML.", "<p>Your code: <b>123456</b></p>"),
    "a plain text beside its page": _both("Your code: 123456", "<p>999999</p>"),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_the_code_of_a_message_is_what_a_person_would_read(name: str) -> None:
    wanted = CodeSettings(source="imap", imap=ImapSettings(sender="@svc.example", subject="your code"))
    assert mailbox._code_of(MESSAGES[name], wanted) == "123456"


def test_a_page_made_to_take_time_takes_none() -> None:
    for page in ("<style>" * 40_000, "<!--" * 60_000, "<" * 250_000, "1 " * 120_000, "<td>1" * 50_000):
        assert isinstance(mail_text.shown(page), str)


@pytest.mark.parametrize("left", ["sleep 100", "setsid sleep 100"])
def test_a_program_that_leaves_one_running_has_given_its_code(left: str) -> None:
    settings = CodeSettings(source="command", command=("sh", "-c", f"{left} & echo $! >&2; echo 123456"), timeout=30.0)
    reader: Any = None
    source = command.command_source(CodeOptions(settings, reader, CLOCK, lambda *_a, **_k: None, inbox=MemoryStore()))

    async def once() -> tuple[str, float]:
        begun = CLOCK.monotonic()
        deadline = Deadline.after(CLOCK, 60.0, "the test")
        async with MemoryStore().hold(deadline) as held:
            code = await source.next(CodeWanted(held, deadline, Observer(CLOCK)))
        return code.text, CLOCK.monotonic() - begun

    code, seconds = asyncio.run(once())
    assert code == "123456"
    assert seconds < settings.timeout  # it did not wait for the other one


def _submitted(*codes: str, taken: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], MemoryStore]:
    """What comes of codes that are submitted at one moment, and the inbox; `taken`: a run takes the first one."""
    monkeypatch.setattr(person, "TAKEN_SECONDS", 0.6)
    monkeypatch.setattr(person, "POLL", 0.05)
    inbox = MemoryStore()

    async def waiting_run(until: Deadline) -> None:
        while not inbox.state.submitted_code:
            await CLOCK.sleep(0.01)
        await CLOCK.sleep(0.1)
        async with inbox.hold(until) as held:
            held.change(submitted_code=None, code_waiter=0.0)

    async def both() -> list[Any]:
        until = Deadline.after(CLOCK, 60.0, "the test")
        run = [waiting_run(until)] if taken else []
        found = await asyncio.gather(
            *(person.submit(inbox, one, CLOCK, until) for one in codes), *run, return_exceptions=True
        )
        return found[: len(codes)]

    return asyncio.run(both()), inbox


def test_of_two_codes_that_are_submitted_at_once_the_first_is_used_and_the_other_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first, second), _inbox = _submitted("111111", "222222", taken=True, monkeypatch=monkeypatch)
    assert first is True
    assert isinstance(second, UsageError)
    assert "was not used" in str(second)
    assert "222222" not in str(second)


def test_a_code_that_no_run_takes_does_not_stay_for_a_later_login(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, second), inbox = _submitted("111111", "222222", taken=False, monkeypatch=monkeypatch)
    assert False in (first, second)
    assert inbox.state.submitted_code is None


def test_the_first_group_counts_and_nothing_else_is_shown() -> None:
    assert code_in("PIN=77-1234", r"PIN=[0-9]+-([0-9]+)") == "1234"
    assert without_codes("got 123456 for x", CodeSettings().pattern) == "got *** for x"
    assert "123456" not in repr(Code("123456"))


def test_a_source_of_another_package_is_looked_up_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Point:
        value = "package:source"

        def load(self) -> Any:
            return lambda given: ("theirs", given.settings.source)

    def entry_points(*, group: str, name: str) -> list[Point]:
        asked.append(f"{group} {name}")
        return [Point()]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    kinds.open_source(options("totp"))
    assert asked == []
    theirs: Any = kinds.open_source(options("theirs"))
    assert theirs == ("theirs", "theirs")
    assert asked == ["sync_runner.code_sources theirs"]


@pytest.mark.parametrize(
    ("source", "seconds", "told"), [("person", 90.0, True), ("person", None, False), ("totp", 90.0, False)]
)
def test_the_end_of_a_session_is_a_metric_only_where_a_person_must_log_in(
    source: str, seconds: float | None, told: bool
) -> None:
    metrics = MetricsListener()
    given = options(source)
    codes = Codes("https://x.example", CLOCK, given.add_secret, kinds.open_source(given))
    before = CLOCK.time()
    codes.tell_end(seconds, Observer(CLOCK, [metrics], {"account": "ann"}))
    found = re.findall(
        r'^sync_runner_session_end_timestamp_seconds\{account="ann"\} (\S+)$', metrics.text(), re.MULTILINE
    )
    assert len(found) == told
    if told:
        assert before + 90 <= float(found[0]) <= CLOCK.time() + 90


def codes_of(place: State, *names: str, seeds: tuple[str, ...] = (KEY, KEY), back: bool = False) -> list[str]:
    """The code that each account of that name sends, at one moment of a clock that only sleep moves."""
    clock = FakeClock()

    async def one(name: str, text: str) -> str:
        options = AccountOptions(Codec(), print)
        source = TotpSource(clock, lambda seed: place.account(seed_key(seed), options))
        deadline = Deadline.after(clock, 300.0, "the test")
        async with place.account(name, options).hold(deadline) as held:
            before = held.state
            code = await source.next(CodeWanted(held, deadline, Observer(clock), parse_seed(text)))
            if back:
                source.give_back(held, before)
                again = await source.next(CodeWanted(held, deadline, Observer(clock), parse_seed(text)))
                assert again.text == code.text
        return code.text

    async def all_at_once() -> list[str]:
        try:
            return await asyncio.gather(*(one(name, text) for name, text in zip(names, seeds, strict=True)))
        finally:
            await place.close()

    return asyncio.run(all_at_once())


def _places(home: Path) -> dict[str, State]:
    return {"memory": MemoryState(), "directory": DirectoryState(home, FakeClock())}


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_two_accounts_with_one_seed_never_send_one_code(tmp_path: Path, kind: str) -> None:
    """Other spellings of one user's name, or of the API's address; the seed too may be written otherwise."""
    spelled = f"otpauth://totp/x?secret={KEY.lower()}&digits=6"
    codes = codes_of(_places(tmp_path)[kind], "a", "b", "c", seeds=(KEY, spelled, f"{KEY[:4]} {KEY[4:]}"))
    assert len(set(codes)) == 3


def test_accounts_with_seeds_of_their_own_do_not_wait_for_each_other(tmp_path: Path) -> None:
    place = DirectoryState(tmp_path, FakeClock())
    first, second = codes_of(place, "a", "b", seeds=(KEY, KEY[::-1]))
    assert first != second
    kept = [Codec().decode(path.read_bytes()).last_step for path in (tmp_path / "sessions").glob("seed-*.json")]
    assert kept == [totp.step_at(parse_seed(KEY), FakeClock().now)] * 2


def test_the_record_of_a_seed_shows_neither_seed_nor_code(tmp_path: Path) -> None:
    codes = codes_of(DirectoryState(tmp_path, FakeClock()), "a", "b")
    written = "".join(path.name + path.read_text() for path in (tmp_path / "sessions").glob("seed-*"))
    assert not any(secret in written for secret in (KEY, KEY.lower(), "1234567890", *codes))


def test_a_code_that_was_not_looked_at_is_sent_again_by_the_run_that_made_it(tmp_path: Path) -> None:
    codes_of(DirectoryState(tmp_path, FakeClock()), "a", seeds=(KEY,), back=True)
