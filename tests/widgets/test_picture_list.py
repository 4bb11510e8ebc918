"""The list of pictures behind `look`: order, costs, and what became of each picture that was given."""

from __future__ import annotations

import pytest
from PIL import Image

from labs_helper.errors import BadImage
from labs_helper.widgets.picture_list import MOST_PICTURES, PictureList
from labs_helper.widgets.shown import Shown


def shown(name: str, width: int = 336, height: int = 336) -> Shown:
    return Shown(name, Image.new("RGB", (width, height)), "no description")


def broken():
    raise BadImage("It is damaged.", "Save it again.")


@pytest.fixture
def three() -> PictureList:
    pictures = PictureList()
    pictures.extend([shown("a"), shown("b"), shown("c")])
    return pictures


def names(pictures: PictureList) -> list[str]:
    return [picture.name for picture in pictures.pictures]


def test_a_picture_keeps_its_number_when_it_moves(three):
    before = dict(three.entries)
    three.move(0, 1)
    assert names(three) == ["b", "a", "c"] and dict(three.entries) == before
    assert three.said == "a is now picture 2."
    assert [three.place(number) for number, _shown in three.entries] == [0, 1, 2] and three.place(99) == -1
    for place, by in ((0, -1), (2, 1), (7, 1), (-1, 1)):
        three.move(place, by)
        assert names(three) == ["b", "a", "c"]


def test_what_was_removed_comes_back_where_it_was(three):
    three.remove(1)
    assert names(three) == ["a", "c"] and three.can_undo and three.said == "b was removed from the list."
    three.undo()
    assert names(three) == ["a", "b", "c"] and not three.can_undo
    three.clear()
    assert names(three) == [] and three.can_undo
    three.undo()
    assert names(three) == ["a", "b", "c"]
    three.remove(5)
    assert names(three) == ["a", "b", "c"] and not three.can_undo


def test_an_undo_never_loses_what_came_later(three):
    three.remove(0)
    three.extend([shown("d")])
    assert not three.can_undo
    three.undo()
    assert names(three) == ["b", "c", "d"]


def test_every_arrival_is_named_and_an_error_among_others_stays():
    pictures = PictureList()
    assert pictures.take("a.png", lambda: [shown("a.png")])
    assert not pictures.take("b.png", broken)
    assert pictures.take("c.gif", lambda: [shown("c.gif, frame 0"), shown("c.gif, frame 4")])
    assert [(one.words, one.refused) for one in pictures.arrivals] == [
        ("a.png: added.", False),
        ("b.png: It is damaged. Save it again.", True),
        ("c.gif: 2 pictures added.", False),
    ]
    pictures.begin()
    assert pictures.arrivals == () and len(pictures.pictures) == 3


def test_a_name_is_said_once():
    pictures = PictureList()
    pictures.refuse("a.png", "a.png has 9.0 MB. Make it smaller.")
    pictures.refuse("", "There is no picture in what was pasted.")
    assert [one.words for one in pictures.arrivals] == [
        "a.png has 9.0 MB. Make it smaller.",
        "There is no picture in what was pasted.",
    ]


def test_a_full_list_refuses_more_without_opening_them():
    pictures = PictureList()
    pictures.extend([shown(str(number)) for number in range(MOST_PICTURES)])
    assert not pictures.take("one more", lambda: pytest.fail("opened"))
    assert "The list is full: 40 pictures. Remove some first." in pictures.arrivals[0].words


def test_a_description_is_kept_with_its_picture(three):
    three.describe(1, "  A red star.  ")
    three.move(1, -1)
    assert three.pictures[0].alt == "A red star."
    three.describe(0, " ")
    assert three.pictures[0].alt == "no description"
    three.describe(9, "nothing there")


def test_costs_need_num_crops():
    pictures = PictureList()
    assert pictures.total(4) == "No pictures yet." and pictures.tokens(4) == []
    pictures.extend([shown("a", 400, 400), shown("b", 1600, 400)])
    assert pictures.tokens(None) is None and pictures.facts(None) == ["400 x 400 pixels", "1600 x 400 pixels"]
    assert pictures.total(None) == "2 pictures; choose num_crops to see what they cost."
    assert pictures.total(4) == "2 pictures: 1,502 tokens of the prompt (757 + 745)."
    assert pictures.facts(4)[0] == "400 x 400 pixels, 757 tokens"
