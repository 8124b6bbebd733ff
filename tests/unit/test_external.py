"""Text from outside: it is not printed by itself, and what shows it redacts, escapes and cuts, in that order."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runner
from runner.external import HIDDEN, PLACEHOLDER, ExternalText, cut, escape, redacting_with, show

ROOT = Path(runner.__file__).parent.parent
SECRET = "hunter2-Sekr3t!-hunter2"


def test_external_text_prints_as_a_placeholder_whichever_way_it_is_printed() -> None:
    text: object = ExternalText(SECRET)  # as an object: mypy refuses the lines below for its own type
    printed = [
        f"{text}",
        f"{text!r}",
        f"{text:>40}",
        str(text),
        repr(text),
        f"{[text]}",
    ]
    assert {one.strip("[]") for one in printed} == {PLACEHOLDER}


def test_external_text_is_compared_hashed_and_copied_by_its_raw_text() -> None:
    text = ExternalText("job-1")
    assert text == ExternalText("job-1") == "job-1" and text != ExternalText("job-2") and text != "job-2"
    assert hash(text) == hash("job-1") and {text: 1}["job-1"] == 1  # type: ignore[index]
    assert copy.deepcopy(text) == pickle.loads(pickle.dumps(text)) == text
    assert ExternalText("") != ExternalText("x") and not ExternalText("") and len(text) == 5
    assert text != 5 and text != None  # noqa: E711


def test_external_text_does_not_change() -> None:
    text = ExternalText("job-1")
    with pytest.raises(AttributeError, match="cannot assign to 'raw'"):
        text.raw = "job-2"
    assert text.raw == "job-1"


def test_a_secret_is_redacted_before_the_text_is_cut_through_it() -> None:
    with redacting_with(lambda text: text.replace(SECRET, HIDDEN)):
        for before in range(60):
            shown = show(ExternalText("E" * before + SECRET + "F" * 40), 50)
            assert not {SECRET[at : at + 4] for at in range(len(SECRET) - 3)} & {shown[at : at + 4] for at in range(50)}
            assert shown == cut("E" * before + HIDDEN + "F" * 40, 50)


def test_of_a_long_text_only_the_beginning_is_redacted_and_no_secret_is_divided_by_its_end() -> None:
    """What a log line costs does not grow with what an API sends."""
    seen: list[int] = []

    def redact(text: str) -> str:
        seen.append(len(text))
        return text.replace(SECRET, HIDDEN)

    with redacting_with(redact):
        for before in range(4 * 50 + 4000, 4 * 50 + 4200):
            text = SECRET * (before // len(SECRET)) + "E" * (before % len(SECRET)) + SECRET + "F" * 100_000
            shown = show(ExternalText(text), 50)
            assert not {SECRET[at : at + 4] for at in range(len(SECRET) - 3)} & {shown[at : at + 4] for at in range(50)}
            assert shown.endswith("…") and len(shown) <= 50
    assert max(seen) < 5000


def test_a_secret_that_holds_control_characters_is_redacted_before_they_are_escaped() -> None:
    with redacting_with(lambda text: text.replace("pass\tword", HIDDEN)):
        assert show("the pass\tword", 80) == f"the {HIDDEN}"
    assert show("the pass\tword", 80) == r"the pass\tword"


def test_the_redactor_of_before_is_back_after_an_error() -> None:
    with pytest.raises(KeyError), redacting_with(lambda _text: "inner"):
        assert show("text", 9) == "inner"
        raise KeyError
    assert show("text", 9) == "text"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain [/var/lib/data] <b> & \\ é 漢 🙂 a\xa0b", "plain [/var/lib/data] <b> & \\ é 漢 🙂 a\xa0b"),
        ("\x1b]52;c;AAAA\x07", r"\x1b]52;c;AAAA\x07"),
        ("a\nb\rc\td\0\x7f\x85\x9b", r"a\nb\rc\td\x00\x7f\x85\x9b"),
        ("\u202egnp.exe\u2066\u200b\ufeff", r"\u202egnp.exe\u2066\u200b\ufeff"),
        ("\u2028::error::x\u2029", r"\u2028::error::x\u2029"),
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
        ("##vso[task.setvariable]x ##[error] ##TeamCity[x] ## heading", r"#\x23vso[task.setvariable]x #\x23[error] #\x23TeamCity[x] ## heading"),
        ("::add-mask::a ::b::", r"\x3a:add-mask::a ::b::"),
        ("  ::error::x", r"  \x3a:error::x"),
        ("::1 std::error::x", "::1 std::error::x"),
    ],
)  # fmt: skip
def test_what_steers_a_terminal_a_log_viewer_or_a_ci_system_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert show(text, 200) == escaped


@given(st.text(), st.integers(1, 60))
def test_what_is_shown_is_one_printable_line_of_bounded_length(text: str, limit: int) -> None:
    shown = show(text, limit)
    assert len(shown) <= limit
    assert shown.replace("\xa0", " ").isprintable() or all(one.isprintable() or one.isspace() for one in shown)
    assert len(shown.splitlines()) <= 1
    shown.encode()  # raises for half surrogates


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        (r"ab\x1bcd", 6, "ab…"),
        (r"a\x1bcd", 6, r"a\x1b…"),
        (r"ab\u202ecd", 8, "ab…"),
        (r"a\u202ecd", 8, r"a\u202e…"),
        (r"a\U000e0041cd", 11, "a…"),
        (r"\U000e0041cd", 11, r"\U000e0041…"),
        (r"abcd\nef", 6, "abcd…"),
        ("abc***def", 6, "abc…"),
        ("ab***def", 6, "ab***…"),
        ("abc", 1, "…"),
    ],
)
def test_the_cut_divides_neither_an_escape_nor_a_redaction_mark(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected


MISTAKES = {
    "f'{text}'": True,
    "f'{text!r}'": True,
    "f'{perhaps}'": True,
    "f'{several}'": True,
    "str(text)": True,
    "repr(text)": True,
    "print(text)": True,
    "format(text)": True,
    "'{}'.format(text)": True,
    "f'{pair}'": True,
    "f'{show(text, 80)}'": False,
    "f'{len(text)}'": False,
    "f'{text.raw}'": False,
}


def test_the_type_checker_refuses_to_print_external_text(tmp_path: Path) -> None:
    lines = [
        "from runner.external import ExternalText, show",
        "def use(text: ExternalText, perhaps: ExternalText | None, several: list[ExternalText], pair: tuple[ExternalText, int]) -> None:",
        *(f"    {expression}" for expression in MISTAKES),
    ]
    (tmp_path / "mistakes.py").write_text("\n".join(lines) + "\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(tmp_path),
    ]
    ran = subprocess.run([*command, str(tmp_path / "mistakes.py")], cwd=ROOT, capture_output=True, text=True)
    refused = {
        int(line.split(":")[1]) for line in ran.stdout.splitlines() if "text from outside must not be printed" in line
    }
    assert refused == {number for number, wrong in enumerate(MISTAKES.values(), 3) if wrong}, ran.stdout + ran.stderr
