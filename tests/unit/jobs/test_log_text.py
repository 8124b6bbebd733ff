"""Text of a job's log: nothing of a secret is left where a long line is cut, and little is held."""

import pytest

from runner.events.redaction import Redactor
from runner.external import redacting_with
from runner.jobs.log_text import AHEAD, KEPT, LONG, ShownLines, Tail

SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    """Knows the secret."""
    made = Redactor()
    made.add(SECRET)
    return made


@pytest.mark.parametrize("before", range(1, len(SECRET)))
def test_a_long_line_is_never_cut_within_a_secret(redactor: Redactor, before: int) -> None:
    line = "." * (LONG - before) + SECRET + "." * (LONG + 2 * AHEAD) + "\n"
    lines = ShownLines()
    with redacting_with(redactor.redact):
        made = "".join(lines.add(line[at : at + 10_000]) for at in range(0, len(line), 10_000)) + lines.end()
    assert set(made) == {".", "*", "\n"}
    assert made.count(".") == line.count(".")


def test_a_long_line_that_is_all_secret_shows_nothing_of_it(redactor: Redactor) -> None:
    lines = ShownLines()
    with redacting_with(redactor.redact):
        made = lines.add(SECRET * 8000) + lines.end()
    assert set(made) <= {"*", "\n"}


@pytest.mark.parametrize("cut", range(1, len(SECRET)))
def test_the_end_of_a_log_shows_nothing_of_a_secret_whose_beginning_is_gone(redactor: Redactor, cut: int) -> None:
    tail = Tail()
    tail.add(b"." * (3 * KEPT))
    tail.add((SECRET + "." * (KEPT - len(SECRET) + cut)).encode())
    with redacting_with(redactor.redact):
        made = "".join(tail.take(50, whole=True))
    assert set(made) == {".", "*"}


def test_the_end_of_a_log_is_held_in_bounded_memory() -> None:
    tail = Tail()
    for number in range(2000):
        tail.add(b"%d" % number + b"x" * 1000 + b"\n")
        assert len(tail._held) <= 2 * KEPT + 1100
    lines = tail.take(50)
    assert len(lines) == 50 and lines[-1].startswith("1999x")
    assert tail.dropped >= 1900
