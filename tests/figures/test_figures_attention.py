"""The figures of lab 08: what they count, what they say in words, and that nothing gets through unescaped."""

from __future__ import annotations

import re

import numpy as np
import pytest
from drawings import drawings
from PIL import Image

from labs_helper import figures
from labs_helper.errors import BadRequest
from labs_helper.pictures.images import image_tokens, layout
from labs_helper.reference.looking import on_picture
from labs_helper.reference.record import Attention

NASTY = "<script>alert(1)</script>"


def record(pieces=("a", "b", "c", "d"), layers=2, heads=3, prompt=2):
    """Each token looks at itself, but head 1 of layer 1 at the token before, with .75."""
    count = len(pieces)
    weights = np.broadcast_to(np.eye(count), (layers, heads, count, count)).copy()
    for place in range(1, count):
        weights[1, 1, place] = 0
        weights[1, 1, place, place - 1 : place + 1] = 0.75, 0.25
    return Attention(weights, np.zeros((layers + 1, count, 4)), tuple(pieces), prompt)


# --- attention_view -----------------------------------------------------------------------------------------


def test_one_head_says_in_words_and_numbers_where_each_token_looked():
    figure = figures.attention_view(record(), 1, 1)
    assert [row["position"] for row in figure.rows] == [1, 2]  # what chose the two written tokens
    assert figure.rows[1]["looked at"][:2] == ((1, "b", 0.75), (2, "c", 0.25))
    assert "b (1) 75%" in figure.text and "c (2) 25%" in figure.text
    assert "1 of 2 listed tokens looked mostly at the first token" in figure.takeaway
    assert figure.html.count("<option") == 2 and "Heat map of layer 1, head 1" in figure.alt


def test_all_heads_have_a_row_each_and_idle_ones_are_counted():
    seen = record()
    seen.weights[0, 0] = 0
    seen.weights[0, 0, :, 0] = 1
    figure = figures.attention_view(seen)
    assert len(figure.rows) == 6 and figure.takeaway.startswith("1 of 6 heads")
    assert len(figures.attention_view(seen, layer=1).rows) == 3
    assert figures.attention_view(record(), layer=0).takeaway.startswith("None of 3 heads")


def test_the_list_begins_at_the_sharpest_look_and_frames_its_row():
    """Token 2 of four looks with .75 at the token before; its row is the third quarter of the map."""
    html = figures.attention_view(record(), 1, 1).html
    assert re.findall(r"<option( selected)?>([^<]*)<", html) == [
        ("", "1: b looked at a (0) 75%"),
        (" selected", "2: c looked at b (1) 75%"),
    ]
    # Where a viewer takes the style away, only the first choice has its facts seen.
    assert re.findall(r'<div( style="display:none")?><table', html) == [' style="display:none"', ""]
    boxes = [dict(re.findall(r"(left|top|width|height):([\d.]+)%", frame)) for frame in re.findall("<i [^>]*>", html)]
    below = float(boxes[1]["top"]) - float(boxes[0]["top"])
    assert below == pytest.approx(float(boxes[0]["height"]), abs=0.02) and boxes[0]["left"] == boxes[1]["left"]


def test_each_head_of_the_list_says_where_each_token_looked():
    html = figures.attention_view(record()).html
    assert html.count("<option") == html.count("<i ") == 6
    assert "layer 1, head 1: 50% at the first token; sharpest c (2) at b (1) 75%" in html
    assert "b (1) at a (0) 75%; c (2) at b (1) 75%" in html


def test_listed_tokens_can_be_chosen():
    assert [row["position"] for row in figures.attention_view(record(), 0, 0, tokens=[3, 0]).rows] == [0, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layer": 2}, "no head 0 in layer 2"),
        ({"layer": 0, "head": 3}, "no head 3 in layer 0"),
        ({"head": 1}, "Which layer is head"),
        ({"layer": 0, "head": 0, "tokens": [4]}, "no token 4"),
    ],
)
def test_what_is_not_there_is_refused(arguments, words):
    with pytest.raises(BadRequest, match=words):
        figures.attention_view(record(), **arguments)


def test_tokens_are_escaped_and_other_scripts_draw_without_a_warning():
    figure = figures.attention_view(record((NASTY, "长", "\x1b[0m", "b")), 1, 1, title=NASTY)
    assert NASTY not in figure.html and "\x1b" not in figure.text


def test_a_long_text_is_drawn_without_names():
    assert figures.attention_view(record(["x"] * 80, layers=2, heads=2), 0, 0, tokens=[79]).rows[0]["position"] == 79


# --- attention_on_picture -----------------------------------------------------------------------------------


def test_the_cells_of_a_record_land_where_they_are_in_the_picture():
    plan = layout(336, 336, 1)
    ids = [5, *[-1] * image_tokens(1, 1), 6]
    shares = np.zeros(len(ids))
    shares[1 + 2 * 13 + 7] = 0.5  # the tile's row 2, column 7: each line has 12 cells and its end
    shares[1 + 12 * 13 + 1 + 2 * 13 + 7] = 0.25  # the same cell of the global view, after the separator
    shares[1 + 12] = 0.1  # the end of a line is no cell
    cells = on_picture(shares, ids, plan)
    assert cells.shape == (12, 12) and cells[2, 7] == 0.75 and cells.sum() == pytest.approx(0.75)
    figure = figures.attention_on_picture(Image.new("RGB", (336, 336)), cells, word=" red", box=[(2, 7), (2, 8)])
    assert figure.rows[0] == {"row": 2, "column": 7, "share": 0.75}
    assert "75% of its attention" in figure.takeaway and "On the thing itself: 75%" in figure.takeaway
    assert "row 2, column 7" in figure.alt


def test_numbers_stand_above_their_cells_and_the_thing_has_one_outline():
    """A number in its cell would hide the digit that was looked at; lines between the thing's cells would, too."""
    cells = np.zeros((12, 12))
    cells[4, 4] = 0.6
    figure = figures.attention_on_picture(Image.new("RGB", (120, 120)), cells, box=[(4, 4), (4, 5), (5, 4), (5, 5)])
    (drawn,) = drawings(figure.html)
    assert drawn.count("stroke-dasharray") == 8  # two by two cells have eight sides outside, and four between them
    number = re.search(r'<rect x="[\d.]+" y="([\d.]+)"[^>]*height="([\d.]+)" rx="2"', drawn)
    assert float(number[1]) + float(number[2]) < 10 + 4 * 420 / 12


def test_a_global_view_is_spread_over_the_tiles():
    plan = layout(600, 300, 2)
    assert (plan.rows, plan.columns) == (1, 2)
    ids = [-1] * image_tokens(1, 2)
    shares = np.zeros(len(ids))
    shares[12 * 25 + 1] = 1.0  # the first cell of the global view
    cells = on_picture(shares, ids, plan)
    assert cells.shape == (12, 24) and cells[0, 0] == cells[0, 1] == 0.5


def test_a_picture_of_another_layout_is_refused():
    with pytest.raises(BadRequest, match="313"):
        on_picture(np.zeros(9), [-1] * 9, layout(336, 336, 1))


@pytest.mark.parametrize("cells", [[1, 2], [[-1.0]], [[float("nan")]], []])
def test_what_is_no_table_of_shares_is_refused(cells):
    with pytest.raises(BadRequest, match="table of shares"):
        figures.attention_on_picture(Image.new("RGB", (9, 9)), cells)


# --- logit_lens ---------------------------------------------------------------------------------------------


def lens_rows(place="3: 是", tokens=("x", "中", "湖", "湖")):
    return [
        {"place": place, "stage": stage, "token": token, "probability": 0.2 + 0.2 * stage}
        for stage, token in enumerate(tokens)
    ]


def test_the_lens_names_the_stage_where_the_final_token_comes_first():
    figure = figures.logit_lens([*lens_rows(), *lens_rows("4: a", ("b", "b", "b", "b"))])
    assert "湖: layer 1" in figure.takeaway and "b: the embedding" in figure.takeaway
    lines = figure.text.splitlines()
    assert lines[2].startswith("the embedding") and "x 20%" in lines[2] and "湖 80%" in lines[5]


def test_the_lens_escapes_and_refuses_nothing_to_show():
    assert NASTY not in figures.logit_lens(lens_rows(NASTY, (NASTY,))).html
    for rows in ([], [{"place": 1}]):
        with pytest.raises(BadRequest, match="nothing to show"):
            figures.logit_lens(rows)


def test_every_figure_has_alt_text_a_takeaway_and_a_plain_form():
    cells = np.full((12, 12), 1 / 144)
    made = (
        figures.attention_view(record()),
        figures.attention_view(record(), 0, 0),
        figures.attention_on_picture(Image.new("RGB", (90, 60)), cells),
        figures.logit_lens(lens_rows()),
    )
    for figure in made:
        assert figure.alt and figure.takeaway and figure.takeaway in figure.text and re.search("<figure", figure.html)
