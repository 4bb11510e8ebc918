"""The figures of the vision lab: what they count, what they say in words, that nothing gets through unescaped."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from drawings import drawings
from PIL import Image, ImageDraw

from labs_helper import figures
from labs_helper.common.markup import escape
from labs_helper.errors import BadImage, BadRequest
from labs_helper.pictures.images import layout, views
from labs_helper.pictures.keyframes import Keyframe, Keyframes


def scene(width: int = 640, height: int = 360) -> Image.Image:
    picture = Image.new("RGB", (width, height), "#cce4f4")
    ImageDraw.Draw(picture).ellipse((1, 1, width // 3, height // 2), "#cc3020")
    return picture


COSTS = [
    {"num_crops": n, "peak_memory": 1e6 * n, "tokens": t, "seconds": 1.5 * n, "first_token_seconds": 1.0 * n}
    for n, t in ((1, 313), (4, 757), (16, 2509))
]
SIZES = [{"picture": "icon", "width": 20, "height": 20}, {"picture": "한국어", "width": 1680, "height": 420}]

ALL = {
    "tile_view": lambda: figures.tile_view(scene(), 4, name="scene"),
    "wrong_order": lambda: figures.wrong_order(scene(), 4),
    "frames_view": lambda: figures.frames_view([scene(120, 90), scene(90, 120)]),
    "token_cost": lambda: figures.token_cost(SIZES),
    "crops_cost": lambda: figures.crops_cost(COSTS),
}


def svgs(figure) -> list[str]:
    return drawings(figure.html)


def inner(figure) -> list[Image.Image]:
    """The pictures inside the drawing, in order."""
    (svg,) = svgs(figure)
    return [
        Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
        for data in re.findall(r"data:image/(?:png|jpeg|webp);base64,([^\"]+)", svg)
    ]


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_figure_has_alt_text_takeaway_plain_form_and_no_warning(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = make()
    assert len(figure.alt) > 20 and figure.takeaway.endswith(".") and len(figure.frame()) > 0
    assert figure.takeaway in figure.text and escape(figure.takeaway) in figure.html
    assert f'alt="{escape(figure.alt)}"' in figure.html
    (svg,) = svgs(figure)
    ElementTree.fromstring(svg)
    assert "<script" not in svg and 'href="http' not in svg, "a picture runs nothing and fetches nothing"
    assert figure.html == make().html and len(figure.html) < 70_000


@pytest.mark.parametrize(
    "size, crops", [((336, 336), 1), ((640, 360), 4), ((420, 1680), 16), ((1100, 760), 16), ((20, 20), 9)]
)
def test_tile_view_counts_what_the_layout_counts(size, crops):
    figure, plan = figures.tile_view(scene(*size), crops), layout(*size, crops)
    parts = {row["part"]: row["tokens"] for row in figure.rows}
    assert sum(n for part, n in parts.items() if part != "sum") == parts["sum"] == plan.tokens
    assert sum(part.startswith("tile ") for part in parts) == plan.tiles
    assert f"{plan.tokens:,} tokens" in figure.takeaway
    (svg,) = svgs(figure)
    assert all(f">{i + 1}</text>" in svg for i in range(plan.tiles)) and svg.count(">+ 12<") == plan.rows


def test_tile_view_shows_the_views_of_the_model_in_their_order():
    picture = scene(700, 500)
    shown, expected = inner(figures.tile_view(picture, 4)), views(picture, layout(*picture.size, 4))
    assert len(shown) == len(expected) == 5
    for small, view in zip(shown, expected):
        assert np.abs(np.asarray(small).astype(int) - np.asarray(view.resize(small.size))).mean() < 6


def test_white_padding_is_told():
    assert "25% of the tiles is white padding" in figures.tile_view(scene(400, 300), 4).takeaway
    assert "padding" not in figures.tile_view(scene(400, 400), 4).takeaway


# Counted in an independent measurement of plain mlx-vlm: 552 of 745 rows for 1 x 4 tiles, 528 of 757 for 2 x 2.
@pytest.mark.parametrize("size, wrong", [((1600, 400), 552), ((400, 400), 528), ((400, 1600), 0)])
def test_wrong_order_counts_the_rows_that_are_misplaced(size, wrong):
    figure = figures.wrong_order(scene(*size), 4)
    assert figure.rows[0]["cells in the wrong place"] == wrong
    assert ("no cell" in figure.takeaway) == (wrong == 0)


def test_wrong_order_moves_cells_as_the_reshape_does():
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)  # one colour for each cell of 2 x 2 tiles
    picture = Image.fromarray(colours.repeat(28, 0).repeat(28, 1))
    tiles = colours.reshape(2, 12, 2, 12, 3).swapaxes(1, 2)
    expected = tiles.reshape(24, 24, 3)  # the reshape that lacks its permutation
    right, wrong = inner(figures.wrong_order(picture, 4))
    sample = np.asarray(wrong.resize((24, 24), Image.Resampling.BOX)).astype(int)
    assert np.abs(sample - expected).mean() < 20 < 60 < np.abs(sample - colours.astype(int)).mean()
    assert np.abs(np.asarray(right.resize((24, 24), Image.Resampling.BOX)).astype(int) - colours).mean() < 20


def test_wrong_order_fills_the_width():
    def sizes(picture):
        return [
            tuple(map(int, size)) for size in re.findall(r'<image [^>]*width="(\d+)" height="(\d+)"', svgs(picture)[0])
        ]

    assert sizes(figures.wrong_order(scene(1680, 420), 4)) == [(744, 186)] * 2, "one above the other"
    assert sizes(figures.wrong_order(scene(400, 400), 4)) == [(368, 368)] * 2, "side by side"


def test_wrong_order_tells_the_stretching():
    assert "1.33 times too tall" in figures.wrong_order(scene(400, 300), 4).takeaway
    assert "too" not in figures.wrong_order(scene(400, 400), 4).takeaway


def test_frames_view_takes_keyframes_and_pictures():
    frames = [Keyframe(scene(64, 48), index, index / 5, 0.5) for index in (0, 12, 29)]
    clip = Keyframes(frames, 30, 30, "change", "One <b>note</b>.")
    figure = figures.frames_view(clip)
    assert figure.takeaway == "3 of 30 frames stand for the clip: 0, 12, 29. One <b>note</b>."
    assert "<b>" not in figure.html and [row["seconds"] for row in figure.rows] == [0, 2.4, 5.8]
    (svg,) = svgs(figure)
    marks = [float(x) for x in re.findall(r"M([\d.]+),[\d.]+ V", svg)]
    assert (marks[1] - marks[0]) / (marks[2] - marks[0]) == pytest.approx(12 / 29, abs=0.01)
    assert "2: frame 1" in svgs(figures.frames_view([scene(), scene()]))[0]
    with pytest.raises(BadRequest):
        figures.frames_view([])


def test_token_cost_uses_the_formula():
    figure = figures.token_cost(SIZES, [1, 4], context=4096)
    assert [row["tokens"] for row in figure.rows] == [313, 757, 313, 745]
    assert "room for 5 of the most expensive" in figure.takeaway and "한국어 (1680 x 420)" in figure.text


def test_crops_cost_draws_what_is_there_and_averages_repeats():
    figure = figures.crops_cost([*COSTS, {**COSTS[0], "seconds": 2.5}])
    assert figure.rows[0]["seconds"] == 2.0 and figure.rows[2]["tokens"] == 2509
    assert "8.0 times the tokens" in figure.takeaway and "16.0 times the peak memory." in figure.takeaway
    (svg,) = svgs(figure)
    assert all(words in svg for words in ("peak memory, megabytes", "to the first token", "to the whole answer"))
    assert "seconds to the first token" not in svg and ">seconds<" in svg
    one = [{"num_crops": row["num_crops"], "first_token_seconds": row["seconds"]} for row in COSTS]
    assert "seconds to the first token" in svgs(figures.crops_cost(one))[0], "the heading says which seconds"
    over = figures.crops_cost(COSTS, x="tokens")
    assert "tokens of the picture" not in svgs(over)[0] and over.rows[1]["tokens"] == 757


@pytest.mark.parametrize(
    "call",
    [
        lambda: figures.tile_view(scene(), 0),
        lambda: figures.wrong_order(scene(), 65),
        lambda: figures.token_cost([]),
        lambda: figures.token_cost([{"picture": "a"}]),
        lambda: figures.crops_cost([]),
        lambda: figures.crops_cost([{"num_crops": 1}]),
        lambda: figures.crops_cost([{"num_crops": 1, "tokens": -1}]),
        lambda: figures.crops_cost([{"num_crops": 1, "tokens": "many"}]),
        lambda: figures.crops_cost([{"tokens": 1}]),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_advice(call):
    with pytest.raises(BadRequest) as caught:
        call()
    assert caught.value.do


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(BadImage):
        figures.tile_view(tmp_path / "a.png", 4)


def test_names_are_escaped():
    figure = figures.tile_view(scene(), 1, name='<img src=x onerror="alert(1)">')
    assert "<img src=x" not in figure.html + svgs(figure)[0]


def test_drawing_never_touches_pyplot_and_importing_is_light():
    code = (
        "import sys; from labs_helper import figures; "
        "light = [m for m in ('PIL', 'numpy', 'matplotlib', 'mlx') if m in sys.modules]; "
        f"figures.crops_cost({COSTS}); print(light, 'matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[] False"
