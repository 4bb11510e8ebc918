"""The exercises of lab 02: what is right passes, what is wrong is told what went wrong."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from mistakes import forgets_return, prints

from labs_helper.exercises import check, stored

# --- Right answers, each written in another way than the notebook's solution ----------------------------------------


def tokens(rows, columns):
    """Lines of cells, each with its end: those of the tiles, those of the global view, and one between the two."""
    return rows * 12 * (12 * columns + 1) + 12 * (12 + 1) + 1


def side_by_side(tiles, rows, columns):
    lines = [np.concatenate(list(tiles[i * columns : (i + 1) * columns]), axis=1) for i in range(rows)]
    return np.concatenate(lines)


def placed(tiles, rows, columns):
    picture = np.zeros((rows * 12, columns * 12, tiles.shape[3]))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        picture[row * 12 : row * 12 + 12, column * 12 : column * 12 + 12] = tile
    return picture


def as_the_task_says(tiles, rows, columns):
    """With the 12 that the task names."""
    grid = np.moveaxis(tiles.reshape(rows, columns, 12, 12, -1), 2, 1)
    return grid.reshape(rows * 12, columns * 12, -1)


def edits(read, truth):
    """Levenshtein's distance, straight from its definition."""
    if not read or not truth:
        return len(read) + len(truth)
    last = edits(read[:-1], truth[:-1]) + (read[-1] != truth[-1])
    return min(last, edits(read[:-1], truth) + 1, edits(read, truth[:-1]) + 1)


def errors(read, truth):
    """The same, remembering what was worked out."""
    known = {}
    for i, j in itertools.product(range(len(read) + 1), range(len(truth) + 1)):
        known[i, j] = (
            min(known[i - 1, j] + 1, known[i, j - 1] + 1, known[i - 1, j - 1] + (read[i - 1] != truth[j - 1]))
            if i and j
            else i + j
        )
    return known[len(read), len(truth)] / len(truth)


def table(answer):
    return pd.DataFrame(re.findall(r"(\w+) (\d+)", answer), columns=["label", "value"]).astype({"value": int})


def frames(changes, count):
    order = np.argsort([-1.0, *(-change for change in changes[1:])], kind="stable")
    return sorted([0, *[int(i) for i in order if i][: count - 1]])


RIGHT = [
    ("2.1", tokens),
    ("2.1", lambda rows, columns: float(tokens(rows, columns))),
    ("2.1", lambda rows, columns: np.int64(tokens(rows, columns))),
    ("2.2", side_by_side),
    ("2.2", placed),
    ("2.2", as_the_task_says),
    ("2.2", lambda tiles, rows, columns: side_by_side(tiles, rows, columns).tolist()),
    ("2.6", errors),
    ("2.6", lambda read, truth: round(errors(read, truth), 7)),
    ("2.6", lambda read, truth: np.float64(errors(read, truth))),
    ("2.7", table),
    ("2.7", lambda answer: table(answer).astype({"value": float})),
    ("2.7", lambda answer: table(answer).set_index(pd.Index(list("abc")[: len(table(answer))]))),
    ("2.9", frames),
    ("2.9", lambda changes, count: np.array(frames(changes, count))),
    ("2.9", lambda changes, count: tuple(frames(changes, count))),
    ("2.9", lambda changes, count: iter(frames(changes, count))),
]


@pytest.mark.parametrize(("number", "value"), RIGHT)
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


# --- Wrong answers -------------------------------------------------------------------------------------------------


def grid(*axes):
    def joined(tiles, rows, columns):
        parts = tiles.reshape(rows, columns, 12, 12, -1).transpose(axes)
        return parts.reshape(rows * 12, columns * 12, -1)

    return joined


def hamming(read, truth):
    return sum(a != b for a, b in zip(read.ljust(len(truth)), truth)) / len(truth)


def capital_labels_only(answer):
    """The pattern that finds nothing in the lab's own chart, whose labels hold digits."""
    found = re.findall(r"([A-Z]+) (\d+)", answer)
    return pd.DataFrame([(label, int(value)) for label, value in found], columns=["label", "value"])


WRONG = [
    ("2.1", 313, "without brackets"),
    ("2.1", forgets_return, "return in front"),
    ("2.1", prints, "in place of print"),
    ("2.1", lambda r, c: r * c * 144 + 1 + r * 12, "global view"),
    ("2.1", lambda r, c: (r * c + 1) * 144, "separators"),
    ("2.1", lambda r, c: (r * c + 1) * 144 + (r + 1) * 12, "separator"),
    ("2.1", lambda r, c: (r * c + 1) * 144 + 1, "line ends are missing"),
    ("2.1", lambda r, c: tokens(c, r), "exchanged"),
    ("2.1", lambda r, c: (r * c + 1) * 157, "Count three"),
    ("2.1", lambda r, c: tokens(r, c) + 1, "You counted two"),
    ("2.1", lambda r, c: "313", "number"),
    ("2.2", grid(0, 1, 2, 3, 4), "renames"),
    ("2.2", lambda t, r, c: t.reshape(r * 12, c * 12, t.shape[3]), "renames"),
    ("2.2", lambda t, r, c: t, "shape"),
    ("2.2", forgets_return, "return in front"),
    ("2.2", grid(0, 3, 1, 2, 4), "turned"),
    ("2.2", grid(0, 2, 3, 1, 4), "side by side"),
    ("2.2", grid(0, 1, 3, 2, 4), "Exchange columns and line"),
    ("2.2", lambda t, r, c: side_by_side(t[::-1], r, c), "reverse"),
    ("2.2", lambda t, r, c: side_by_side(np.sort(t)[:, :, :, ::-1], r, c), "wrong places"),
    ("2.2", lambda t, r, c: side_by_side(t, r, c).astype(str), "numbers"),
    ("2.6", 0.25, "without brackets"),
    ("2.6", forgets_return, "return in front"),
    ("2.6", lambda read, truth: errors(read, truth) * len(truth), "Divide"),
    ("2.6", lambda read, truth: errors(read, truth) * 100, "per cent"),
    ("2.6", hamming, "place by place"),
    ("2.6", lambda read, truth: 1 - errors(read, truth), "share that is wrong"),
    ("2.6", lambda read, truth: min(1, errors(read, truth)), "above 1"),
    ("2.6", lambda read, truth: edits(read, truth) / max(len(read), len(truth)), "even where"),
    ("2.6", lambda read, truth: edits(read, truth) / len(read), "ZeroDivisionError"),
    ("2.6", lambda read, truth: round(errors(read, truth), 1), "rounded"),
    ("2.6", lambda read, truth: edits(read.lower(), truth.lower()) / len(truth), "Capital and small"),
    ("2.7", 5, "without brackets"),
    ("2.7", forgets_return, "return in front"),
    ("2.7", lambda answer: dict(table(answer).values), "DataFrame"),
    ("2.7", lambda answer: table(answer).astype(str), "text"),
    ("2.7", lambda answer: table(answer).rename(columns={"value": "n"}), "columns"),
    ("2.7", lambda answer: table(answer)[["value", "label"]], "order of the columns"),
    ("2.7", lambda answer: table(answer).rename(columns={"value": "label", "label": "value"})[["label", "value"]],
     "text|exchanged"),
    ("2.7", capital_labels_only, "hold digits"),
    ("2.7", lambda answer: table(answer).iloc[:-1], "entries"),
    ("2.7", lambda answer: table(answer).assign(label=answer.split(",")[0]), "Expected"),
    ("2.9", [0, 2, 4], "without brackets"),
    ("2.9", forgets_return, "return in front"),
    ("2.9", lambda changes, count: frames(changes, count)[::-1], "order of time"),
    ("2.9", lambda changes, count: frames(changes, count + 1), "Asked for"),
    ("2.9", lambda changes, count: frames(changes, count - 1) if count > 1 else [0], "Asked for"),
    ("2.9", lambda changes, count: [f + 1 for f in frames(changes, count)], "one too large"),
    ("2.9", lambda changes, count: list(range(min(count, len(changes)))), "largest change"),
    ("2.9", lambda changes, count: [f for f in frames(changes, count + 1) if f][:count], "first frame is missing"),
    ("2.9", lambda changes, count: sorted(changes, reverse=True)[:count], "numbers of the frames"),
    ("2.9", lambda changes, count: 0, "list"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "value", "words"), WRONG)
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and re.search("|".join(map(re.escape, words.split("|"))), result.message), (
        result
    )


# --- The stored results, against published figures and the definition ------------------------------------------------


@pytest.mark.parametrize(("rows", "columns", "tokens"), [(1, 1, 313), (2, 2, 757), (4, 1, 781), (1, 4, 745)])
def test_costs_are_the_published_ones(rows, columns, tokens):
    assert {case.arguments: case.right for case in stored.cases("2.1")}[rows, columns] == tokens


def test_the_rates_follow_from_the_definition():
    for case in stored.cases("2.6"):
        read, truth = case.arguments
        if len(read) < 9:  # the definition takes for ever on long texts
            assert case.right == pytest.approx(edits(read, truth) / len(truth))
