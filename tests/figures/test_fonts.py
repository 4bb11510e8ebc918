"""Korean, Chinese and Japanese in charts: measured with a font that has them, kept as text; no warning without one."""

from __future__ import annotations

import warnings

import pytest
from drawings import drawings

from labs_helper.common.translate import speaking
from labs_helper.figures import fonts
from labs_helper.figures.base import Figure
from labs_helper.figures.canvas import canvas, drawable


def _chart(label: str, kind: str) -> Figure:
    drawing, (axis,) = canvas(3, 2, 1)
    axis.set_title(label)
    axis.set_yticks([0, 1], ["첫째 층", "둘째 층"])
    return Figure.from_matplotlib(drawing, alt="a chart", kind=kind)


def _svg(figure: Figure) -> str:
    return drawings(figure.html)[0]


@pytest.mark.parametrize("font", [fonts.east_asian(), None], ids=["font", "no font"])
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_labels_warn_of_nothing(monkeypatch, font, kind):
    monkeypatch.setattr(fonts, "east_asian", lambda: font)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = _chart("토큰 长沙", kind)
    assert ("sudo apt install" in figure.html) is (kind == "png" and font is None)


def test_the_svg_has_the_letters_and_leaves_the_font_to_the_reader():
    svg = _svg(_chart("토큰", "svg"))
    assert "토큰" in svg and "첫째 층" in svg
    assert not any(name in svg for name in ("CJK", "Gothic"))


@pytest.mark.parametrize("language", ["en", "ko"])
def test_labels_keep_the_letters_in_every_language(language):
    with speaking(language):
        assert drawable("서울 長沙 ひらがな \u0e44") == "서울 長沙 ひらがな □"
