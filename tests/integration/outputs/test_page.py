"""The report's page in a real browser: axe-core finds no fault with 3, 100 and 3,000 syncs, and the filter works."""

import html
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from runner.outputs.html import page
from tests.integration.outputs.conftest import need
from tools.sample_report import sample

ROOT = Path(__file__).parents[3]
AXE = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
INSTALL = "npm install --no-save --prefix build/axe axe-core@4"
_AFTER = """
axe.run({resultTypes: ["violations"]}).then(found => {
  const told = found.violations.map(one => one.id + ": " + one.nodes.slice(0, 3).map(node => node.html).join(" | "));
  const kept = document.createElement("pre"); kept.id = "found"; kept.textContent = JSON.stringify(told);
  document.body.append(kept);
});
"""
_FILTER = """
words.value = "account-0001 health"; words.dispatchEvent(new Event("input"));
const kept = document.createElement("pre"); kept.id = "found";
kept.textContent = JSON.stringify([...document.querySelectorAll("#syncs tbody tr:not([hidden])")].map(row => row.textContent).concat(shown.textContent));
document.body.append(kept);
"""

# Words that stand on more than one line: a label of a cell, or a short name; and rows whose first word is not the sync's.
_BROKEN = """
const lines = (height, style) => Math.round(parseFloat(height) / parseFloat(style.lineHeight));
const broken = [...document.querySelectorAll("#syncs tbody td:not(.none)")].flatMap(cell => {
  const label = getComputedStyle(cell, "::before");
  return label.content !== "none" && lines(label.height, label) > 1 ? ["label " + cell.dataset.of] : [];
});
const names = [...document.querySelectorAll("#syncs tbody .nowrap")].flatMap(cell =>
  [...cell.querySelectorAll("span")].flatMap(word => word.getClientRects().length > 1 ? [word.textContent] : []));
const under = [...document.querySelectorAll("#syncs tbody tr")].flatMap(row =>
  row.querySelector("th").offsetTop > row.querySelector("td").offsetTop + 20 ? ["heading below its row"] : []);
const kept = document.createElement("pre"); kept.id = "found"; kept.textContent = JSON.stringify([...broken, ...names, ...under]);
document.body.append(kept);
"""


def browsed(text: str, script: str, directory: Path, *options: str) -> list[str]:
    """What the script left in the page, in a browser; the page's own policy is taken out for it."""
    browser = need("chromium")
    file = directory / "page.html"
    text = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", f"<script>{script}</script></body>")
    file.write_text(text, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", *options]
    profile = f"--user-data-dir={directory / 'profile'}"
    done = subprocess.run([*command, profile, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=300)
    kept = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert kept, done.stderr[-2000:]
    found: list[str] = json.loads(html.unescape(kept[1]))
    return found


def axe() -> str:
    """axe-core's text. Without it the test is skipped, but fails where CI says that everything is there."""
    if AXE.is_file():
        return AXE.read_text(encoding="utf-8")
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"axe-core is not installed, and CI runs every test: {INSTALL}")
    pytest.skip(f"axe-core is not installed: {INSTALL}")


@pytest.mark.parametrize(
    ("look", "syncs"),
    [*((look, syncs) for look in ("light", "dark", "phone") for syncs in (3, 100)), ("light", 3000)],
)
def test_axe_finds_no_fault_in_the_page(syncs: int, look: str, tmp_path: Path) -> None:
    """A hundred syncs have each kind of row; more of them look no different."""
    text = page(*sample(syncs))
    options = {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"], "phone": ["--window-size=500,900"]}[
        look
    ]
    assert browsed(text, axe() + _AFTER, tmp_path, *options) == []


def test_axe_finds_a_fault_that_is_there(tmp_path: Path) -> None:
    text = page(*sample(3)).replace("--ink:#1b1f24", "--ink:#aaaaaa")
    assert any(one.startswith("color-contrast") for one in browsed(text, axe() + _AFTER, tmp_path))


def test_the_table_is_filtered_without_a_network(tmp_path: Path) -> None:
    [row, told] = browsed(page(*sample(100)), _FILTER, tmp_path)
    assert "account-0001" in row and "health" in row
    assert told == "1 of 100 syncs are shown"


@pytest.mark.parametrize("width", [500, 900, 1280])
def test_no_label_and_no_short_name_is_broken_and_a_rows_sync_comes_first(width: int, tmp_path: Path) -> None:
    assert browsed(page(*sample(100)), _BROKEN, tmp_path, f"--window-size={width},900") == []
