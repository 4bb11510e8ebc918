"""The checks of lab 08: each known mistake gets its own sentence, and unusual right forms pass."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper import load
from labs_helper.exercises import check, lab08
from labs_helper.reference import greedy, read
from references import lab08 as known

FUNCTIONS = {one.number: one for one in known.references() if one.number != "8.7"}
MISTAKES = [(number, name) for number, one in FUNCTIONS.items() for name in one.mistakes]


def message(number, value, *, passed):
    result = check(number, value)
    assert result.passed is passed, result.message
    return result.message


@pytest.mark.parametrize(("number", "mistake"), MISTAKES)
def test_a_mistake_is_told_apart_from_all_others(number, mistake):
    # After a comma is another form of the same mistake, with the same sentence.
    one = mistake.partition(",")[0]
    others = [name for name in FUNCTIONS[number].mistakes if name.partition(",")[0] != one]
    said = message(number, FUNCTIONS[number].mistakes[mistake], passed=False)
    told = {name: message(number, FUNCTIONS[number].mistakes[name], passed=False) for name in others}
    assert said.rpartition("returned")[2] not in [text.rpartition("returned")[2] for text in told.values()]


@pytest.mark.parametrize("number", FUNCTIONS)
def test_right_answers_in_unusual_forms(number):
    right = FUNCTIONS[number].right
    message(number, right, passed=True)
    message(number, lambda *arguments: np.asarray(right(*arguments)).tolist(), passed=True)
    message(number, lambda *arguments: np.asarray(right(*arguments)).astype(np.float32), passed=True)


@pytest.mark.parametrize("number", FUNCTIONS)
def test_shapes_texts_and_values_in_place_of_functions(number):
    assert message(number, lambda *arguments: np.zeros((7, 7, 7)), passed=False)
    assert message(number, lambda *arguments: "many", passed=False)
    assert message(number, [1, 2], passed=False)


# --- 8.7: the parts are functions ------------------------------------------------------------------------------------


def _replaced(x, look, think, norm_look, norm_think):
    return think(norm_think(look(norm_look(x))))


def _once(x, look, think, norm_look, norm_think):
    return think(norm_think(x + look(norm_look(x))))


def _after(x, look, think, norm_look, norm_think):
    x = norm_look(x + look(x))
    return norm_think(x + think(x))


def _bare(x, look, think, norm_look, norm_think):
    x = x + look(x)
    return x + think(x)


def _side_by_side(x, look, think, norm_look, norm_think):
    return x + look(norm_look(x)) + think(norm_think(x))


def _on_normed(x, look, think, norm_look, norm_think):
    x = norm_look(x)
    x = x + look(x)
    x = norm_think(x)
    return x + think(x)


def _think_first(x, look, think, norm_look, norm_think):
    x = x + think(norm_think(x))
    return x + look(norm_look(x))


def _other_norms(x, look, think, norm_look, norm_think):
    x = x + look(norm_think(x))
    return x + think(norm_look(x))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (_replaced, "Nothing is added to x"),
        (_once, "Only one of the two parts"),
        (_after, "The norms come after the parts"),
        (_bare, "The norms are missing"),
        (_side_by_side, "Both parts read the first x"),
        (_on_normed, "Add to x as it came"),
        (_think_first, "The MLP came first"),
        (_other_norms, "exchanged"),
        (lambda x, a, b, c, d: x + a(c(x)) + b(d(x + a(c(x)))), "Call look once"),
        (lambda x, look, think: x, "takes 3 positional arguments but 5 were given"),
        (lambda x, *parts: print("x"), "returned nothing"),
        (lambda x, *parts: x[0], "must return the shape"),
        (lambda x, *parts: x, "x = x + look(norm_look(x))"),
    ],
)
def test_wrong_layers_are_told_apart(wrong, words):
    assert words in message("8.7", wrong, passed=False)


def _in_place(x, look, think, norm_look, norm_think):
    x += look(norm_look(x))
    x += think(norm_think(x))
    return x


def _with_names(x, look, think, norm_look, norm_think):
    middle = np.add(look(norm_look(x)), x)
    return (think(norm_think(middle)) + middle).tolist()


def test_a_stub_of_a_layer_is_a_stub():
    def layer(x, look, think, norm_look, norm_think): ...

    assert check("8.7", layer).status == "not yet"


@pytest.mark.parametrize(
    "right",
    [
        lambda x, a, b, c, d: (lambda y: y + b(d(y)))(x + a(c(x))),
        _in_place,
        _with_names,
        lambda *given: (_in_place(*given).astype(np.float32),),
    ],
)
def test_right_layers_in_unusual_forms(right):
    message("8.7", right, passed=True)


# --- 8.8: a whole model ----------------------------------------------------------------------------------------------

QUESTIONS = [f"What is {n} + {3 * n + 1}?" for n in range(11, 31)]


@pytest.fixture(scope="module")
def pairs():
    """Twenty prompts, and what the true model writes, its stop token included."""
    model = load("instruct", tier="tiny")
    reference = read(model)
    prompts = [model.prompt(question).ids for question in QUESTIONS]
    answers = [greedy(reference, prompt, 60, stop=model.engine.stop_ids) for prompt in prompts]
    assert all(len(answer) > 3 and answer[-1] in model.engine.stop_ids for answer in answers)
    model.release()
    return list(zip(prompts, answers, strict=True))


def _changed(pairs, number, change):
    """The pairs with the answer of one of them changed."""
    return [(prompt, change(answer)) if n == number else (prompt, answer) for n, (prompt, answer) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda pairs: pairs[:19], "There are 19 different questions"),
        (lambda pairs: pairs[:1] * 20, "There are 1 different questions"),
        (lambda pairs: [prompt for prompt, _answer in pairs], "pair of lists"),
        (lambda pairs: [(prompt, "six") for prompt, _answer in pairs], "pair of lists"),
        (lambda pairs: "Where is Lima?", "list of pairs"),
        (lambda pairs: 20, "list of pairs"),
        (lambda pairs: _changed(pairs, 1, lambda ids: [99999]), "Question 2: The model has tokens 0 to 2559 only"),
        (lambda pairs: [*pairs, (np.array([], int), [3])], "Question 21: the prompt has no ids"),
        (lambda pairs: _changed(pairs, 2, lambda ids: np.array([], int)), "Question 3: your model wrote nothing"),
        (lambda pairs: _changed(pairs, 0, lambda ids: ids[:-1]), "Question 1: your answer ends without a stop token"),
        (lambda pairs: _changed(pairs, 19, lambda ids: [*ids, 7]), "Question 20: your model went on after a stop"),
        (lambda pairs: _changed(pairs, 4, lambda ids: [ids[0] + 1, *ids[1:]]), "The prompt itself is read wrongly"),
        (lambda pairs: _changed(pairs, 4, lambda ids: [ids[0], 9, *ids[2:]]), "this is nearly always the position"),
        (lambda pairs: _changed(pairs, 4, lambda ids: [*ids[:3], 9, *ids[4:]]), "Question 5: token 4 differs"),
        (lambda pairs: _changed(pairs, 4, lambda ids: [*ids[:-1], 9]), "differs (9"),
    ],
)
def test_answers_of_another_model_are_told_apart(pairs, wrong, words):
    assert words in message("8.8", wrong(pairs), passed=False)


@pytest.mark.parametrize(
    "right",
    [
        list,
        tuple,
        lambda pairs: [[list(prompt), np.array(answer)] for prompt, answer in pairs],
        lambda pairs: {tuple(prompt): tuple(answer) for prompt, answer in pairs},
        lambda pairs: [*pairs, *pairs[:3]],
    ],
)
def test_right_answers_of_a_whole_model(pairs, right):
    assert "token for token" in message("8.8", right(pairs), passed=True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((40, 9, [40, 38], "matters"), "at least 5"),
        ((40, 9, [40, 38, 40, 39, 40], "not shown"), "below every control"),
        ((40, 39, [40, 38, 40, 39, 40], "matters"), "Another head does the same"),
        ((0.9, 0.2, [1, 1, 1, 1, 1], "matters"), "counts, not shares"),
        ((40, 9, [40, 38, 40, 39, 40], "perhaps"), "The verdict is"),
        ((40, 9, 38, "matters"), "list"),
        ((40, 9), "four things"),
    ],
)
def test_evidence_that_is_none(value, words):
    assert words in message("8.11", value, passed=False)


@pytest.mark.parametrize(
    "value",
    [
        (40, 9, [40, 38, 40, 39, 40], "matters"),
        [40, 38, np.array([40, 38, 40, 39, 40]), "Not shown."],
        (np.int64(12), 12, (12,) * 7, "not shown"),
    ],
)
def test_evidence_and_a_verdict_that_follows(value):
    message("8.11", value, passed=True)


def test_the_exercises_are_in_order():
    assert [one.number for one in lab08.exercises()] == [f"8.{n}" for n in range(1, 12)]
