"""The checks of lab 02: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from labs_helper.exercises import check, lab02

PROMPT = "<|user|>\n<|image_1|>\n<|image_2|>\nWhat is different?<|end|>\n<|assistant|>\n"


def table(answer):
    return pd.DataFrame(
        [(part.split()[0], int(part.split()[1])) for part in answer.strip(" .").split(",")], columns=["label", "value"]
    )


def frames(changes, count):
    return sorted([0, *sorted(range(1, len(changes)), key=lambda i: -changes[i])[: count - 1]])


def hamming(read, truth):
    return sum(a != b for a, b in zip(read.ljust(len(truth)), truth)) / len(truth)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("2.1", lab02.picture_tokens),
        ("2.2", 12),
        ("2.3", PROMPT),
        ("2.4", lab02.join_tiles),
        ("2.4", lambda t, r, c: np.concatenate([np.concatenate(list(t[i * c : i * c + c]), axis=1) for i in range(r)])),
        ("2.5", lab02.error_rate),
        ("2.6", table),
        ("2.7", frames),
        ("2.7", lambda changes, count: np.array(frames(changes, count))),
    ],
)
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("2.1", 313, "without brackets"),
        ("2.1", lambda r, c: r * c * 144 + 1 + r * 12, "global view"),
        ("2.1", lambda r, c: (r * c + 1) * 144, "separators"),
        ("2.1", lambda r, c: (r * c + 1) * 144 + (r + 1) * 12, "separator"),
        ("2.1", lambda r, c: lab02.picture_tokens(c, r), "exchanged"),
        ("2.1", lambda r, c: "313", "number"),
        ("2.2", 13, "No room"),
        ("2.2", (4096 - 200) / 313, "Round down"),
        ("2.2", 27, "144"),
        ("2.3", PROMPT.replace("<|image_1|>\n<|image_2|>", "<|image_2|>\n<|image_1|>"), "ascend"),
        ("2.3", "<|image_1|>\n<|image_2|>\n" + PROMPT.replace("<|image_1|>\n<|image_2|>\n", ""), "before the turn"),
        ("2.3", PROMPT.replace("<|image_2|>\n", "<|image_2|>"), "new line"),
        ("2.3", PROMPT.replace("<|image_2|>\n", ""), "0 times"),
        ("2.3", PROMPT.replace("<|end|>", ""), "<|end|>"),
        ("2.3", 5, "text"),
        ("2.4", lambda t, r, c: t.reshape(r * t.shape[1], c * t.shape[1], t.shape[3]), "renames"),
        ("2.4", lambda t, r, c: t, "shape"),
        ("2.4", lambda t, r, c: lab02.join_tiles(t[::-1], r, c), "wrong places"),
        ("2.5", lambda read, truth: lab02.error_rate(read, truth) * len(truth), "Divide"),
        ("2.5", hamming, "one edit"),
        ("2.5", lambda read, truth: 1 - lab02.error_rate(read, truth), "share that is wrong"),
        ("2.6", lambda answer: dict(table(answer).values), "DataFrame"),
        ("2.6", lambda answer: table(answer).astype(str), "text"),
        ("2.6", lambda answer: table(answer).rename(columns={"value": "n"}), "columns"),
        ("2.7", lambda changes, count: frames(changes, count)[::-1], "order of time"),
        ("2.7", lambda changes, count: frames(changes, count + 1), "Asked for"),
        ("2.7", lambda changes, count: list(range(min(count, len(changes)))), "largest change"),
        ("2.7", lambda changes, count: 0, "list"),
    ],
)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


@pytest.mark.parametrize("number", ["2.1", "2.4", "2.5", "2.6", "2.7"])
def test_a_stub_is_not_yet_there(number):
    def stub(*_):
        return ...

    assert check(number, stub).status == "not yet"
    assert check(number, ...).status == "not yet"


@pytest.mark.parametrize("rows,columns,tokens", [(1, 1, 313), (2, 2, 757), (4, 1, 781), (1, 4, 745)])
def test_costs_are_the_published_ones(rows, columns, tokens):
    assert lab02.picture_tokens(rows, columns) == tokens
