"""Entropy and mutual information, against values worked out by hand."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from labs_helper.common import information
from labs_helper.common.information import by_topic, entropy, information_and_chance, mutual_information


@pytest.mark.parametrize(
    ("counts", "nats"),
    [([5], 0.0), ([3, 3], math.log(2)), ([0, 7, 7, 7, 7], math.log(4)), ([1, 3], math.log(4) - 0.75 * math.log(3))],
)
def test_entropy_of_known_counts(counts, nats):
    assert entropy(counts) == pytest.approx(nats, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "expected"), [(np.eye(4), 1.0), (np.ones((4, 3)), 0.0), (np.ones((1, 1)), 0.0), ([[8, 0], [0, 8]], 1.0)]
)
def test_mutual_information_of_known_tables(table, expected):
    assert mutual_information(table) == pytest.approx(expected, abs=1e-12)


def test_information_of_a_table_between_all_and_nothing():
    """Two rows of four: three of each are told apart, so I = log 2 - H(1/4)."""
    measured = information.information([[3, 1], [1, 3]])
    assert measured.shared == pytest.approx(math.log(2) - entropy([1, 3]))
    assert measured.rows == measured.columns == pytest.approx(math.log(2))
    assert measured.normalised == pytest.approx(measured.shared / math.log(2))


def test_topics_count_the_same_however_many_conversations_they_have():
    counts = np.array([[[4.0, 0.0]], [[2.0, 2.0]], [[0.0, 9.0]]])
    assert by_topic(counts, np.array([0, 0, 1])).tolist() == [[[0.75, 0.25]], [[0.0, 1.0]]]


def test_chance_is_what_dealt_out_topics_give_and_repeats_with_its_seed():
    counts = np.repeat(np.eye(2)[:, None, :], 10, axis=0) * 6  # ten conversations each of two topics, told apart
    measured, dealt = information_and_chance(counts, np.repeat([0, 1], 10), 50, seed=3)
    assert measured == pytest.approx([1.0]) and dealt.shape == (50, 1) and dealt.mean() < 0.2
    again = information_and_chance(counts, np.repeat([0, 1], 10), 50, seed=3)[1]
    assert (again == dealt).all()


def test_the_examples():
    assert doctest.testmod(information).failed == 0
