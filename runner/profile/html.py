"""Reads values and forms from an HTML page, by CSS selectors (selectolax, the extra `html`)."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from runner.errors import ContractError, UsageError
from runner.frozen import Frozen
from runner.profile import template


class Form(Frozen):
    """A form of a page: its target (possibly relative to the page), its method, and its unchanged fields."""

    action: str
    method: str
    fields: dict[str, str]


def _first(page: str, selector: str) -> Any:
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise UsageError(
            "this profile reads HTML pages, which needs an extra package: pip install 'sync-runner[html]'"
        ) from None
    try:
        return LexborHTMLParser(page).css_first(selector)
    except Exception:  # noqa: BLE001 - selectolax has no error of its own for a bad selector
        raise ContractError(f"`{selector}` is not a usable CSS selector") from None


def selector(template_: str, values: Mapping[str, Any]) -> str:
    """Returns the CSS selector with its values, escaped so that none changes its meaning (CSS Syntax 3, 4.3.7)."""
    if "$" not in template_:
        return template_
    escaped = {
        name: re.sub(r"([^\w-])", r"\\\1", template.as_text(one)) for name, one in values.items() if one is not None
    }
    try:
        return str(template.fill(template_, escaped))
    except KeyError as missing:
        raise ContractError(f"`{template_}`: no value for `{missing.args[0]}`") from None


def selector_fault(selector: str) -> str | None:
    """Returns what is wrong with a CSS selector; None where it is valid, or where no parser is installed."""
    if find_spec("selectolax") is None:
        return None
    try:
        _first("<p>", re.sub(r"\$\{[^}]*\}", "x", selector))
    except ContractError as error:
        return str(error)
    return None


def select(page: str, selector: str) -> str | None:
    """Returns the `value`, `content` or text of the first matching element; None without a match."""
    node = _first(page, selector)
    if node is None:
        return None
    given = node.attributes.get("value") or node.attributes.get("content")
    return str(given if given is not None else node.text(strip=True))


def form(page: str, selector: str) -> Form | None:
    """Returns the form that contains the element (or is it), with its hidden fields. None without such a form."""
    node = _first(page, selector)
    while node is not None and node.tag != "form":
        node = node.parent
    if node is None:
        return None
    fields = {one.attributes["name"]: one.attributes.get("value") or "" for one in node.css("input[type=hidden][name]")}
    return Form(node.attributes.get("action") or "", (node.attributes.get("method") or "GET").upper(), fields)
