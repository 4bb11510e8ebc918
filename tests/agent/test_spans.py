"""What a plan may copy from a question, and that a guided model can copy nothing else."""

from __future__ import annotations

import json
import random
import time
import unicodedata
from typing import Annotated

import pytest

import labs_helper
from labs_helper.agent import TOOLS, plan_schema, solve, toolbox
from labs_helper.agent.spans import MOST_CHARACTERS, FromQuestion, parts_of

TEXT, NAME = FromQuestion("text"), FromQuestion("name")


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ('How many words are in "the quick brown fox"?', "the quick brown fox"),
        ("How many words are in 'it is Ann's dog'?", "it is Ann's dog"),
        ("Count the words: to be or not to be, that is the question", "to be or not to be, that is the question"),
        ("Count: he said 'hi' and left", "he said 'hi' and left"),
        ("How many words?\nMeet me at 10:30.\nBring v3.5!", "Meet me at 10:30."),
        ("'나는 어제 친구와 영화를 봤다'는 몇 단어예요?", "나는 어제 친구와 영화를 봤다"),
        ("请数出“国家 下 结束”有几个词。", "国家 下 结束"),
        ("「山 川 海」の単語を数えてください。", "山 川 海"),
        ("¿Cuántas palabras hay en «más vale tarde»?", "más vale tarde"),
        ("How many words are in I love you", "I love you"),
    ],
)
def test_a_text_that_people_hand_over_is_among_the_parts(question, text):
    assert text in parts_of(question, TEXT, 300)


@pytest.mark.parametrize(
    ("question", "no_text"),
    [
        ('How many words are in "the quick brown fox"?', "quick brown fox"),
        ('How many words are in "the quick brown fox"?', 'in "the quick brown fox'),
        ("Count the words: to be or not", "be or not"),
        ("Count: it's late", "s late"),
        ("How many words?\nMeet me at 10:30.", "30."),
    ],
)
def test_a_text_is_not_cut_where_nothing_sets_it_apart(question, no_text):
    assert no_text not in parts_of(question, TEXT, 300)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("What is Kenya's capital?", "Kenya"),
        ("which country is new york city in", "new york city"),
        ("케냐의 수도는 어디예요?", "케냐"),
        ("日本の首都はどこですか？", "日本"),
        ("肯尼亚的首都是什么？", "肯尼亚"),
        (unicodedata.normalize("NFD", "케냐의 수도는?"), "케냐"),
    ],
)
def test_a_name_is_among_the_parts(question, name):
    assert name in parts_of(question, NAME, 60)


def test_every_part_stands_in_the_question():
    random.seed(41)
    letters = "ab 's\"“”:.\n가나다国山é\u0301\u2019‘7👩\u200d🚀"
    for _round in range(300):
        question = "".join(random.choices(letters, k=random.randint(0, 30)))
        for mark in (TEXT, NAME):
            parts = parts_of(question, mark, 20)
            plain = unicodedata.normalize("NFC", question)
            assert all(part and part in plain and len(part) <= 20 for part in parts)
            assert len(set(parts)) == len(parts)


def test_a_very_long_question_limits_nothing():
    question = " ".join(f"word{number}" for number in range(3000))
    started = time.perf_counter()
    assert parts_of(question, TEXT, 2000) is None
    assert time.perf_counter() - started < 5
    assert plan_schema(question=question)["properties"]["steps"]["prefixItems"][0] != plan_schema(question="Hi")
    assert sum(map(len, parts_of(question, NAME, 30) or [])) <= MOST_CHARACTERS


def test_only_marked_arguments_are_limited():
    def shout(text: str, name: Annotated[str, FromQuestion("name")]) -> str:
        "Shouts."
        return text + name

    steps = plan_schema(toolbox(shout), max_steps=2, question="Ann and Bob")["properties"]["steps"]["prefixItems"]
    first, second = (step["anyOf"][0]["properties"]["arguments"]["properties"] for step in steps)
    assert first["name"] == {"enum": ["Ann", "Ann and", "Ann and Bob", "and", "and Bob", "Bob"]}
    assert second["name"]["enum"][-1] == "$1"
    assert "enum" not in first["text"]
    assert TOOLS["word_count"].signature == "word_count(text)"


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_guided_model_copies_letter_by_letter(temperature):
    model = labs_helper.load("moe", tier="tiny")
    question = 'How many words are in "zibble quorn flamtop, wexly"?'
    for seed in range(4):
        text = model.ask(
            question,
            system="Plan with tools. Answer in JSON.\nword_count(text)",
            schema=plan_schema({"word_count": TOOLS["word_count"]}, max_steps=1, question=question),
            temperature=temperature,
            seed=seed,
            max_tokens=200,
        ).text
        copied = json.loads(text)["steps"][0]["arguments"]["text"]
        assert copied in parts_of(question, TEXT, 300)


def test_the_agent_counts_words_that_it_was_never_taught():
    trace = solve(labs_helper.load("moe", tier="tiny"), 'How many words are in "the quick brown fox jumps over it"?')
    assert trace.results == ["7"]
