"""Each of sixty mistakes gets the message that docs/messages.md shows."""

from tools import messages


def test_every_mistake_gets_the_message_of_the_page() -> None:
    assert len([mistake for group in messages.MISTAKES.values() for mistake in group]) >= 60
    assert messages.PAGE.read_text(encoding="utf-8") == messages.page(), "run `make docs`"
