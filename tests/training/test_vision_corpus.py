"""The drawn pictures: same seed same pixels, targets where the ink is, splits that never meet, strict graders."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from training.cases import Case, held_out
from training.vision.artist import Artist
from training.vision.letters import ACROSS, DOWN, cap_height, glyph, settled
from training.vision.paint import dense, letterbox, paint, picture, pixels
from training.vision.scene import CELL, COLOUR_NAMES, GLYPHS, KINDS, PATCH, SIZE
from training.vision.tasks import MIX, SECTIONS, TASKS, Album, draw_case, phrases, right

PICTURES = ("page", "lines", "sign", "shapes", "objects", "crowd", "chart", "table")


@pytest.mark.parametrize("kind", PICTURES)
def test_a_seed_gives_the_same_picture_and_another_seed_another(kind):
    def drawn(seed):
        return pixels(getattr(Artist(seed), kind)())

    first = drawn(3)
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.uint8
    assert np.array_equal(first, drawn(3))
    assert not np.array_equal(first, drawn(4))


@pytest.mark.parametrize("kind", PICTURES)
def test_every_dense_target_has_its_centre_in_its_cell_and_none_is_lost(kind):
    for seed in range(6):
        scene = getattr(Artist(seed), kind)()
        kinds, colours = dense(scene)
        inside = [m for m in scene.marks if 0 <= m.x < SIZE and 0 <= m.y < SIZE]
        assert len(inside) == len(scene.marks)
        for mark in inside:
            at = int(mark.y // PATCH), int(mark.x // PATCH)
            if mark.kind in GLYPHS:  # glyphs never share a patch
                assert KINDS[kinds[at]] == mark.kind and COLOUR_NAMES[colours[at]] == mark.colour
            else:
                assert kinds[at] > 0
        assert (kinds > 0).sum() >= sum(m.kind in GLYPHS for m in inside)
        assert ((kinds > 0) == (colours >= 0)).all()
        merged, _ = dense(scene, 12)
        assert np.array_equal(merged > 0, kinds.reshape(12, 2, 12, 2).max((1, 3)) > 0)


def test_a_glyph_is_where_its_mark_says():
    for seed in range(20):
        scene = Artist(seed).sign()
        view = np.asarray(paint(scene)).astype(int)
        for step, mark in zip([s for s in scene.steps if s[0] == "glyph"], scene.marks):
            _, x, y, character, name, size, rgb = step
            mask, _ = glyph(character, name, size)
            box = view[y : y + mask.height, x : x + mask.width]
            ink = (np.abs(box - np.array(rgb)).sum(-1) < 60).mean()
            assert mark.kind == character
            assert abs(mark.x - (x + mask.width / 2)) < 1 and abs(mark.y - (y + cap_height(size) / 2)) < 1
            assert ink > 0.1, (seed, character)


@pytest.mark.parametrize("kind", ("lines", "sign", "chart", "table"))
def test_letters_keep_away_from_the_borders_of_cells(kind):
    for seed in range(20):
        for mark in getattr(Artist(seed), kind)().marks:
            if mark.kind in GLYPHS:
                assert ACROSS - 1 <= mark.x % CELL <= CELL - ACROSS + 1
                assert DOWN - 1 <= mark.y % CELL <= CELL - DOWN + 1


@pytest.mark.parametrize("margin", (6, 8))
def test_settling_keeps_order_and_a_cell_between(margin):
    places = [settled(x / 4, margin) for x in range(1200)]
    assert all(a <= b for a, b in itertools.pairwise(places)) and all(b - a == 28 for a, b in zip(places, places[112:]))
    assert all(abs(place - x / 4) <= margin for x, place in enumerate(places))
    assert [settled(place, margin) for place in places] == places


def test_printed_glyphs_are_at_least_eighteen_pixels_high_and_no_two_share_a_cell():
    for kind in ("lines", "sign", "chart", "table"):
        for seed in range(60):
            scene = getattr(Artist(seed), kind)()
            glyphs = [s for s in scene.steps if s[0] == "glyph"]
            assert all(cap_height(s[5]) >= 18 for s in glyphs)
            marks = [m for m in scene.marks if m.kind in GLYPHS]
            cells = [(int(m.y // CELL), int(m.x // CELL)) for m in marks]
            assert len(set(cells)) == len(cells), (kind, seed)


def test_a_picture_that_is_not_square_is_letterboxed_as_the_processor_does():
    scene = next(s for s in (Artist(i).sign() for i in range(99)) if s.area != (0, 0, SIZE, SIZE) and not s.smooth)
    assert np.array_equal(np.asarray(letterbox(picture(scene))), pixels(scene))


def test_pairs_differ_in_one_thing_and_clips_are_clips():
    for seed in range(40):
        (first, second), facts = Artist(seed).pair()
        before, after = ({(t["kind"], t["colour"], t["x"], t["y"]) for t in s.facts["things"]} for s in (first, second))
        sizes = len(before - after), len(after - before)
        assert sizes == {"gone": (1, 0), "new": (0, 1)}.get(facts["change"], (1, 1))
        frames, facts = Artist(seed).clip()
        assert 3 <= len(frames) == facts["frames"] <= 5
        assert not np.array_equal(pixels(frames[0]), pixels(frames[-1]))


def test_held_out_phrasings_are_never_training_phrasings():
    for name, section in phrases().items():
        plain = {re.sub(r"[\W_]+", "", p).casefold() for p in section["ask"]}
        assert not plain & {re.sub(r"[\W_]+", "", p).casefold() for p in section["held_out"]}, name
        assert len(section["ask"]) > len(section["held_out"]) >= 1, name
    assert {s for sections in SECTIONS.values() for s in sections} == set(phrases())


def contents(split: str, kind: str, count: int = 60) -> set:
    """What the pictures of a split show."""
    album, found = Album(split, 5), set()
    for _ in range(count):
        facts = (group := album.group(kind)).facts
        if kind in ("lines", "sign"):
            found |= {w["text"] if isinstance(w, dict) else w for w in facts["words"]}
        elif kind == "chart":
            found |= set(zip(facts["labels"], facts["values"]))
        elif kind == "table":
            rows = zip(facts["rows"], facts["values"])
            found |= {(r, c, v) for r, line in rows for c, v in zip(facts["columns"], line)}
        else:
            found.add(str(Album.key(group.kind, facts)))
    return found


@pytest.mark.parametrize("kind", MIX)
def test_contents_of_the_two_splits_never_meet(kind):
    train, test = contents("train", kind), contents("eval", kind)
    assert train and test and not train & test


def test_words_are_split_by_the_corpus_own_hash():
    assert all(held_out("word", word) for word in contents("eval", "sign"))
    assert not any(held_out("word", word) for word in contents("train", "sign"))


@pytest.mark.parametrize("split", ("train", "eval"))
@pytest.mark.parametrize("kind", MIX)
def test_the_reference_answer_is_right_and_another_is_wrong(kind, split):
    album, answers = Album(split, 11), []
    for _ in range(15):
        answers += [(case, case.messages[-1]["content"]) for case in album.questions(album.group(kind), 3)]
    for case, reference in answers:
        assert right(case, reference), (case.messages, case.expect)
        assert not right(case, "") and not right(case, "A purple elephant, 1234.")
        others = {other for o, other in answers if o.task == case.task and o.expect != case.expect}
        assert not any(right(case, other) for other in others)


@pytest.mark.parametrize("task", TASKS)
def test_every_graded_task_draws_cases_from_unseen_phrasings(task):
    album = Album("eval", 2)
    for _ in range(8):
        case = draw_case(album, task)
        assert right(case, case.messages[-1]["content"]) and case.details["pictures"]
    again = Album("eval", 2)
    assert draw_case(again, task).messages == draw_case(Album("eval", 2), task).messages


def test_graders_are_strict():
    word = Case("read_one", "en", (), ("CAT",), "words")
    assert right(word, "It says CAT.") and not right(word, "It says CATS.")
    assert not right(word, "It says cat.") and not right(word, "CAT, DOG")
    label = Case("highest", "en", (), ("TEA",), "label")
    assert right(label, "The highest value is 87, for TEA.") and not right(label, "The highest value is 87, for MILK.")
    number = Case("count", "en", (), "4", "number")
    assert right(number, "There are 4 circles.") and not right(number, "There are 14 circles.")
    album = Album("eval", 1)
    case = album.ask(album.group("clip"))
    assert not right(case, case.messages[-1]["content"] + " It is red and blue.")


def test_answers_say_what_the_data_says():
    album = Album("train", 9)
    for _ in range(20):
        group = album.group("chart")
        best = max(group.facts["values"])
        case = album.ask(group, "highest")
        assert str(best) in case.messages[-1]["content"]
        assert 1 <= int(draw_case(album, "count").expect) <= 6


def test_the_working_of_a_pair_says_where_it_differs():
    album = Album("eval", 11)
    for _ in range(60):
        group = album.group("pair")
        text = album.ask(group).messages[-1]["content"]
        working = text.removeprefix("First and second: ").split(". ")[0].split("; ")
        marked = [entry.removesuffix(" different") for entry in working if entry.endswith(" different")]
        for entry in working:
            first, second = entry.removesuffix(" different").split(", ")
            assert first.endswith(second) != entry.endswith(" different"), text
        assert len(marked) == (2 if group.facts["change"] == "moved" else 1), text


def test_the_working_of_a_clip_marks_what_was_not_there_before():
    album = Album("eval", 12)
    for _ in range(60):
        group = album.group("clip")
        text = album.ask(group).messages[-1]["content"]
        frames = [frame.split(": ")[1].split(", ") for frame in text.rsplit(". ", 1)[0].split("; ")]
        plain = [{entry.removesuffix(" different") for entry in frame} for frame in frames]
        for number, frame in enumerate(frames):
            marked = {entry.removesuffix(" different") for entry in frame if entry.endswith(" different")}
            new = plain[number] - plain[number - 1] - {"nothing"} if number else set()
            assert marked == new, text
            assert all(group.facts["kind"] in entry for entry in marked), text
        if group.facts["event"] in ("turns", "appears"):
            assert sum(entry.endswith(" different") for frame in frames for entry in frame) == 1, text
