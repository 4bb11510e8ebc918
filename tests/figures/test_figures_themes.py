"""Charts in dark themes: what the page's filter makes of each colour, computed as browsers compute it."""

from __future__ import annotations

import re

import pytest
from drawings import drawings
from PIL import Image

from labs_helper import figures
from labs_helper.figures.bars import colours
from labs_helper.figures.base import DARK, Figure
from labs_helper.figures.canvas import STYLES
from labs_helper.figures.tiles import tile_view

WHITE = (1.0, 1.0, 1.0)
INK = ("#111111", "#333333", "#444444")  # letters, axes, edges of bars
CHART = figures.bars(
    [{"label": f"row {i}", "group": f"group {i}", "n": 3} for i in range(8)], x="label", y="n", group="group"
)


def colour(text: str) -> tuple[float, float, float]:
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def in_the_dark(shown: tuple[float, float, float]) -> tuple[float, float, float]:
    """The filter of `DARK`: Filter Effects Module Level 1, sections 8.3 (hueRotate) and 9.8 (invert)."""
    found = re.fullmatch(r"invert\(([.\d]+)\) hue-rotate\(180deg\)", DARK)
    assert found, "the matrix below is that of half a turn"
    amount = float(found[1])
    red, green, blue = (amount + (1 - 2 * amount) * part for part in shown)
    turned = (
        (0.213 - 0.787) * red + 2 * 0.715 * green + 2 * 0.072 * blue,
        2 * 0.213 * red + (0.715 - 0.285) * green + 2 * 0.072 * blue,
        2 * 0.213 * red + 2 * 0.715 * green + (0.072 - 0.928) * blue,
    )
    first, second, third = (min(1.0, max(0.0, part)) for part in turned)
    return first, second, third


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """WCAG 2.2: 1 (the same) to 21 (black on white)."""

    def luminance(rgb: tuple[float, float, float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def bar_colours() -> list[str]:
    (svg,) = drawings(CHART.html)
    return re.findall(r'<rect width="8" height="8" fill="(#\w{6})"', svg)


def test_paper_is_as_dark_as_jupyterlabs():
    assert contrast(in_the_dark(WHITE), colour("#111111")) < 1.05


@pytest.mark.parametrize("ink", INK)
def test_letters_can_be_read_in_the_dark(ink):
    assert contrast(in_the_dark(colour(ink)), in_the_dark(WHITE)) >= 7


def test_bars_and_lines_stand_out_in_the_dark():
    shown = {*bar_colours(), *(style.colour for style in STYLES)}
    assert len(bar_colours()) == len(colours(["a"] * 8)) == 8
    assert min(contrast(in_the_dark(colour(one)), in_the_dark(WHITE)) for one in shown) >= 3


def test_a_chart_follows_the_theme_and_a_photo_does_not():
    from matplotlib.figure import Figure as Canvas

    drawn = Figure.from_matplotlib(Canvas(), alt="an empty picture")
    for chart in (CHART, drawn):
        assert chart.html.count('class="labs-chart"') == 1 and DARK in chart.html and "@media screen" in chart.html
    photo = tile_view(Image.new("RGB", (300, 200), "red"), 1)
    assert "labs-chart" not in photo.html and DARK not in photo.html


@pytest.mark.parametrize("window", [320, 760, 1600])
def test_letters_of_a_chart_stay_readable_in_every_window(window):
    """The picture is as wide as its column, but never so small that 12 px become less than 9."""
    style = re.search(r'<img [^>]*style="([^"]*)"', CHART.html)[1]
    most, least = (int(re.search(rf"{name}-width:(\d+)px", style)[1]) for name in ("max", "min"))
    shown = max(least, min(most, window))
    assert 12 * shown / most >= 9 and "overflow-x:auto" in CHART.html


def test_on_paper_a_chart_and_a_photo_take_the_width_that_is_left():
    for figure in (CHART, tile_view(Image.new("RGB", (300, 200), "red"), 1)):
        assert re.search(r"@media print{\.labs-wide [^}]*{min-width:0!important}}", figure.html)
        assert '<div class="labs-wide"' in figure.html
