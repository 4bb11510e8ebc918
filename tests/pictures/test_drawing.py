"""Pictures drawn for experiments: what is drawn is where it should be, and unknown words are refused."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper.errors import BadRequest
from labs_helper.figures import side_by_side
from labs_helper.pictures.drawing import (
    CELL,
    COLOURS,
    OUTLINES,
    PLACES,
    draw_bars,
    draw_shapes,
    draw_word,
    in_words,
    place_of,
)


def ink(picture, colour=None):
    """Rows and columns of the pixels that are not white, or near a colour."""
    pixels = np.asarray(picture).astype(int)
    there = pixels.min(2) < 200 if colour is None else np.abs(pixels - COLOURS[colour]).max(2) < 30
    return np.nonzero(there)


def test_each_letter_is_in_the_middle_of_a_cell():
    rows, columns = ink(draw_word("HHH"))
    assert rows.min() // CELL == rows.max() // CELL == 5
    for i in range(3):
        inside = columns[columns // CELL == i + 1]
        assert abs((inside.min() + inside.max() + 1) / 2 - (i + 1.5) * CELL) <= 1


def test_a_word_moves_by_pixels():
    (rows, columns), (moved_rows, moved_columns) = ink(draw_word("OX")), ink(draw_word("OX", right=9, down=5))
    assert (moved_columns.min() - columns.min(), moved_rows.min() - rows.min()) == (9, 5)
    height = [np.ptp(ink(draw_word("H", size=size))[0]) + 1 for size in (20, 40)]
    assert height[1] == pytest.approx(2 * height[0], abs=1)


@pytest.mark.parametrize("printed", [True, False])
def test_bars_are_as_high_as_their_values(printed):
    picture = draw_bars({"MON": 100, "TUE": 50, "WED": 25}, printed=printed)
    heights = [np.ptp(ink(picture, colour)[0]) for colour in ("blue", "orange", "green")]
    assert heights[0] / heights[1] == pytest.approx(2, rel=0.03)
    assert heights[0] / heights[2] == pytest.approx(4, rel=0.05)
    black = ink(picture, "black")[0]
    assert (black < 290).any() == printed, "numbers above the bars"
    assert ("without" in picture.info["alt"]) != printed and "TUE 50" in picture.info["alt"]


@pytest.mark.parametrize("place", PLACES)
def test_shapes_are_at_their_places(place):
    rows, columns = ink(draw_shapes([("red", "star", place)]))
    assert place_of((columns.mean(), rows.mean())) == place


def test_every_shape_has_its_outline_and_the_last_one_is_on_top():
    areas = {shape: len(ink(draw_shapes([("blue", shape, "middle")]))[0]) for shape in OUTLINES}
    assert len({round(area, -1) for area in areas.values()}) == len(OUTLINES)
    assert len(ink(draw_shapes([("red", "circle", "top"), ("blue", "square", "top")], radius=40), "red")[0]) < 400


def test_what_was_drawn_is_told_beside_the_picture():
    assert "red star at the top" in side_by_side([draw_shapes([("red", "star", "top")])]).alt
    assert draw_shapes([]).info["alt"] == "Shapes: none."


def test_a_drawing_is_told_in_the_readers_language(monkeypatch):
    """Things, colours and places too: they are facts of the picture, not words for the model."""
    monkeypatch.setenv("LABS_LANGUAGE", "ko")
    told = side_by_side([draw_shapes([("red", "star", "top left")]), draw_word("TAXI")]).alt
    assert "왼쪽 위의 빨간색 별" in told and "검은색 글자 TAXI" in told
    left = [name for name in (*COLOURS, *OUTLINES, *PLACES) if in_words(name) == name]
    assert left == []


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: draw_word("A", colour="teal"), "red, orange"),
        (lambda: draw_word("A", size=0), "at least 1"),
        (lambda: draw_bars({"A": 1}), "2 to 6"),
        (lambda: draw_bars({"A": 1, "B": 101}), "0 to 100"),
        (lambda: draw_shapes([("red", "heart", "top")]), "circle, square"),
        (lambda: draw_shapes([("red", "star", "centre")]), "middle"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, words):
    with pytest.raises(BadRequest, match=words):
        draw()
