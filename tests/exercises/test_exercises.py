"""The checks: they pass what is right, name the likely mistake in what is not, and never raise."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy
import pytest

import labs_helper.exercises as exercises
from labs_helper.exercises import all_exercises, check, facts, hint, lab01
from labs_helper.exercises.base import is_unfilled

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def stop_tokens(monkeypatch):
    """Fixed stop ids, so the checks are tested without a checkpoint on disk."""
    monkeypatch.setattr(facts, "stop_ids", lambda name: frozenset({1, 4}))
    monkeypatch.setattr(facts, "special_id", lambda name, token: {"<|end|>": 4, "<|endoftext|>": 1}[token])
    monkeypatch.setattr(exercises, "_hints_shown", {})


PROMPT = "<|system|>\nAnswer in one word.<|end|>\n<|user|>\nWhat is the capital of Kenya?<|end|>\n<|assistant|>\n"
PROBABILITIES = lab01.softmax(lab01.LOGITS, lab01.TEMPERATURE)
RATIOS = {name: n / len(lab01.SENTENCES[name]) for name, n in {"English": 14, "Chinese": 12, "Korean": 20}.items()}
MISPRINTS = [
    ("Gemma-2-9B-it", "MGSM", 75.1),
    ("Phi-3.5-mini-instruct", "SQuALITY", 25.3),
    ("Mistral-7B-Instruct-v0.3", "Long context", 24.4),
    ("Mistral-Nemo-12B-Instruct-2407", "Long context", 24.5),
    ("Llama-3.1-8B-Instruct", "Long context", 25.5),
]


def choose(prompt_tokens, max_tokens, original):
    return "short" if prompt_tokens + max_tokens <= original else "long"


RIGHT = [
    ("0.1", "Changsha is a city in China."),
    ("0.1", "湖南省"),
    ("0.1", "중국"),
    ("1.1", PROMPT),
    ("1.2", [1, 4]),
    ("1.2", {32007, 32001, 32000}),
    ("1.2", numpy.array([4, 1])),
    ("1.3", PROBABILITIES),
    ("1.3", tuple(round(p, 3) for p in PROBABILITIES)),
    ("1.3", numpy.array(PROBABILITIES)),
    ("1.3", dict(zip("abcd", PROBABILITIES, strict=True))),
    ("1.4", (RATIOS, "Korean")),
    ("1.4", ({k: round(v, 2) for k, v in RATIOS.items()}, " korean ")),
    ("1.5", MISPRINTS),
    ("1.5", list(reversed(MISPRINTS))),
    ("1.5", {(model, benchmark): value for model, benchmark, value in MISPRINTS}),
    ("1.6", choose),
    ("1.7", 393216),
    ("1.7", 393216.0),
    ("1.8", (4800, 300)),
]


@pytest.mark.parametrize(("number", "value"), RIGHT)
def test_right_answers_pass(number, value):
    result = check(number, value)
    assert result.passed, result
    assert result.status == "passed"


def wrong_table(prompt_tokens, max_tokens, original):
    return "short" if prompt_tokens <= original else "long"


def fixed_table(prompt_tokens, max_tokens, original):
    return "short" if prompt_tokens + max_tokens <= 256 else "long"


def off_by_one(prompt_tokens, max_tokens, original):
    return "short" if prompt_tokens + max_tokens < original else "long"


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("0.1", "Where is Changsha?", "question"),
        ("0.1", "Kenya", "do not find"),
        ("0.1", 7, "text"),
        ("1.1", PROMPT.replace("\n", ""), "new line"),
        ("1.1", PROMPT.rstrip("\n"), "new line"),
        ("1.1", PROMPT.replace("<|end|>", "", 1), "count 1"),
        ("1.1", PROMPT + "<|end|>", "count 3"),
        ("1.1", "<s>" + PROMPT, "<s>"),
        ("1.1", PROMPT.replace("Kenya", "kenya"), "capital letters"),
        ("1.1", PROMPT.replace("<|assistant|>\n", ""), "<|assistant|>"),
        ("1.1", ["a", "b"], "text"),
        ("1.2", [1], "<|end|>"),
        ("1.2", 4, "lists more"),
        ("1.2", [32000, 32007], "lists more"),
        ("1.2", [1, 4, 9], "[9]"),
        ("1.2", ["<|end|>", "<|endoftext|>"], "names"),
        ("1.2", "<|end|>", "names"),
        ("1.3", lab01.softmax(lab01.LOGITS), "temperature 1"),
        ("1.3", lab01.softmax(lab01.LOGITS, 2.0), "multiplied"),
        ("1.3", [math.exp(z / 0.5) for z in lab01.LOGITS], "add up to 1"),
        ("1.3", PROBABILITIES[::-1], "order"),
        ("1.3", PROBABILITIES[:3], "4 numbers"),
        ("1.3", ["a", "b", "c", "d"], "number"),
        ("1.3", [float("nan")] * 4, "finite"),
        ("1.3", [-0.1, 0.4, 0.4, 0.3], "never negative"),
        ("1.4", ({k: 1 / v for k, v in RATIOS.items()}, "English"), "tokens by characters"),
        ("1.4", (RATIOS, "Chinese"), "another language"),
        ("1.4", (RATIOS, "Dutch"), "Name one of"),
        ("1.4", ({"English": 0.2}, "English"), "missing"),
        ("1.4", RATIOS, "two things"),
        ("1.5", MISPRINTS[:2], "2 found"),
        ("1.5", [("Gemma-2-9B-it", "MGSM", 76.4)], "other value"),
        ("1.5", [("Gemma-2-9B-it", "MMLU", 71.3)], "agrees"),
        ("1.5", ["MGSM"], "three parts"),
        ("1.5", 5, "list"),
        ("1.6", wrong_table, "max_tokens"),
        ("1.6", fixed_table, "4096"),
        ("1.6", off_by_one, "exactly"),
        ("1.6", lambda a, b, c: True, "must return"),
        ("1.6", "short", "function itself"),
        ("1.6", lambda: "short", "TypeError"),
        ("1.7", 393216 / 2, "two tensors"),
        ("1.7", 384, "KiB"),
        ("1.7", 393216 * 8, "bits"),
        ("1.7", 393216 / 32, "one layer"),
        ("1.7", 1, "Multiply"),
        ("1.7", "393216", "number"),
        ("1.8", (300, 4800), "other order"),
        ("1.8", (1000, 300), "whole conversation"),
        ("1.8", (5500, 300), "not in the prompt yet"),
        ("1.8", (4800, 1000), "cached already"),
        ("1.8", 4800, "list of 2"),
    ],
)
def test_wrong_answers_name_the_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again"
    assert not result.passed
    assert words in result.message, result.message


@pytest.mark.parametrize("number", list(all_exercises()))
@pytest.mark.parametrize("value", [..., None, "", "...", [], {}, [...], (..., ...), {"English": ...}])
def test_a_stub_is_not_yet(number, value):
    assert check(number, value).status == "not yet"


def test_a_function_that_is_a_stub_is_not_yet():
    assert check("1.6", lambda prompt_tokens, max_tokens, original: ...).status == "not yet"


class Hostile:
    """Everything a check could try to do with it fails."""

    def _fail(self, *args, **kwargs):
        raise RuntimeError("no")

    __float__ = __len__ = __iter__ = __eq__ = __repr__ = __str__ = __call__ = _fail
    __hash__ = None


@pytest.mark.parametrize("number", list(all_exercises()))
@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        1e308,
        float("nan"),
        True,
        "x" * 1000,
        b"x",
        object(),
        Hostile(),
        [Hostile()],
        {"a": Hostile()},
        print,
        lambda *a: 1 / 0,
        [[]],
        [["a", "b", 1]],
        numpy.zeros((2, 2)),
        iter([1, 2]),
        10**400,
        ({}, 1),
        "<script>",
    ],
)
def test_never_raises_and_never_passes_nonsense(number, value):
    result = check(number, value)
    assert result.status in ("try again", "not yet")
    assert result.message
    assert str(result) and "<script>" not in result._repr_html_()


@pytest.mark.parametrize("number", ["9.9", "", None, 1.1j, "<b>"])
def test_an_unknown_exercise_lists_the_known_ones(number):
    result = check(number, 1)
    assert not result.passed
    assert "1.1" in result.message
    assert "<b>" not in result._repr_html_()
    assert "1.1" in str(hint(number))


def test_numbers_work_as_floats_too():
    assert check(1.7, 393216).passed


def test_hints_unlock_one_by_one_and_the_last_stays():
    steps = all_exercises()["1.3"].hints
    seen = [hint("1.3") for _ in range(len(steps) + 1)]
    assert [h.message for h in seen] == [*steps, steps[-1]]
    assert [h.step for h in seen] == [1, 2, 3, 3]
    assert "last hint" in str(seen[-1])
    assert "<|" not in hint("1.1")._repr_html_().replace("&lt;|", "")


@pytest.mark.parametrize("exercise", all_exercises().values(), ids=lambda exercise: exercise.id)
def test_every_exercise_is_complete(exercise):
    assert len(exercise.hints) >= 2
    assert exercise.title
    assert not exercise.title.endswith(".")


def test_labs_are_listed_in_order():
    assert list(all_exercises("01")) == [f"1.{n}" for n in range(1, 9)]
    assert list(all_exercises("0")) == ["0.1"]
    assert list(all_exercises("2")) == [f"2.{n}" for n in range(1, 8)]
    assert list(all_exercises("03")) == [f"3.{n}" for n in range(1, 7)]
    assert list(all_exercises("07")) == [f"7.{n}" for n in range(1, 4)]
    assert set(all_exercises()) == {id for lab in ("00", "1", "2", "3", "7") for id in all_exercises(lab)}


def test_the_misprints_come_out_of_the_tables():
    assert {(m, b, v) for (m, b), v in lab01.misprints().items()} == set(MISPRINTS)


def test_kv_cache_figure_agrees_with_the_facts():
    text = (ROOT / "data" / "benchmarks" / "model_facts.csv").read_text(encoding="utf-8")
    right = 2 * lab01.LAYERS * lab01.KV_HEADS * lab01.HEAD_DIM * lab01.BYTES
    assert f"Phi-3.5-mini-instruct,kv_cache_bytes_per_token_16bit,{right}," in text


def test_the_notebook_shows_the_sentences_that_the_check_knows():
    source = (ROOT / "notebooks" / "src" / "01-instruct.py").read_text(encoding="utf-8")
    assigned = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sentences"
    ]
    assert assigned == [lab01.SENTENCES]


@pytest.mark.parametrize("value", [1, "a", [1], {"a": 1}, 0, False, {1}])
def test_a_filled_value_is_not_a_stub(value):
    assert not is_unfilled(value)
