"""The exercises of lab 01: what is right passes, what is wrong is told what went wrong. The experiments have a file
of their own (test_exercises_instruct.py)."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
from mistakes import forgets_return, prints

from labs_helper import catalog
from labs_helper.exercises import check, facts, lab01, stored

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fixed_tokenizers(monkeypatch):
    """Fixed ids and counts: these tables hold for any checkpoint."""
    monkeypatch.setattr(facts, "stop_ids", lambda name: frozenset({1, 4}))
    monkeypatch.setattr(facts, "special_id", lambda name, token: {"<|end|>": 4, "<|endoftext|>": 1}[token])
    monkeypatch.setattr(facts, "token_counts", lambda texts: [TOKENS, REAL_TOKENS])


def softmax(logits, temperature=1.0):
    weights = numpy.exp(numpy.array(logits) / temperature)
    return (weights / weights.sum()).tolist()


LOGITS = (4.0, 3.0, 1.0, 0.0)
RIGHT_SHARES = [0.878621, 0.118908, 0.002178, 0.000295]  # exp of 8, 6, 2, 0, over their sum
NAMES = ("Africa", "Asia", "Europe", "Oceania")
TOKENS, REAL_TOKENS = [14, 12, 20], [14, 20, 31]
LENGTHS = [len(sentence) for sentence in lab01.SENTENCES.values()]


def ratios(tokens, lengths=LENGTHS):
    return {name: n / length for name, n, length in zip(lab01.SENTENCES, tokens, lengths)}


RATIOS = ratios(TOKENS)
MISPRINTS = [
    ("Gemma-2-9B-it", "MGSM", 75.1),
    ("Phi-3.5-mini-instruct", "SQuALITY", 25.3),
    ("Mistral-7B-Instruct-v0.3", "Long context", 24.4),
    ("Mistral-Nemo-12B-Instruct-2407", "Long context", 24.5),
    ("Llama-3.1-8B-Instruct", "Long context", 25.5),
]


def table(prompt_tokens, max_tokens, original):
    return "long" if original - prompt_tokens < max_tokens else "short"


class Text(str):
    """A kind of str, as some packages return it."""


RIGHT = [
    ("1.2", [1, 4]),
    ("1.2", {32007, 32001, 32000}),
    ("1.2", numpy.array([4, 1])),
    ("1.2", (1.0, 4.0)),
    ("1.2", iter([4, 1, 4])),
    ("1.3", RIGHT_SHARES),
    ("1.3", tuple(round(p, 2) for p in RIGHT_SHARES)),
    ("1.3", numpy.array(RIGHT_SHARES)),
    ("1.3", dict(zip(NAMES, RIGHT_SHARES))),
    ("1.3", dict(zip(NAMES[::-1], RIGHT_SHARES[::-1]))),
    ("1.3", (p for p in RIGHT_SHARES)),
    ("1.4", (RATIOS, "Korean")),
    ("1.4", ({k: round(v, 2) for k, v in RATIOS.items()}, " korean ")),
    ("1.4", [ratios(REAL_TOKENS), Text("KOREAN")]),
    ("1.4", ({**RATIOS, "Spanish": 0.3}, "Korean")),
    ("1.5", MISPRINTS),
    ("1.5", list(reversed(MISPRINTS))),
    ("1.5", {(model, benchmark): value for model, benchmark, value in MISPRINTS}),
    ("1.5", [(f" {model.upper()}", benchmark.lower(), numpy.float64(value)) for model, benchmark, value in MISPRINTS]),
    ("1.6", table),
    ("1.6", lambda *request: Text(table(*request))),
    ("1.6", lambda p, m, o: ["short", "long"][p + m > o]),
]  # fmt: skip


@pytest.mark.parametrize(("number", "value"), RIGHT)
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


def choose(test):
    return lambda prompt, most, original: "short" if test(prompt, most, original) else "long"


def swapped_row(row):
    return (row[1], row[0], row[2])


WRONG = [
    ("1.2", [1], "<|end|>"),
    ("1.2", 4, "lists more"),
    ("1.2", [32000, 32007], "lists more"),
    ("1.2", [1, 4, 9], "[9]"),
    ("1.2", [1.4, 4.4], "whole number"),
    ("1.2", ["<|end|>", "<|endoftext|>"], "names"),
    ("1.2", "<|end|>", "names"),
    ("1.2", ["1", "4"], "without quotes"),
    ("1.2", {"eos_token_id": [1, 4], "pad_token_id": 1}, "eos_token_id"),
    ("1.3", softmax(LOGITS), "temperature 1"),
    ("1.3", softmax(LOGITS, 2), "multiplied"),
    ("1.3", [math.exp(z / 0.5) for z in LOGITS], "Divide each by their sum"),
    ("1.3", [math.exp(z) for z in LOGITS], "divide the logits"),
    ("1.3", [p / 0.5 for p in softmax(LOGITS)], "before math.exp"),
    ("1.3", [z / 8 for z in LOGITS], "math.exp of each one"),
    ("1.3", [100 * p for p in RIGHT_SHARES], "per cent"),
    ("1.3", [round(p, 1) for p in RIGHT_SHARES], "one decimal"),
    ("1.3", [2 ** (z / 0.5) / sum(2 ** (y / 0.5) for y in LOGITS) for z in LOGITS], "powers of 2"),
    ("1.3", RIGHT_SHARES[::-1], "order"),
    ("1.3", RIGHT_SHARES[:3], "4 numbers"),
    ("1.3", ["a", "b", "c", "d"], "number"),
    ("1.3", [float("nan")] * 4, "finite"),
    ("1.3", [-0.1, 0.4, 0.4, 0.3], "never negative"),
    ("1.3", [0.5, 0.5, 0.5, 0.5], "add up to 2"),
    ("1.3", softmax(LOGITS, 0.7), "exponent"),
    ("1.4", ({k: 1 / v for k, v in RATIOS.items()}, "English"), "tokens by characters"),
    ("1.4", (dict(zip(RATIOS, TOKENS)), "Korean"), "These are the tokens"),
    ("1.4", (dict(zip(RATIOS, LENGTHS)), "Korean"), "These are the characters"),
    ("1.4", (ratios(TOKENS, [len(s.encode()) for s in lab01.SENTENCES.values()]), "Korean"), "bytes"),
    ("1.4", (ratios(TOKENS, [len(s.split()) for s in lab01.SENTENCES.values()]), "Korean"), "words"),
    ("1.4", ({k: 100 * v for k, v in RATIOS.items()}, "Korean"), "per cent"),
    ("1.4", (ratios([n + 1 for n in TOKENS]), "Korean"), "start token"),
    ("1.4", (ratios([10, 11, 12]), "Korean"), "not what the model"),
    ("1.4", ({**RATIOS, "Korean": 0.9}, "Korean"), "Korean is not what"),
    ("1.4", (RATIOS, "Chinese"), "per character"),
    ("1.4", (RATIOS, "English"), "another language"),
    ("1.4", (RATIOS, "Dutch"), "Name one of"),
    ("1.4", ({"English": 0.2}, "English"), "missing"),
    ("1.4", RATIOS, "two things"),
    ("1.4", ("Korean", RATIOS), "dict"),
    ("1.5", MISPRINTS[:2], "2 found"),
    ("1.5", [("Gemma-2-9B-it", "MGSM", 76.4)], "other value"),
    ("1.5", [("Phi-3.5-mini-instruct", "SQuALITY", 25.26)], "one decimal"),
    ("1.5", [("Mistral-7B-Instruct-v0.3", "Long context", 24.36)], "one decimal"),
    ("1.5", [("Gemma-2-9B-it", "MMLU", 71.3)], "agrees"),
    ("1.5", list(map(swapped_row, MISPRINTS)), "begins with the benchmark"),
    ("1.5", [("Gemma-2-9B-it", "MGSM", "75.1")], "number"),
    ("1.5", ["MGSM"], "three parts"),
    ("1.5", 5, "list"),
    ("1.6", choose(lambda p, m, o: p <= o), "Add max_tokens"),
    ("1.6", choose(lambda p, m, o: m <= o), "max_tokens alone"),
    ("1.6", choose(lambda p, m, o: p + m <= 256), "4096"),
    ("1.6", choose(lambda p, m, o: p + m <= 4096), "256 for the bundled"),
    ("1.6", choose(lambda p, m, o: p + m < o), "exactly"),
    ("1.6", choose(lambda p, m, o: p + m <= o + 1), "one token too long"),
    ("1.6", choose(lambda p, m, o: p + m > o), "swapped"),
    ("1.6", lambda p, m, o: p + m <= o, "must return"),
    ("1.6", forgets_return, "return in front"),
    ("1.6", prints, "in place of print"),
    ("1.6", "short", "function itself"),
    ("1.6", lambda: "short", "takes 3 arguments"),
    ("1.6", lambda p, m, o: "short" if tokens <= o else "long", "NameError"),  # noqa: F821 - the mistake
]  # fmt: skip


@pytest.mark.parametrize(("number", "value", "words"), WRONG)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


def test_the_misprints_are_those_of_the_tables():
    assert [tuple(row) for row in stored.case("1.5").right] == MISPRINTS


def test_the_notebook_shows_the_sentences_that_the_check_knows():
    source = (ROOT / "notebooks" / "src" / "01-instruct.py").read_text(encoding="utf-8")
    assigned = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sentences"
    ]
    assert lab01.SENTENCES in assigned


def test_the_ids_are_those_of_the_file(monkeypatch):
    monkeypatch.undo()
    folder = catalog.course_folder() / "data" / "checkpoints" / "instruct-tiny"
    ids, same = (
        json.loads((folder / name).read_text("utf-8"))["eos_token_id"]
        for name in ("generation_config.json", "config.json")
    )
    result = check("1.2", ids)
    assert result.passed and ids == same and "the same list" in result.message


def test_tokens_are_counted_with_every_model_that_is_here(monkeypatch, tmp_path):
    monkeypatch.undo()
    from labs_helper import store
    from labs_helper.models.load import load

    model = load("instruct", tier="tiny")
    tokens = [model.count_tokens(sentence) for sentence in lab01.SENTENCES.values()]
    assert facts.token_counts(tuple(lab01.SENTENCES.values()))[0] == tokens
    most = max(zip(tokens, lab01.SENTENCES))[1]
    assert check("1.4", (ratios(tokens), most)).passed
    # A second model, as if the real one were here.
    (tiny,) = catalog.find("instruct", "tiny")
    here = {"real": model.path, "tiny": model.path}
    monkeypatch.setattr(catalog, "find", lambda name: [SimpleNamespace(tier="real"), tiny])
    monkeypatch.setattr(store, "is_here", lambda card: True)
    monkeypatch.setattr(store, "locate", lambda card: here[card.tier])
    assert facts.token_counts(("Where is Changsha?",)) == [[model.count_tokens("Where is Changsha?")]] * 2
