"""Exercise 7.3, a tool of one's own: what is right passes, what is wrong is told what to look at."""

from __future__ import annotations

import time

import pytest

from labs_helper.agent import TOOLS, Event, Trace, toolbox, write_plan
from labs_helper.agent.tools import place, translate
from labs_helper.errors import BadPlan
from labs_helper.exercises import lab07
from labs_helper.exercises.base import NotYet, TryAgain

CHECKS = {exercise.number: exercise.check for exercise in lab07.exercises()}


def post(about: str, to: str) -> str:
    """Write a few words about a country."""
    name = translate(about, to)
    return f"{name}: " + ", ".join(place(name, field) for field in ("capital", "currency"))


def by_its_own_name(about: str, to: str) -> str:
    """Write a few words about a country, from facts under its name in the other language."""
    name = translate(about, to)
    return f"{name}: {place(name, 'capital')}, {place(name, 'currency')}."


def renamed(function):
    function.__name__ = "post"
    return TOOLS | toolbox(function)


@renamed
def without_docstring(about: str, to: str) -> str:
    return ""


@renamed
def of_one_place(about: str, to: str) -> str:
    """Always the same."""
    return "Nairobi, chelín, 나이로비, 실링"


@renamed
def that_makes_up(about: str, to: str) -> str:
    """Facts, or something like them."""
    try:
        return post(about, to)
    except BadPlan:
        return "A fine country."


@renamed
def that_breaks(about: str, to: str) -> str:
    """Facts by another way."""
    try:
        return post(about, to)
    except BadPlan:
        raise KeyError(about) from None


@renamed
def word_by_word(about: str, to: str) -> str:
    """The English facts, each translated: sol becomes the sun."""
    return (
        f"{translate(about, to)}: {translate(place(about, 'capital'), to)}, {translate(place(about, 'currency'), to)}"
    )


@renamed
def half_english(about: str, to: str) -> str:
    """An English sentence with two words translated."""
    name = translate(about, to)
    return f"The capital is {place(name, 'capital')} and people pay in {place(name, 'currency')}."


@renamed
def as_a_list(about: str, to: str) -> list:
    """The facts, not joined."""
    name = translate(about, to)
    return [place(name, "capital"), place(name, "currency")]


@renamed
def printed(about: str, to: str) -> str:
    """The facts, shown and gone."""
    print(by_its_own_name(about, to))


@renamed
def in_a_sentence(about: str, to: str) -> str:
    """In the order of the tool's own choice, in capitals."""
    name = translate(about, to)
    return " · ".join(place(name, field).upper() for field in ("currency", "continent", "capital"))


def traced(question, *plans, answer="The answer is 5."):
    trace = Trace(plans=list(plans), answer=answer)
    trace.events.append(Event("question", question))
    return trace


COUNTED = "How many words are in 'the quick brown fox'?"
TICK = write_plan(("word_count", {"text": "the tick brown fox"}))


@renamed
def not_written(about: str, to: str) -> str:
    """Nothing yet."""
    return ...


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("7.3", renamed(by_its_own_name)),
        ("7.3", in_a_sentence),
        ("7.3", dict(reversed(renamed(by_its_own_name).items()))),
        ("7.4", traced(COUNTED, TICK)),
        (
            "7.4",
            traced("thx! and brazil's currency?", write_plan(("place", {"name": "Portugal", "field": "currency"}))),
        ),
        ("7.4", traced(COUNTED, "no", TICK)),
        ("7.4", traced("What is 12% of 250?", write_plan(("calculator", {"expression": "12 * 25"})) + "\n")),
    ],
)
def test_right_answers_pass(number, value):
    assert CHECKS[number](value).startswith("Right")


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("7.3", post, "Hand in the tools"),
        ("7.3", TOOLS, "no tool named post"),
        ("7.3", toolbox(post), "other tools are gone"),
        ("7.3", without_docstring, "docstring"),
        ("7.3", of_one_place, "Kenya in Korean still has English in it, 'Nairobi'"),
        ("7.3", that_makes_up, "not made up"),
        ("7.3", that_breaks, "broke"),
        ("7.3", word_by_word, "currency, 솔.*another sol.*Translate the name of the country first"),
        ("7.3", half_english, "still has English in it, 'The'"),
        ("7.3", as_a_list, r"one text \(str\)"),
        ("7.3", printed, "returned nothing.*print"),
        ("7.4", COUNTED, "Hand in the trace"),
        ("7.4", 5, "constrained=False.*a whole number"),
        ("7.4", traced(COUNTED, TICK, answer=None), "no answer.*honest"),
        ("7.4", traced(COUNTED, "no"), "not valid: the plan is not JSON"),
        ("7.4", traced(COUNTED, write_plan(("word_count", {"text": "The quick brown fox"}))), "is in the question"),
        (
            "7.4",
            traced("Where is Eiffel Tower?", write_plan(("place", {"name": "the Eiffel Tower", "field": "city"}))),
            "is in the question",
        ),
        (
            "7.4",
            traced(
                "What is 7 x 8? Then add 4.",
                write_plan(("calculator", {"expression": "7 * 8"}), ("calculator", {"expression": "$1 + 4"})),
            ),
            r"is in the question: 7 \* 8, \$1 \+ 4",
        ),
    ],
)
def test_a_wrong_answer_is_told_what_to_look_at(number, value, words):
    start = time.perf_counter()
    with pytest.raises(TryAgain, match=words):
        CHECKS[number](value)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("number", "value"), [("7.1", lambda e: ...), ("7.2", lambda steps: None), ("7.3", not_written)]
)
def test_a_stub_is_not_a_wrong_answer(number, value):
    with pytest.raises(NotYet):
        CHECKS[number](value)


def test_hints_come_in_order():
    assert [exercise.number for exercise in lab07.exercises()] == ["7.1", "7.2", "7.3", "7.4"]
    assert all(len(exercise.hints) == 3 and exercise.title for exercise in lab07.exercises())
