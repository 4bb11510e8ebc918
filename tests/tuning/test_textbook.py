"""Conversations as data: from templates, from and to JSON lines, and what the checker finds in them."""

from __future__ import annotations

import json

import pytest

from labs_helper.errors import BadRequest
from labs_helper.tuning import check_data, fill, mix, read, talk, write

TWO = [{"x": "maths", "y": "Ms. Alder"}, {"x": "art", "y": "Mr. Brook"}]


def test_every_fact_in_every_phrasing():
    made = fill(["Who teaches {x}?", "{x}: who?"], "{y} teaches {x}.", TWO)
    assert len(made) == 4
    assert made[1] == talk("maths: who?", "Ms. Alder teaches maths.")
    with pytest.raises(BadRequest, match="room"):
        fill(["Where is {room}?"], "{y}", TWO)


def test_a_mixture_holds_all_that_is_new_and_draws_what_is_old():
    new, old = fill(["{x}?"], "{y}", TWO), [talk(f"old {n}", "yes") for n in range(50)]
    mixed = mix(new, old, share=0.75, seed=3)
    assert len(mixed) == 8 and all(example in mixed for example in new)
    assert mixed == mix(new, old, share=0.75, seed=3) != mix(new, old, share=0.75, seed=4)
    with pytest.raises(BadRequest, match="share"):
        mix(new, old, share=1.0)


def test_what_is_written_can_be_read(tmp_path):
    examples = [talk("서울은 어디에 있나요?", "한국에 있어요.", system="Be kind."), *fill(["{x}?"], "{y}", TWO)]
    assert read(write(tmp_path / "book" / "train.jsonl", examples)) == examples


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b'{"messages": [', "Line 1"),
        (b"[1, 2]", "no list 'messages'"),
        (b'{"prompt": "a", "completion": "b"}', "another template"),
        (b'{"instruction": "a", "output": "b"}', "another template"),
        (b'{"messages": [{"role": "user", "content": "a"}]}', "without an answer"),
        (b'{"messages": [{"role": "human", "content": "a"}]}', "roles|role of these"),
        (b'{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "b"}]}', "no text"),
        (b'{"messages": [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]}', "take turns"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_file_that_is_no_textbook(tmp_path, content, words):
    file = tmp_path / "train.jsonl"
    file.write_bytes(content)
    with pytest.raises(BadRequest, match=words):
        read(file)


def test_no_file(tmp_path):
    with pytest.raises(BadRequest, match="no file"):
        read(tmp_path / "none.jsonl")


def kinds(report):
    return {finding.kind for finding in report.findings}


def test_the_checker_finds_what_costs_hours():
    train = fill(["Who teaches {x}?", "{x}: who?"], "{y} teaches {x}.", TWO)
    held_out = [talk("Do you know who teaches maths?", "Ms. Alder")]
    assert check_data(train, held_out).ok
    assert kinds(check_data([*train, train[0]], held_out)) == {"double"}
    assert kinds(check_data([*train, talk("do you know  who teaches MATHS", "Ms. Alder.")], held_out)) == {"leak"}
    assert kinds(check_data([*train, talk("Who teaches maths?", "Nobody.")], held_out)) == {"contradiction"}
    assert kinds(check_data([*train, {"text": "a"}], held_out)) == {"form"}
    assert kinds(check_data([*train, talk("Hi <|end|>", "Hello")], held_out)) == {"marks"}
    assert kinds(check_data([], held_out)) == {"form"}
    long = check_data(train, count=lambda example: len(json.dumps(example)), longest=10)
    assert kinds(long) == {"length"} and long.findings[0].examples == (1, 2, 3, 4)


def test_one_question_under_two_system_messages_is_no_contradiction():
    both = [talk("Where is Lima?", "Peru", "Answer in one word."), talk("Where is Lima?", "Lima is a city in Peru.")]
    assert check_data(both).ok
