"""The checks of lab 02's experiments: right conclusions pass, the others are told what does not follow, and why."""

from __future__ import annotations

import re

import numpy as np
import pytest

from labs_helper.exercises import check
from labs_helper.exercises.vision_experiments import COMPARISONS, kinds_of_mistake, things_told
from labs_helper.pictures.drawing import PLACES, draw_shapes

SCORES = {32: 6, 28: 6, 24: 5, 20: 2}
WAITS = {1: 0.2, 2: 0.4, 3: 0.6, 4: 0.8, 5: 0.98, 6: 1.2}
DRAWN = [("red", "circle", "top left"), ("red", "square", "bottom right")]
TOUCHING = [("red", "circle", (150, 168)), ("blue", "square", (185, 168))]
RIGHT = "The picture shows a red circle at the top left and a red square at the bottom right."
TOLD = "The picture shows a red circle at the top left and a red square at the top left."


def differing(answer):
    """The places, by another way than the module's: a pattern for each entry of the list."""
    listed = answer[answer.index(": ") + 2 : answer.index(".")]
    places = "|".join(sorted(PLACES, key=len, reverse=True))
    entry = re.compile(rf"({places}) (nothing|\w+ \w+), (nothing|\w+ \w+?)(?: different)?(?:;|$)")
    return [place for place, before, after in entry.findall(listed) if before != after]


def marked(answer):
    return [entry.split()[0] for entry in answer.partition(": ")[2].split(";") if "different" in entry]


def with_the_mark(answer):
    entries = answer.partition(": ")[2].split(".")[0].split(";")
    return [e.split()[0] for e in entries if e.split(",")[0].split()[-1] != e.split(",")[1].split()[-1]]


def without_return(answer):
    places = differing(answer)
    places.sort()


def with_spaces(answer):
    entries = answer.partition(": ")[2].split(".")[0].removesuffix(" different").split(";")
    halves = [entry.split(",") for entry in entries]
    return [a.split()[0] for a, b in halves if a.split(maxsplit=1)[1] != b]


def with_the_conclusion(answer):
    return [*differing(answer), *answer.split(".")[1].split()[:1]]


def differences(answer: str) -> list[str]:
    """The places at which a comparison names two different things, whatever it concludes."""
    listed = answer.partition(": ")[2].split(".")[0]
    found = []
    for entry in listed.split(";"):
        before, _comma, after = (part.strip() for part in entry.partition(","))
        after = after.removesuffix(" different")
        words = 1 if before.endswith("nothing") else 2
        place, thing = before.rsplit(maxsplit=words)[0], " ".join(before.split()[-words:])
        if thing != after:
            found.append(place)
    return found


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("2.3", (SCORES, 28)),
        ("2.3", ({np.int64(12): np.int64(6), np.int64(10): np.int64(3)}, np.float64(12))),  # a model that sees more
        ("2.3", [{40: 5, 32: 6, 28: 5}, 32]),  # larger letters may fail too; a list is as good as a pair
        ("2.3", ({32.0: 6.0, 31.5: 0}, "32" and 32.0)),
        ("2.4", (WAITS, 5)),
        ("2.4", ({1: 3.1, 2: 6.0, 3: 9.4}, 0)),  # a slow machine: not one
        ("2.4", ({40: 0.9, 41: 1.01, 45: 1.2}, 40)),  # a fast one, begun late
        ("2.4", [dict(reversed(WAITS.items())), np.int64(5)]),
        ("2.4", ({frames: 0.05 * frames for frames in range(1, 13)}, 12)),  # the context is full first
        ("2.5", (DRAWN, TOLD, "place")),
        ("2.5", (tuple(map(list, DRAWN)), TOLD.upper(), " Place ")),
        ("2.5", (TOUCHING, "A purple circle at the middle.", "missing")),
        ("2.5", ([("red", "circle", "top")], "I see a blue circle.", "color")),  # no place said: no mistake of place
        ("2.8", differing),
        ("2.8", lambda answer: tuple(differing(answer))),
        ("2.8", lambda answer: (f" {place} " for place in differing(answer))),
        ("2.8", differences),
    ],
)  # fmt: skip
def test_right_answers_pass(number, value):
    assert check(number, value).passed, check(number, value)


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        ("2.3", 28, "two things"),
        ("2.3", ([6, 6, 5, 2], 28), "must be a dict"),
        ("2.3", ({32: 1.0, 28: 0.83}, 32), "not counts"),
        ("2.3", ({32: 100, 28: 83}, 32), "not counts"),
        ("2.3", ({24: 5, 20: 2}, 24), "larger letters"),
        ("2.3", ({32: 6, 28: 6}, 28), "until one fails"),
        ("2.3", (SCORES, 24), "only 5 of 6"),
        ("2.3", (SCORES, 32), "smaller than 32"),
        ("2.3", (SCORES, 26), "did not measure"),
        ("2.3", ({32: 6, 16: 0}, 32), "in between"),
        ("2.3", ({6: 32, 5: 24}, 6), "not counts"),
        ("2.3", ({32: "six", 28: 5}, 32), "number"),
        ("2.4", 5, "two things"),
        ("2.4", (list(WAITS.values()), 5), "must be a dict"),
        ("2.4", ({seconds: frames for frames, seconds in WAITS.items()}, 5), "count frames"),
        ("2.4", ({1: 200, 2: 400, 3: 600, 6: 1200}, 5), "milliseconds"),
        ("2.4", ({1: 0.2, 6: 1.2}, 1), "at least three"),
        ("2.4", ({1: 0.2, 2: 0.4, 3: 0.6}, 3), "Add frames"),
        ("2.4", ({frames: 0.05 * frames for frames in range(1, 13)}, 11), "largest number"),
        ("2.4", (WAITS, 6), "too late"),
        ("2.4", (WAITS, 4), "largest number"),
        ("2.4", (WAITS, 9), "nothing about 9"),
        ("2.4", ({1: 0.2, 3: 0.6, 8: 1.5}, 3), "did not measure 4 frames"),
        ("2.4", ({1: 0.2, 2: 1.4, 3: 0.6, 4: 1.2}, 3), "measure again"),
        ("2.4", ({1: 0, 2: 0.4, 6: 1.2}, 2), "above 0"),
        ("2.5", TOLD, "three things"),
        ("2.5", (DRAWN, TOLD, "wrong"), "no kind"),
        ("2.5", (DRAWN, TOLD, "colour"), "not in this way"),
        ("2.5", (DRAWN, RIGHT, "place"), "read this picture right"),
        ("2.5", (DRAWN, "Two red shapes.", "missing"), "Ask for a description"),
        ("2.5", (iter([]), TOLD, "place"), "no shape"),
        ("2.5", ([("red", "circle")], TOLD, "place"), "three parts"),
        ("2.5", ([("crimson", "circle", "top")], TOLD, "colour"), "crimson"),
        ("2.5", (DRAWN, 5, "place"), "text"),
        ("2.8", differing(COMPARISONS[0][0]), "without brackets"),
        ("2.8", lambda answer: "bottom", "list of places"),
        ("2.8", marked, "opinion"),
        ("2.8", with_the_mark, "Take it away"),
        ("2.8", with_spaces, "strip"),
        ("2.8", with_the_conclusion, "conclusion"),
        ("2.8", lambda answer: differing(answer)[::-1], "order"),
        ("2.8", lambda answer: [f"{place} red star" for place in differing(answer)], "one or two words"),
        ("2.8", lambda answer: len(differing(answer)), "list of places"),
        ("2.8", lambda answer: [], "before and after the comma"),
        ("2.8", lambda answer: print(differing(answer)), "in place of print"),
        ("2.8", without_return, "needs return"),
    ],
)  # fmt: skip
def test_a_wrong_answer_names_its_mistake(number, value, words):
    result = check(number, value)
    assert result.status == "try again" and words in result.message, result


@pytest.mark.parametrize("number", ["2.3", "2.4", "2.5", "2.8"])
def test_a_stub_is_not_yet_there(number):
    assert check(number, ...).status == "not yet"
    assert check(number, ({}, ...)).status == "not yet"


def test_what_an_answer_tells():
    assert things_told(TOLD) == [("red", "circle", "top left"), ("red", "square", "top left")]
    assert things_told("A yellow star. Two red circles at the bottom.") == [
        ("yellow", "star", ""),
        ("red", "circle", "bottom"),
    ]


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        (DRAWN, set()),
        ([DRAWN[1], DRAWN[0]], set()),
        ([DRAWN[0]], {"missing"}),
        ([*DRAWN, ("blue", "star", "top")], {"invented"}),
        ([DRAWN[0], ("blue", "square", "bottom right")], {"colour"}),
        ([DRAWN[0], ("red", "star", "bottom right")], {"shape"}),
        ([DRAWN[0], ("blue", "star", "bottom right")], {"missing", "invented"}),
    ],
)
def test_kinds_of_mistake(told, kinds):
    assert kinds_of_mistake(DRAWN, told) == kinds


def test_the_shapes_that_a_check_reads_can_be_drawn():
    assert draw_shapes(DRAWN).info["alt"] == "Shapes: red circle at the top left, red square at the bottom right."
