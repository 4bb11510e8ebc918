"""The checks of lab 02: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from labs_helper.exercises import check, lab02


def tokens(rows, columns):
    """Lines of cells, each with its end: those of the tiles, those of the global view, and one between the two."""
    return rows * 12 * (12 * columns + 1) + 12 * (12 + 1) + 1


def side_by_side(tiles, rows, columns):
    lines = [np.concatenate(list(tiles[i * columns : (i + 1) * columns]), axis=1) for i in range(rows)]
    return np.concatenate(lines)


def edits(read, truth):
    """Levenshtein's distance, straight from its definition."""
    if not read or not truth:
        return len(read) + len(truth)
    last = edits(read[:-1], truth[:-1]) + (read[-1] != truth[-1])
    return min(last, edits(read[:-1], truth) + 1, edits(read, truth[:-1]) + 1)


def errors(read, truth):
    return edits(read, truth) / len(truth)


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
        ("2.1", tokens),
        ("2.2", side_by_side),
        ("2.6", errors),
        ("2.7", table),
        ("2.9", frames),
        ("2.9", lambda changes, count: np.array(frames(changes, count))),
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
        ("2.1", lambda r, c: tokens(c, r), "exchanged"),
        ("2.1", lambda r, c: "313", "number"),
        ("2.2", lambda t, r, c: t.reshape(r * t.shape[1], c * t.shape[1], t.shape[3]), "renames"),
        ("2.2", lambda t, r, c: t, "shape"),
        ("2.2", lambda t, r, c: side_by_side(t[::-1], r, c), "wrong places"),
        ("2.6", lambda read, truth: errors(read, truth) * len(truth), "Divide"),
        ("2.6", hamming, "one edit"),
        ("2.6", lambda read, truth: 1 - errors(read, truth), "share that is wrong"),
        ("2.7", lambda answer: dict(table(answer).values), "DataFrame"),
        ("2.7", lambda answer: table(answer).astype(str), "text"),
        ("2.7", lambda answer: table(answer).rename(columns={"value": "n"}), "columns"),
        ("2.9", lambda changes, count: frames(changes, count)[::-1], "order of time"),
        ("2.9", lambda changes, count: frames(changes, count + 1), "Asked for"),
        ("2.9", lambda changes, count: list(range(min(count, len(changes)))), "largest change"),
        ("2.9", lambda changes, count: 0, "list"),
    ],
)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


@pytest.mark.parametrize("number", ["2.1", "2.2", "2.6", "2.7", "2.9"])
def test_a_stub_is_not_yet_there(number):
    def stub(*_args):
        return ...

    assert check(number, stub).status == "not yet"
    assert check(number, ...).status == "not yet"


@pytest.mark.parametrize(("rows", "columns", "tokens"), [(1, 1, 313), (2, 2, 757), (4, 1, 781), (1, 4, 745)])
def test_costs_are_the_published_ones(rows, columns, tokens):
    assert lab02.picture_tokens(rows, columns) == tokens


def test_the_formulas_that_the_notebook_uses():
    """Lab 02 calls it, so that the notebook runs without the learner's answer."""
    rates = {("OPEN", "OPEN"): 0, ("OPFN", "OPEN"): 1 / 4, ("", "TAXI"): 1, ("CAT", "DOGS"): 1, ("NEPO", "OPEN"): 1}
    assert {pair: lab02.error_rate(*pair) for pair in rates} == rates
