"""What is shown in a notebook that is not trusted: one that was downloaded, or that a colleague has sent.

JupyterLab then removes elements such as `style` and `svg`, and from a `style` attribute each declaration whose value it
does not know: `currentColor` and `var(...)` are among those (allowedStyles of its Sanitizer). A border without a colour
has that of the text anyway. The browser's test is in tests/browser/test_themes_in_browser.py.
"""

from __future__ import annotations

import math
import re

import pytest

from labs_helper import figures
from labs_helper.engines.base import Token
from labs_helper.exercises import so_far
from labs_helper.exercises.predictions import Prediction
from labs_helper.exercises.results import CheckResult, Hint

SHOWN = {
    **{status: CheckResult("1.1", "First", status, "Yes.") for status in ("passed", "try again", "not yet")},
    "hint": Hint("1.1", 1, 2, "Count."),
    "hints": CheckResult("1.1", "First", "try again", "No.", hints=("Count.", "Count again.")),
    "what is left": so_far("01"),
    "guess": Prediction("1.1", ("Noted: 3",), 3),
    "tokens": figures.token_view([Token("sure", 1, math.log(0.95)), Token("not sure", 2, math.log(0.2))]),
    "bars": figures.bars([{"a": "x", "n": 3}], x="a", y="n"),
}


def styles(html: str) -> list[list[tuple[str, str]]]:
    """The declarations of each style attribute: property and value."""
    found = re.findall(r'style="([^"]*)"', html)
    return [
        [(name.strip(), value.strip()) for name, _, value in (d.partition(":") for d in s.split(";"))] for s in found
    ]


def lost(html: str) -> list[str]:
    """Properties that an untrusted notebook would not have at all: no plain value comes before the one it drops."""
    gone = []
    for declarations in styles(html):
        plain = set()
        for name, value in declarations:
            if not re.search(r"currentcolor|var\(|calc\(", value, re.I):
                plain.add(name)
            elif name not in plain:
                gone.append(f"{name}: {value}")
    return gone


def html_of(shown: object) -> str:
    make = getattr(shown, "_repr_html_", None)
    return make() if make else shown.html


@pytest.mark.parametrize("name", SHOWN)
def test_bars_and_borders_survive_without_trust(name):
    html = html_of(SHOWN[name])
    assert styles(html) and lost(html) == []


def test_a_lost_border_is_found_and_a_plain_value_before_it_is_enough():
    assert lost('<div style="border-left:3px solid currentColor">') == ["border-left: 3px solid currentColor"]
    assert lost('<div style="border-left:3px solid #333;border-left:3px solid var(--x)">') == []


def test_each_state_has_a_bar_of_its_own_without_a_style_sheet():
    bars = {dict(styles(html_of(SHOWN[s]))[0]).get("border-left") for s in ("passed", "try again", "not yet")}
    assert len(bars) == 3 and None not in bars
