"""The reader of the course's pictures, and what takes them."""

from __future__ import annotations

import os

import pytest

from labs_helper.errors import BadImage, BadRequest
from labs_helper.figures import side_by_side, tile_view
from labs_helper.pictures.gallery import Picture, course_pictures, folder, picture
from labs_helper.pictures.images import open_image
from labs_helper.pictures.keyframes import keyframes


def test_every_picture_opens_and_says_what_it_shows():
    found = course_pictures()
    assert len(found) >= 24 and len({each.name for each in found}) == len(found)
    for each in found:
        assert each.image.size[0] > 0 and each.alt and each.question and each.answer


def test_what_a_picture_shows_is_told_in_the_readers_language(monkeypatch):
    """What it asks and answers stays as it is: the models read that."""
    english = course_pictures()
    monkeypatch.setenv("LABS_LANGUAGE", "ko")
    korean = course_pictures()
    assert [each.name for each, other in zip(korean, english) if each.alt == other.alt] == []
    assert [(each.question, each.answer) for each in korean] == [(each.question, each.answer) for each in english]
    words = picture("three-words.png")
    assert words.alt == "위에서 아래로 단어 세 개: 갈색 ZEBRA, 보라색 BLACK, 파란색 BEACH."
    assert words.alt in words._repr_html_() and words.alt in side_by_side([words]).alt


def test_a_picture_stands_wherever_a_path_may():
    sign, clip = picture("sign.png"), picture("crossing.mp4")
    assert os.fspath(sign) == str(sign.path) == str(folder() / "sign.png")
    assert open_image(sign).size == sign.image.size
    assert tile_view(sign, 1).rows[-1]["tokens"] == 313
    assert clip.is_clip and not sign.is_clip
    assert len(keyframes(clip, 3)) == 3


def test_it_shows_itself_with_alt_text_and_escaped():
    shown = picture("sign.png")._repr_html_()
    assert 'alt="A sign with one red word: ZEBRA."' in shown
    evil = Picture(**{**picture("sign.png").__dict__, "alt": '"><script>'})
    assert "<script>" not in evil._repr_html_()


def test_an_unknown_name_gets_near_ones():
    with pytest.raises(BadImage, match=r"sign\.png"):
        picture("sing.png")
    with pytest.raises(BadImage, match="no picture"):
        picture(None)


def test_without_the_repository_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    assert course_pictures() == []
    with pytest.raises(BadImage, match="repository"):
        picture("sign.png")


def test_side_by_side_numbers_and_describes():
    pair = [picture("pair-colour-1.png"), picture("pair-colour-2.png")]
    figure = side_by_side(pair, takeaway="One circle changed.")
    assert [row["picture"] for row in figure.rows] == [1, 2]
    assert all(each.alt in figure.alt for each in pair) and figure.alt.endswith("One circle changed.")
    assert figure.text.splitlines()[0].startswith("1: The first picture")
    with pytest.raises(BadRequest):
        side_by_side([])
