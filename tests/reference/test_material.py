"""The material of lab 08: what must be copied, where a city and its country are, where a thing is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper import load
from labs_helper.errors import BadRequest, LabError
from labs_helper.pictures import drawing
from labs_helper.reference import Change, read
from labs_helper.reference.copying import copied, count_right, needles, repeats, share_right
from labs_helper.reference.looking import looked_at, span
from labs_helper.reference.places import ASK, city_pairs, english_name, facts
from labs_helper.reference.scenes import cells_around, chart_pictures, shape_pictures


@pytest.fixture(scope="module")
def model():
    opened = load("instruct", tier="tiny")
    yield opened
    opened.release()


@pytest.fixture(scope="module")
def reference(model):
    return read(model)


def text_of(model, ids):
    return "".join(model.engine.pieces.readable(token) for token in ids)


# --- copying ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [needles, repeats])
def test_what_is_chosen_is_what_is_at_the_source(model, make):
    for text in make(model, 5):
        assert [text.ids[place + 1] for place in text.lookers] == [text.ids[place] for place in text.sources]
        assert max(text.sources) < min(text.lookers)  # copied from before


def test_a_needle_is_the_code_and_nothing_else(model):
    for text in needles(model, 5):
        code = text_of(model, [text.ids[place] for place in text.sources])
        assert len(code) == 4 and code.isdigit()
        assert text_of(model, text.ids).count(code) == 2  # once in the text, once in the answer


def test_draws_depend_on_the_seed_alone(model):
    assert needles(model, 3) == needles(model, 3) != needles(model, 3, seed=9)
    assert repeats(model, 3) == repeats(model, 3) != repeats(model, 3, seed=9)


def test_copies_are_counted_with_and_without_layers(model, reference):
    texts = needles(model, 4)
    intact = count_right(reference, texts)
    assert intact >= 3 and share_right(reference, texts) >= 0.9
    assert count_right(reference, texts, Change(layers=[0, 1, 2, 3])) == 0
    assert share_right(reference, texts, Change(layers=[0, 1, 2, 3])) < 0.5


def test_right_says_it_for_each_token(model, reference):
    (text,) = needles(model, 1)
    said = text.right(reference)
    assert len(said) == 4 and all(isinstance(each, bool) for each in said)


def test_what_is_not_in_the_question_cannot_be_copied(model):
    with pytest.raises(LabError, match="'blue' is cut into other tokens in the question"):
        copied(model, "Repeat: red", "blue", "blue")


# --- places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ASK)
def test_a_fact_is_where_it_is_said_to_be(model, reference, language):
    found = facts(model, reference, language, 4)
    assert len(found) == 4
    for fact in found:
        assert fact.city in text_of(model, [fact.ids[place] for place in fact.asked])
        assert fact.country in text_of(model, fact.ids[fact.place + 1 :])
        assert fact.country.startswith(model.engine.pieces.readable(fact.answer).strip()[:1])
        if fact.said:
            assert fact.city in text_of(model, [fact.ids[place] for place in fact.said])
            assert max(fact.asked) < min(fact.said) <= max(fact.said) <= fact.place
        assert reference.run(fact.ids).logits[fact.place].argmax() == fact.answer


def test_the_english_name_is_a_token_of_it(model, reference):
    (fact,) = facts(model, reference, "zh", 1)
    assert "France China Japan".find(model.engine.pieces.readable(english_name(model, fact)).strip()[:2]) >= 0


def test_pairs_have_the_same_lengths_and_their_countries_are_as_asked(model, reference):
    known = facts(model, reference, "en", 30)
    for same in (False, True):
        pairs = city_pairs(known, 6, same_country=same)
        assert pairs and len(pairs) <= 6
        for one, other in pairs:
            assert one is not other and (one.country == other.country) is same
            assert (one.asked, one.said, one.place) == (other.asked, other.said, other.place) and one.said
    assert city_pairs(known, 6) == city_pairs(known, 6) != city_pairs(known, 6, seed=1)


# --- scenes -------------------------------------------------------------------------------------------------


def box(cell):
    row, column = cell
    return tuple(n * drawing.CELL for n in (column, row, column + 1, row + 1))


def pixels_of(picture, colour):
    """How many pixels of a colour there are, soft edges aside."""
    return int((np.abs(np.asarray(picture).astype(int) - drawing.COLOURS[colour]) <= 2).all(axis=-1).sum())


def test_a_shape_is_in_its_cells_and_its_colour_is_the_answer():
    for shown in shape_pictures(5):
        assert len(shown.others) == 5
        for colour, cells in {shown.right: shown.cells, **shown.others}.items():
            inside = sum(pixels_of(shown.picture.crop(box(cell)), colour) for cell in cells)
            assert inside > 0.75 * pixels_of(shown.picture, colour) > 0, colour


def test_a_place_has_the_cells_of_that_part():
    for shown in shape_pictures(5, ask="place"):
        assert shown.question.startswith("Where is the") and shown.cells == cells_around(shown.right)
        assert all(np.asarray(shown.picture.crop(box(cell))).min() < 250 for cell in shown.cells)


def test_the_cells_of_a_number_hold_all_of_its_ink_and_no_bar():
    for shown in chart_pictures(4):
        assert len(shown.others) == 3 and shown.right not in shown.others
        columns = [{column for _row, column in cells} for cells in (shown.cells, *shown.others.values())]
        assert all(not one & other for n, one in enumerate(columns) for other in columns[:n])
        for cells in (shown.cells, *shown.others.values()):
            dark = [np.asarray(shown.picture.crop(box(cell))).min() for cell in cells]
            assert min(dark) < 100 and 2 <= len(cells) <= 9


@pytest.mark.parametrize(("text", "word"), [("It is at the top left.", "top left"), ("at the top", "top"), ("no", "")])
def test_an_answer_is_read_for_the_longest_word_that_it_says(text, word):
    shown = next(each for each in shape_pictures(40, ask="place") if {"top", "top left"} <= {each.right, *each.others})
    assert shown.said(text) == word


def test_another_question_is_refused():
    with pytest.raises(BadRequest, match="no question for 'size'"):
        shape_pictures(1, ask="size")


# --- what looked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "word", "places"),
    [
        ([" It", " is", " Pe", "ru"], "Peru", (2, 3)),
        (["Peru", " Peru"], "Peru", (0,)),
        ([" a", "b c", "d"], "c", (1,)),
        ([" It"], "Peru", ()),
        ([" It"], "", ()),
        ([], "x", ()),
    ],
)
def test_a_word_is_found_in_its_tokens(pieces, word, places):
    assert span(pieces, word) == places


def test_a_word_that_was_not_said_was_not_looked_for(model):
    from labs_helper.pictures.images import layout

    answer = model.ask("Where is Lima?", max_tokens=10, record_attention=True)
    with pytest.raises(BadRequest, match="does not say 'Mars'"):
        looked_at(answer, "Mars", 0, 0, layout(336, 336, 1))
