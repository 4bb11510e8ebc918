"""Skills: the file of questions, the judges, and that a count falls where a model breaks."""

from __future__ import annotations

import json

import pytest

from labs_helper.quantizing import altogether, is_right, questions, rounded, score_skills
from labs_helper.quantizing.skills import Question
from labs_helper.tuning import talk


def question(kind, expect):
    return Question("a skill", "en", kind, expect, talk("?", "!"))


def test_the_file_is_whole():
    everything = questions()
    counts = {}
    for one in everything:
        counts[one.skill] = counts.get(one.skill, 0) + 1
    assert len(everything) == 440 and min(counts.values()) == 40 and len(counts) == 10
    assert len({json.dumps(one.talk) for one in everything}) == 440
    assert [one.skill for one in questions("sums", "needle")] == ["sums"] * 60 + ["needle"] * 40


def test_every_reference_answer_is_right():
    """Else no model could be."""
    wrong = [one for one in questions() if not is_right(one, one.talk["messages"][-1]["content"])]
    assert wrong == []


@pytest.mark.parametrize(
    ("kind", "expect", "answer", "right"),
    [
        ("contains", ["Peru"], "Lima is in peru.", True),
        ("contains", ["Peru", "Lima"], "Lima is a city.", False),
        ("number", "84", "8 + 76 = 84", True),
        ("number", "84", "84 is 8 + 76", False),
        ("number", "84", "", False),
        ("json", {"age": 3}, '{"age": 3}', True),
        ("json", {"age": 3}, '{"age": "3"}', False),
        ("json", {"age": 3}, "{age: 3", False),
        ("list", ["a", "b"], "1. a\n2. b", True),
        ("list", ["a", "b"], "1. b\n2. a", False),
        ("list", ["a", "b"], "1. a\n1. b", False),
        ("list", ["a", "b"], "a, b", False),
    ],
)
def test_the_judges(kind, expect, answer, right):
    assert is_right(question(kind, expect), answer) is right


def test_the_judges_agree_with_those_of_the_training():
    from training import grading
    from training.cases import Case

    for one in questions()[::7]:
        for answer in (one.talk["messages"][-1]["content"], "", "1. a", "{}", "7 + 2 = 9"):
            case = Case(
                "", one.language, (), tuple(one.expect) if isinstance(one.expect, list) else one.expect, one.kind
            )
            assert is_right(one, answer) == grading.right(case, answer)


def test_a_model_that_breaks_is_counted_so(model):
    asked = questions("sums")[::3]
    whole, broken = (altogether(score_skills(each, asked)) for each in (model, rounded(model, 2)))
    assert whole.share > 0.9 > 0.7 > broken.share
    assert whole.count == broken.count == len(asked)
