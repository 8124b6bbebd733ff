"""Spans found in decoded text are mapped back to all of the text that they were decoded from."""

import random
import string

from runner.events.redaction import Redactor
from runner.events.unfolding import Pieces, marks_of
from tests.support.echoing_sandbox import EchoingSandbox
from tests.support.leak_scanner import Listening, canary


def test_a_span_over_two_runs_covers_both() -> None:
    pieces = Pieces(b"abcdefgh -- ijklmnop", marks_of(b"abcdefghijklmnop"), 8)
    assert pieces.text == b"abcdefgh\0ijklmnop"
    assert (pieces.back((6, 12)), pieces.back((2, 5)), pieces.back((9, 17))) == ((6, 15), (2, 5), (12, 20))


def test_no_part_comes_out_of_a_text_full_of_cut_encodings() -> None:
    for seed in range(40):
        random.seed(seed)
        secrets = [*(canary() for _ in range(3)), "".join(random.choices(string.ascii_letters + string.digits, k=420))]
        echo, redactor = EchoingSandbox(), Redactor()
        echo.on_response = secrets
        for secret in secrets:
            redactor.add(secret)
        assert Listening(secrets).found(redactor.redact(echo.text)) == set()
