"""`record_attention`: the answer stays the same, and the record is of this very answer."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper import load
from labs_helper.errors import BadRequest, NotEnoughMemory
from labs_helper.reference import model as reference_model
from labs_helper.reference import weights

QUESTION = "What is 47 + 38?"


@pytest.mark.parametrize("role", ["instruct", "moe"])
def test_the_answer_is_the_same_and_the_record_belongs_to_it(role):
    model = load(role, tier="tiny")
    plain, recorded = model.ask(QUESTION, max_tokens=30), model.ask(QUESTION, max_tokens=30, record_attention=True)
    assert recorded.text == plain.text and recorded.tokens == plain.tokens
    seen = recorded.attention
    assert seen.pieces == (*recorded.prompt.pieces, *(token.piece for token in recorded.tokens))
    assert seen.prompt_tokens == recorded.prompt_tokens and seen.weights.shape == (4, 8, len(seen), len(seen))
    assert np.allclose(seen.weights.sum(-1), 1, atol=1e-5)
    assert seen.distance < 1e-3
    model.release()


def test_a_drawn_answer_is_read_too():
    model = load("instruct", tier="tiny")
    answer = model.ask(QUESTION, max_tokens=20, temperature=1.5, seed=3, record_attention=True)
    assert answer.attention.distance < 1e-3


def test_the_record_of_a_picture_has_a_column_for_each_of_its_cells():
    model = load("vision", tier="tiny")
    answer = model.ask("What colour is the circle?", images=["images/vision/four-shapes.png"], record_attention=True)
    assert answer.attention.pieces.count("<picture 1>") == answer.image_tokens[0] == 313
    assert answer.attention.distance < 1e-3
    model.release()


def test_with_another_table_or_without_experts_it_still_agrees():
    model = load("moe", tier="tiny")
    assert model.ask(QUESTION, max_tokens=400, record_attention=True).attention.distance < 1e-3
    assert model.ask(QUESTION, max_tokens=9, without_experts=[(0, 3)], record_attention=True).attention.distance < 1e-3


def test_what_was_not_recorded_is_asked_for_with_a_sentence():
    with pytest.raises(BadRequest, match="record_attention=True"):
        _ = load("instruct", tier="tiny").ask(QUESTION, max_tokens=2).attention


def test_heads_out_of_range_are_refused():
    seen = load("instruct", tier="tiny").ask(QUESTION, max_tokens=2, record_attention=True).attention
    for layer, head in ((4, 0), (0, 8), (-1, 0)):
        with pytest.raises(BadRequest, match=f"no head {head} in layer {layer}"):
            seen.head(layer, head)


def test_a_large_model_is_refused_before_anything_is_generated(monkeypatch):
    from labs_helper.reference import reading

    reading._read.cache_clear()  # an earlier test has read it
    monkeypatch.setattr(weights, "MOST_WEIGHTS", 1000)
    model = load("instruct", tier="tiny")
    with pytest.raises(NotEnoughMemory, match="weights"):
        model.ask(QUESTION, record_attention=True)
    reading._read.cache_clear()


def test_a_record_that_is_too_large_is_refused_before_the_answer(monkeypatch):
    monkeypatch.setattr(reference_model, "MOST_RECORD", 1000)
    model = load("instruct", tier="tiny")
    written = []
    with pytest.raises(NotEnoughMemory, match="attention"):
        model.ask(QUESTION, record_attention=True, on_token=written.append)
    assert not written
