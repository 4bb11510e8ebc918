"""A rounded KV cache: the same answers at 16 bits, fewer bytes, and the trap of head sizes."""

from __future__ import annotations

import pytest

from labs_helper import catalog
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing import bytes_per_token, questions, score_with_cache

NEEDLES = questions("needle")[:4]


def test_without_rounding_it_answers_as_ever(model):
    told = score_with_cache(model, NEEDLES, bits=16)
    asked = [question.talk["messages"][-2]["content"] for question in NEEDLES]
    assert list(told.answers) == [model.ask(question, max_tokens=24).text for question in asked]


def test_two_bits_hurt_sums_more_than_eight(model):
    asked = questions("sums")[:12:2]
    eight, two = (score_with_cache(model, asked, bits=bits, max_tokens=80) for bits in (8, 2))
    assert eight.right >= 5 and two.right <= eight.right - 2


def test_the_bytes_of_a_token(model):
    # 2 x 4 layers x 8 heads x 32 numbers
    assert bytes_per_token(model.engine.config) == 2048 * 2
    assert bytes_per_token(model.engine.config, 4, group=32) == 2048 * 5 / 8
    card = catalog.find("phi-3.5-mini-instruct-4bit")[0]
    assert bytes_per_token(card.config) == 2 * 32 * 32 * 96 * 2


@pytest.mark.parametrize(
    ("bits", "group", "words"), [(4, 64, "head of 32"), (7, 32, "7 bits"), (4, 48, "groups of 48")]
)
def test_what_does_not_fit_is_refused(model, bits, group, words):
    with pytest.raises(BadRequest, match=words):
        score_with_cache(model, NEEDLES[:1], bits, group)


def test_mlx_lm_itself_fails_with_its_default_group(model):
    """The trap that the lab shows: its default group of 64 divides neither 32 nor Phi's 96."""
    from mlx_lm import generate

    def ask():
        model.engine.choose_table(40)
        ids = list(model.prompt("Where is Lima?").ids)
        return generate(
            model.engine.model, model.engine.batch_tokenizer(), ids, max_tokens=4, kv_bits=4, quantized_kv_start=0
        )

    with pytest.raises(ValueError, match="64"):
        WORKER.call(ask)
