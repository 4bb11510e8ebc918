"""The exercise of lab 00: what is right passes, what is wrong is told what went wrong."""

from __future__ import annotations

import unicodedata

import pytest

from labs_helper.exercises import check


@pytest.mark.parametrize(
    "answer",
    [
        "China",
        "Changsha is a city in China.",
        " hunan ",
        "HUNAN province",
        "湖南省",
        "중국",
        unicodedata.normalize("NFD", "중국"),
        "Changsha está en China.",
        "中國",
        "PRC",
        "P.R.C.",
        "the People's Republic of China",
        "It is not a country; it is a city in China.",
    ],
)
def test_right_answers_pass(answer):
    assert check("0.1", answer).passed, check("0.1", answer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("Where is Changsha?", "question"),
        ("長沙はどこにありますか？", "question"),
        ("Kenya", "do not find"),
        ("not in China", "is not"),
        ("Changsha is not a city of China.", "is not"),
        ("长沙不在中国", "is not"),
        ("Changsha", "the city itself"),
        ("Asia", "continent"),
        (7, "text"),
        (["China"], "text"),
        (b"China", "text"),
        ("my prc", "do not find"),
    ],
)
def test_a_wrong_answer_names_its_mistake(answer, words):
    result = check("0.1", answer)
    assert result.status == "try again" and words in result.message, result
