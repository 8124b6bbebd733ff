"""A small part of the campaign `tests/campaign/fuzz.py`: no input of nine kinds ends a command with code 1."""

import pytest

from tests.campaign.fuzz import KINDS, SECONDS, inputs


@pytest.mark.parametrize("kind", KINDS)
def test_no_input_is_a_defect(kind: str) -> None:
    made = inputs(kind, 40, seed=2)
    assert made["faults"] == {}
    assert 1 not in made["codes"] and sum(made["codes"].values()) == 40
    assert made["longest"] < SECONDS and made["peak_mib"] < 512
