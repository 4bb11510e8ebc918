"""mlx-lm's own methods, on a model so small that each takes a second or two."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper.errors import BadRequest
from labs_helper.quantizing import compare, dynamic, gptq, levels, read, rounded
from labs_helper.quantizing.copies import layers_of
from labs_helper.quantizing.skills import questions


@pytest.fixture(scope="module")
def texts():
    return [question.talk for question in questions("sums", "facts, English")][::3]


def test_gptq_rounds_better_than_plain_rounding(model, texts):
    from labs_helper.engines.worker import WORKER

    before = read(model, texts)
    plain, clever = rounded(model, 2), gptq(model, texts, bits=2)
    assert compare(before, read(clever, texts)).divergence.value < compare(before, read(plain, texts)).divergence.value
    weight = WORKER.call(lambda: np.array(layers_of(clever.engine.model)["lm_head"].weight))
    assert levels(weight) <= 4 and clever.bits_per_weight == plain.bits_per_weight


def test_dynamic_names_every_layer(model, texts):
    told = dynamic(model, texts[:12])
    assert sorted(told) == sorted(rounded(model, 16).sizes)
    assert all(np.isfinite(value) for value in told.values())


def test_what_they_cannot_do_is_refused(model, texts):
    with pytest.raises(BadRequest, match="3 bits"):
        gptq(model, texts, bits=3)
    with pytest.raises(BadRequest, match="no piece"):
        dynamic(model, texts[:1], length=4096)


def test_awq_has_no_settings_for_phi():
    """Why the lab leaves it out. If this fails, mlx-lm has learned it, and the lab can run it."""
    from mlx_lm.quant.awq import AWQ_MODEL_CONFIGS

    assert not {"phi3", "phimoe"} & set(AWQ_MODEL_CONFIGS)
