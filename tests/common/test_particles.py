"""Korean particles after names, numbers and words in Latin letters."""

from __future__ import annotations

import pytest

from labs_helper.common.particles import KoreanText, fill, particle


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("서울", "서울은 서울이 서울을 서울로"),  # ㄹ takes 로
        ("도쿄", "도쿄는 도쿄가 도쿄를 도쿄로"),
        ("부산", "부산은 부산이 부산을 부산으로"),
        ("3", "3은 3이 3을 3으로"),
        ("1,024", "1,024는 1,024가 1,024를 1,024로"),
        ("0.1", "0.1은 0.1이 0.1을 0.1로"),
        ("tokens.json", "tokens.json은 tokens.json이 tokens.json을 tokens.json으로"),
        ("instruct-tiny", "instruct-tiny는 instruct-tiny가 instruct-tiny를 instruct-tiny로"),
        ("URL", "URL은 URL이 URL을 URL로"),
        ("350 m", "350 m는 350 m가 350 m를 350 m로"),
        ("`모델`", "`모델`은 `모델`이 `모델`을 `모델`로"),
        ("", "은(는) 이(가) 을(를) (으)로"),  # nothing is there to decide
    ],
)
def test_the_form_follows_the_sound(word, shown):
    assert fill("{x}은(는) {x}이(가) {x}을(를) {x}(으)로", {"x": word}) == shown


def test_marks_between_a_place_and_its_particle_do_not_hide_the_word():
    assert fill("'{x}'을(를) `{y}`(으)로", {"x": "물", "y": "집"}) == "'물'을 `집`으로"


def test_only_a_place_decides():
    """What is filled in is never changed, whatever it says; nor is a particle that follows other words."""
    assert fill("{x} 또는 물을(를)", {"x": "답은(는)"}) == "답은(는) 또는 물을(를)"


def test_formats_are_those_of_python():
    assert KoreanText("{count:,}개와 {name!r}을(를)").format(count=1234, name="칸") == "1,234개와 '칸'을"
    assert KoreanText("{0}은(는)").format("물") == "물은(는)"
    with pytest.raises(KeyError):
        KoreanText("{x}").format(y=1)


def test_the_texts_of_the_bundled_models_take_latin_words_for_vowels():
    assert particle("1.2 km", "은", latin=False) == particle("Taiwan", "은", latin=False) == "는"
    assert particle("Taiwan", "은") == "은"
