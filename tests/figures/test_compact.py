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
    without = (f"{SVG}g", f"{SVG}style")
    return [(node.tag, (node.text or "").strip()) for node in ET.fromstring(svg).iter() if node.tag not in without]


def _styles(svg: str) -> list[dict[str, str]]:
    """How each part is drawn that has a style, its classes looked up."""
    root = ET.fromstring(svg)
    rules = dict(re.findall(r"\.(\w+)\{(.*?)\}", root.find(f".//{SVG}style").text))
    found = []
    for node in root.iter():
        style = ";".join(filter(None, [rules.get(node.get("class", "")), node.get("style")]))
        pairs = [[side.strip() for side in each.split(":")] for each in style.split(";") if each.strip()]
        assert len(dict(pairs)) == len(pairs), "no class competes with a style"
        style = {name: value for name, value in pairs if name not in ("font-family", "stroke-dashoffset")}
        found += [style] if style else []
    return found


def _wide(style: dict[str, str]) -> dict[str, str]:
    """Values as matplotlib writes them."""
    style = {name: re.sub(r"url\(#.*", "a pattern", value) for name, value in style.items()}
    wide = {name: re.sub(r"^#(.)(.)(.)$", r"#\1\1\2\2\3\3", value) for name, value in style.items()}
    return {name: re.sub(r"^\.", "0.", value) for name, value in wide.items()}


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
    assert len(small) < len(whole) * 0.45


def test_every_part_keeps_its_style_and_each_style_is_written_once(both):
    whole, small = both
    assert [_wide(style) for style in _styles(small)] == [_wide(style) for style in _styles(whole)]
    styles = re.findall(r' style="([^"]*)"', small)
    assert len(styles) == len(set(styles)) and ' class="' in small


def test_everything_stays_where_it_was(both):
    before, after = (_numbers(svg) for svg in both)
    assert len(before) == len(after)
    assert all(abs(one - other) <= 0.005 + 1e-9 for one, other in zip(before, after, strict=True))


def test_references_lead_somewhere_and_fonts_are_named_once(both):
    _whole, small = both
    ids = re.findall(r' id="([^"]+)"', small)
    used = re.findall(r'(?:url\(|href=")#([\w-]+)', small)
    assert ids and set(used) == set(ids) and len(ids) == len(set(ids))
    before, after = (re.findall(r'(?:clip-path="url\(|href=")#([\w-]+)', svg) for svg in both)
    assert [before.index(each) for each in before] == [after.index(each) for each in after], "each leads where it led"
    assert small.count(FONTS) == 1 and "DejaVu Sans Mono" in small


def test_small_numbers_keep_their_digits():
    assert "scale(.0156)" in compact('<svg><g id="a"><path transform="scale(0.015625)" d="M 0 0"/></g></svg>')
