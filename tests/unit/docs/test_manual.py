"""The manual page: written from the parser, and whole."""

from runner.parser import COMMANDS
from tools.manual import PAGE, written


def test_the_manual_page_is_what_the_parser_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "run `make docs`"


def test_every_command_stands_in_the_manual_page() -> None:
    text = PAGE.read_text(encoding="utf-8").replace("\\-", "-")
    assert [name for name in COMMANDS if f"sync-runner {name}" not in text and f"/{name}" not in text] == []
