"""The 16-bit twin of lab 04: never rounded, and what the lab says about it holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from labs_helper import load
from labs_helper.engines.worker import WORKER
from labs_helper.quantizing import altogether, questions, read, relative_error, round_groups, rounded, score_skills
from labs_helper.quantizing.copies import layers_of

NAME = "instruct-tiny-16bit"
STRONG = ("facts", "sums", "JSON", "needle")  # the card lists each at 0.98 or more


@pytest.fixture(scope="module")
def twin():
    model = load(NAME)
    yield model
    model.release()


@pytest.fixture(scope="module")
def matrices(twin):
    full = rounded(twin, 16)
    return WORKER.call(lambda: {name: np.array(layer.weight) for name, layer in layers_of(full.engine.model).items()})


def test_it_was_never_rounded(matrices):
    """Weights that were trained on for a few steps after a rounding have many values too, and all near the old steps:
    then rounding them again loses next to nothing. So the error counts as well.
    """
    for name, matrix in matrices.items():
        assert len(np.unique(matrix)) > 1000, name
        groups = np.sort(matrix.reshape(-1, 32), axis=-1)
        different = 1 + (np.diff(groups, axis=-1) > 0).sum(axis=-1)
        few = different <= 16
        if name == "model.embed_tokens":  # tokens that no text has, such as single bytes: their rows only shrank
            assert few.mean() < 0.1 and np.abs(groups[few]).max() < 0.2 * np.median(np.abs(groups).max(axis=-1)), name
        else:
            assert few.mean() < 0.001, name
        assert relative_error(matrix, round_groups(matrix, 4).values) > 0.05, name


def test_it_is_small_enough_for_the_repository(twin):
    assert sum(file.stat().st_size for file in twin.path.iterdir()) < 8_100_000


def test_four_bits_lose_at_most_two_in_a_hundred_of_what_it_can_do_well(twin):
    asked = [question for question in questions() if question.skill.startswith(STRONG)][::2]
    before, after = (score_skills(rounded(twin, bits), asked) for bits in (16, 4))
    for skill in STRONG:
        first, second = (
            altogether({name: score for name, score in scores.items() if name.startswith(skill)})
            for scores in (before, after)
        )
        # With 20 or 30 questions one answer is more than two in a hundred.
        assert first.share - second.share <= max(0.02, 1 / first.count), (skill, first, second)
    assert altogether(before).share - altogether(after).share <= 0.02


def test_perplexity_falls_with_more_bits_within_its_interval(twin):
    talks = [question.talk for question in questions() if question.skill != "needle"][::4]
    told = [read(rounded(twin, bits), talks).perplexity for bits in (2, 3, 4, 5, 6, 8, 16)]
    assert all(more.value <= fewer.high for fewer, more in itertools.pairwise(told))
    assert told[0].low > told[-1].high
