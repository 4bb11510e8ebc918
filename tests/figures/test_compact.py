"""matplotlib's SVG in fewer bytes: the same parts at the same places."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import pytest

from labs_helper.figures.canvas import canvas
from labs_helper.figures.compact import FONTS, compact

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def both():
    drawing, (axis, other) = canvas(6, 3, 2)
    axis.plot([0, 1, 2], [0.001, 0.5, 1], marker="o", label="a < b")
    axis.set_title("$x^2$ and words")
    axis.legend()
    axis.text(1, 0.5, "mono", family="DejaVu Sans Mono")
    other.imshow([[0, 1], [2, 3]])
    other.set_ylabel("turned")
    other.bar([0, 1], [1, 1.5], hatch="/")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "phi-labs", "svg.fonttype": "none"}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    whole = buffer.getvalue().decode()
    return whole, compact(whole)


def _parts(svg: str) -> list[tuple[str, str]]:
    """What is drawn, in order, with its text."""
    return [(node.tag, (node.text or "").strip()) for node in ET.fromstring(svg).iter() if node.tag not in (f"{SVG}g",)]


def _numbers(svg: str) -> list[float]:
    return [
        float(number)
        for node in ET.fromstring(svg).iter()
        for name in ("d", "x", "y", "transform")
        if not (name == "transform" and node.get(name, "").startswith("rotate(-0"))
        for number in re.findall(r"-?\d*\.?\d+(?:e-?\d+)?", node.get(name, ""))
    ]


def test_nothing_that_is_drawn_is_lost(both):
    whole, small = both
    kept = [
        part
        for part in _parts(whole)
        if not part[0].startswith("{http://www.w3.org/1999/02") and "metadata" not in part[0]
    ]
    kept = [part for part in kept if "purl.org" not in part[0] and "creativecommons" not in part[0]]
    assert _parts(small) == kept
    assert len(small) < len(whole) * 0.6


def test_everything_stays_where_it_was(both):
    before, after = (_numbers(svg) for svg in both)
    assert len(before) == len(after)
    assert all(abs(one - other) <= 0.005 + 1e-9 for one, other in zip(before, after, strict=True))


def test_references_lead_somewhere_and_fonts_are_named_once(both):
    _whole, small = both
    ids = re.findall(r' id="([^"]+)"', small)
    assert set(re.findall(r"#([\w-]+)[\")]", small)) - {"ffffff", "000000"} >= set(ids) and ids
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', small))
    assert used and used <= set(ids)
    assert small.count(FONTS) == 1 and "DejaVu Sans Mono" in small


def test_small_numbers_keep_their_digits():
    assert "scale(.0156)" in compact('<svg><g id="a"><path transform="scale(0.015625)" d="M 0 0"/></g></svg>')
