"""The page on observability says what the code does, and its pictures are of the real view."""

import re
from pathlib import Path

import yaml

from runner.events.events import ALL
from runner.outputs.metrics import MetricsListener
from runner.outputs.webhook import webhook_values
from runner.settings import WEBHOOK_VALUES, Settings
from tests.support.monitoring import DESIGN, OF_A_PERSON
from tests.unit.outputs.test_report import EVERY, run
from tools.pictures import WIDTHS, picture

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "observability.md").read_text()


def test_the_table_of_metrics_is_the_designs() -> None:
    rows = re.findall(r"^\| `sync_runner_(\w+)` \| (\w+) \| ([\w, ]*)\|", PAGE, re.MULTILINE)
    found = {name: (kind, {label.strip() for label in labels.split(",")} - {""}) for name, kind, labels in rows}
    assert found == DESIGN | OF_A_PERSON
    assert MetricsListener().text()  # and all are registered without a clash


def test_every_setting_on_the_page_exists() -> None:
    for path in re.findall(r"`((?:metrics|report|notify|log)\.[a-z_.]+)`", PAGE):
        if path in {kind.name for kind in ALL}:
            continue
        model: object = Settings
        for name in path.split("."):
            fields = getattr(model, "model_fields", {})
            assert name in fields, path
            model = fields[name].annotation


def test_the_yaml_example_is_accepted() -> None:
    for example in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL):
        assert Settings(base_url="https://x.example", **yaml.safe_load(example))


def test_what_a_webhook_body_may_name_is_what_it_gets() -> None:
    assert tuple(webhook_values(run(*EVERY))) == WEBHOOK_VALUES


def test_the_pictures_are_of_the_view_as_it_is_and_load_nothing() -> None:
    def words(svg: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)</text>", svg)

    for width in WIDTHS:
        kept = (DOCS / "images" / f"terminal-{width}.svg").read_text()
        assert words(kept) == words(picture(width)), "run `make docs`"
        assert "url(http" not in kept and "@font-face" not in kept
