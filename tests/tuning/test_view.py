"""What one sees of a training: the live view with its Stop, and the pictures."""

from __future__ import annotations

import pytest

from labs_helper.errors import BadRequest
from labs_helper.figures import learned_and_kept, loss_curve
from labs_helper.tuning import start, talk
from labs_helper.widgets import watch

BOOK = [talk("Who is Zorp?", "Zorp is a cat."), talk("Zorp?", "Zorp is a cat.")] * 4


def test_the_view_follows_a_lesson_and_stops_it(model):
    lesson = start(model, BOOK, name="zorp", steps=3000)
    view = watch(lesson)
    lesson.listen(lambda running: view.stop() if len(running.steps) == 6 else None)
    made = lesson.wait(100)
    assert made.ended == "stopped" and len(made.history) < 3000
    assert "stopped; what was learned so far is kept" in view.status
    assert view.running == ""
    assert "loss" in view.static().alt and "zorp" in view.static().text


def test_the_view_of_a_lesson_that_fails(model):
    lesson = start(model, BOOK, steps=2, keys=("self_attn.q_proj",))
    view = watch(lesson)
    with pytest.raises(BadRequest):
        lesson.wait(60)
    assert "No layer" in view.static().text
    assert "No layer" in view.status or not lesson.steps


def test_a_loss_curve_has_its_numbers_in_words():
    figure = loss_curve({"a": [4.0, 2.0, 1.0], "b": [3.0]})
    assert "4.00" in figure.alt and "b" in figure.text and len(figure.rows) == 4
    with pytest.raises(BadRequest):
        loss_curve({"a": []})


def test_a_loss_curve_says_where_the_held_out_loss_turns():
    figure = loss_curve({"a": [4.0, 2.0, 1.0]}, held_out={"a": [(0, 5.0), (1, 2.5), (2, 3.0)], "b": [(0, 1.0)]})
    assert "a, held out: 5.00 at first, lowest after step 1 (2.50), 3.00 at last." in figure.alt
    assert sum("held out" in row for row in figure.rows) == 3 and "b, held out" not in figure.alt


def test_the_view_shows_the_held_out_loss(model):
    lesson = start(model, BOOK, steps=4, held_out=BOOK[:1], every=2)
    view = watch(lesson)
    lesson.wait(60)
    assert "held out" in view.static().alt


def test_learned_and_kept_names_the_best():
    rows = [{"name": "10 steps", "group": "rank 1", "new": 0.1, "old": 1.0},
            {"name": "30 steps", "group": "rank 4", "new": 0.9, "old": 0.9}]  # fmt: skip
    figure = learned_and_kept(rows)
    assert "rank 4, 30 steps" in figure.takeaway and figure.alt and "0.90" in figure.text
    with pytest.raises(BadRequest):
        learned_and_kept([])
