"""The figures of the MoE lab: what they count, what they say in words, that nothing gets through unescaped."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from drawings import drawings

from labs_helper import catalog, figures
from labs_helper.capacity import limits
from labs_helper.common.markup import escape
from labs_helper.engines.base import Prompt, Report, Sampling, Token
from labs_helper.engines.experts import Routing
from labs_helper.errors import BadRequest
from labs_helper.figures.ablation import wilson
from labs_helper.models.answers import answer_of

NASTY = "<script>alert(1)</script>"


def answer(experts, prompt=2, piece="a"):
    """An Answer whose tokens went to these experts: (tokens, layers, 2)."""
    experts = np.array(experts)
    total, layers, _ = experts.shape
    gates = np.zeros((total, layers, 16))
    np.put_along_axis(gates, experts, 1.0, axis=-1)
    report = Report(
        Prompt("", (0,) * prompt, (piece,) * prompt),
        "stop",
        prompt,
        sampling=Sampling(),
        routing=Routing(experts, np.full(experts.shape, 0.75), gates, (piece,) * total, prompt),
    )
    return answer_of("moe", [Token(piece, 1, -0.1, piece=piece)] * (total - prompt), report)


def random(seed, topics=None, tokens=12, layers=3):
    """Routing of a conversation; in layer 1, a topic's tokens mostly go to its own expert."""
    rng = np.random.default_rng(seed)
    experts = np.stack([rng.permutation(16)[:2] for _ in range(tokens * layers)]).reshape(tokens, layers, 2)
    if topics is not None:
        experts[: tokens - 2, 1] = [topics, 15]
    return answer(experts)


def sides(count=10, known=True):
    parts = []
    for topic in range(4):
        for seed in range(count):
            frame = random(100 * topic + seed, topic if known else None).routing.frame()
            parts.append(frame.assign(topic=["en", "한국어", "python", "plan"][topic], conversation=f"{topic}-{seed}"))
    return pd.concat(parts, ignore_index=True)


TALK = random(1)
ALL = {
    "ablation": figures.ablation,
    "pair_ablation": figures.pair_ablation,
    "expert_tokens": lambda **more: figures.expert_tokens(TALK, 1, title="한국어", **more),
    "expert_map": lambda **more: figures.expert_map(TALK, **more),
    "expert_load": lambda **more: figures.expert_load(sides(), **more),
    "compare_experts": lambda **more: figures.compare_experts(TALK, random(2).routing, ("한국어", "Python"), **more),
    "specialisation": lambda **more: figures.specialisation(sides(), shuffles=20, **more),
    "expert_memory": figures.expert_memory,
    "cost_quality": figures.cost_quality,
    "hit_rates": lambda **more: figures.hit_rates(
        [{"experts": 1, "hits": 0, "misses": 9}, {"experts": 32, "hits": 6, "misses": 3}], **more
    ),
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_figure_has_alt_text_takeaway_plain_form_and_no_warning(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = make()
    assert len(figure.alt) > 20 and len(figure.frame()) > 0 and figure.takeaway == "", "nothing that a log would say"
    assert "<img" not in figure.html or escape(figure.alt) in figure.html


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_takeaway_is_written_by_hand(make):
    figure = make(takeaway="Look at <layer> 3.")
    assert figure.takeaway == "Look at <layer> 3." and figure.takeaway in figure.text
    assert "Look at &lt;layer&gt; 3." in figure.html


def test_shares_count_what_is_there_and_name_the_idle():
    talk = answer([[[0, 1], [5, 6]], [[0, 2], [5, 7]], [[0, 3], [5, 8]]])
    both, first = figures.expert_map(talk), figures.expert_map(talk, rank=1)
    rows = {(row["layer"], row["expert"]): row["share"] for row in both.rows}
    assert rows[0, 0] == 0.5 and rows[0, 1] == pytest.approx(1 / 6) and rows[0, 15] == 0 and len(rows) == 32
    assert {(r["layer"], r["expert"]) for r in first.rows if r["share"]} == {(0, 0), (1, 5)}
    assert "24 of 32 experts got no token" in both.alt and "even share would be 6.2%" in both.text
    load = figures.expert_load(talk)
    assert load.rows[0] == {"layer": 0, "idlest": 4, "least": 0, "busiest": 0, "most": 0.5, "idle experts": 12}


def test_the_axes_of_the_load_have_round_marks_and_its_words_stand_beside_the_dots():
    shown = drawn(figures.expert_load(random(1, tokens=30)))
    marks = [words for words in shown if re.fullmatch(r"\d+%", words)]
    assert len(marks) >= 3 and all(int(mark[:-1]) % 5 == 0 for mark in marks)
    assert {"0", "1", "2"} <= set(shown) and not any(re.fullmatch(r"\d+\.5", words) for words in shown), "whole layers"
    assert "even share," in shown


def drawn(figure) -> list[str]:
    """The words in a picture."""
    return [
        " ".join(e.itertext()).strip()
        for e in ElementTree.fromstring(drawings(figure.html)[0]).iter()
        if e.tag.endswith("text")
    ]


def test_overlap_of_two_prompts():
    one, other = answer([[[0, 1]]] * 4), answer([[[0, 1]], [[0, 1]], [[7, 1]], [[8, 1]]])
    assert figures.compare_experts(one, one).rows[0]["overlap"] == 1
    assert figures.compare_experts(one, other).rows[0]["overlap"] == 0.5
    assert figures.compare_experts(one, answer([[[9, 8]]] * 4)).rows[0]["overlap"] == 0
    assert "share 50%" in figures.compare_experts(one, other).alt
    with pytest.raises(BadRequest, match="different layers"):
        figures.compare_experts(one, random(3))


def test_specialisation_finds_the_layer_that_takes_sides_and_only_that():
    figure = figures.specialisation(sides(), shuffles=100)
    rows = figure.rows
    assert [row["layer"] for row in rows] == [0, 1, 2]
    assert rows[1]["information"] > 0.5 > 5 * rows[1]["chance"] and rows[1]["p"] < 0.02
    for other in (rows[0], rows[2]):
        assert abs(other["information"] - other["chance"]) < 0.03 and other["chance"] <= other["chance_95"]
    assert "In layer 1" in figure.alt
    nothing = figures.specialisation(sides(known=False), shuffles=100).rows[1]
    assert nothing["information"] < 0.1 and nothing["p"] > 0.02
    assert figures.specialisation(sides(), shuffles=20).rows == figures.specialisation(sides(), shuffles=20).rows


def test_a_topic_with_more_tokens_does_not_count_more():
    frame = sides()
    long = frame.assign(conversation=frame["conversation"] + "-again")[frame["topic"] == "en"]
    more = pd.concat([frame, long, long.assign(conversation=long["conversation"] + "x")], ignore_index=True)
    a, b = figures.specialisation(frame, shuffles=5), figures.specialisation(more, shuffles=5)
    assert a.rows[1]["information"] == pytest.approx(b.rows[1]["information"])


def test_memory_comes_from_the_shapes():
    rows = {(row["model"], row["bits"]): row for row in figures.expert_memory().rows}
    assert rows["Phi-3.5-MoE", 16]["weights"] == 2 * 41_873_153_344
    assert rows["Phi-3.5-MoE", 4]["weights"] / 1e9 == pytest.approx(23.57, abs=0.02), "the size of the published files"
    assert rows["Phi-3.5-MoE", 4]["smallest Mac"] == 36 and rows["Phi-3.5-MoE", 16]["smallest Mac"] == 128
    assert rows["Phi-mini-MoE", 4]["smallest Mac"] == 8 or rows["Phi-mini-MoE", 4]["smallest Mac"] == 16
    for row in rows.values():
        if row["smallest Mac"]:
            assert limits.gpu_share(row["smallest Mac"] * 2**30) >= row["need"] > row["weights"]


def test_cost_and_quality_are_the_published_figures():
    rows = {row["model"]: row for row in figures.cost_quality("MMLU").rows}
    moe, mini = rows["Phi-3.5-MoE-instruct"], rows["Phi-3.5-mini-instruct"]
    assert (moe["active"], moe["total"], moe["score"]) == (6.6, 42, 78.9) and (mini["active"], mini["score"]) == (
        3.8,
        69.0,
    )
    assert rows["Mistral-Nemo-12B-Instruct-2407"]["active"] == 12
    assert "left out" in figures.cost_quality().html and "GPT-4o-mini" in figures.cost_quality().html


def test_counts_without_experts_belong_to_the_bundled_weights():
    """Stored counts say nothing about other weights: `python -m training.moe.ablation_table` counts again."""
    rows = figures.ablation().rows
    weights = (catalog.find("moe", "tiny")[0].path / "model.safetensors").read_bytes()
    assert {row["weights"] for row in rows} == {hashlib.sha256(weights).hexdigest()[:12]}
    assert len({row["topic"] for row in rows}) == 8 and {row["kind"] for row in rows} == {"none", "own", "random"}
    assert all(0 <= row["low"] <= row["right"] / row["asked"] <= row["high"] <= 1 for row in rows)
    pairs = figures.pair_ablation().rows
    assert len(pairs) == 8 * (1 + 3 * 4) and all(row["prefers"] in ("", row["topic"]) for row in pairs)


def test_the_interval_of_a_share():
    """Near the exact one of Clopper and Pearson: 0.912 to 1 for 40 of 40, 0.01 to 0.27 for 2 of 24."""
    assert wilson(40, 40) == pytest.approx((0.912, 1), abs=0.002)
    low, high = wilson(2, 24)
    assert 0.01 < low < 0.03 and 0.24 < high < 0.27


def test_hit_rates():
    rows = figures.hit_rates(pd.DataFrame({"experts": [4, 1], "hits": [3, 0], "misses": [1, 4]})).rows
    assert [(row["experts"], row["hit rate"]) for row in rows] == [(1, 0), (4, 0.75)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: figures.expert_tokens([{"a": 1}]), "not a record of experts"),
        (lambda: figures.expert_tokens(pd.DataFrame({"layer": [1]})), "lacks position"),
        (lambda: figures.expert_tokens(TALK, 3), "no layer 3.*0 to 2"),
        (lambda: figures.expert_map(TALK, rank=3), "no rows"),
        (lambda: figures.expert_map(answer([[[15, 1]]] * 2), experts=8), "names expert 15"),
        (lambda: figures.specialisation(TALK.routing), "lacks: conversation, topic"),
        (lambda: figures.specialisation(TALK.routing.frame().assign(topic="a", conversation=1)), "only one topic"),
        (lambda: figures.specialisation(sides().assign(conversation=1)), "several values of topic"),
        (lambda: figures.expert_memory({}), "nothing to show"),
        (lambda: figures.expert_memory(bits=(7,)), "7 bits"),
        (lambda: figures.cost_quality("nope"), "no test 'nope'.*MMLU"),
        (lambda: figures.hit_rates([]), "no rows"),
        (lambda: figures.hit_rates([{"experts": 1}]), "lacks: hits, misses"),
    ],
)
def test_bad_input_says_what_to_do(make, words):
    with pytest.raises(BadRequest, match=words) as caught:
        make()
    assert caught.value.do


def test_an_answer_that_was_not_recorded_says_so():
    plain = answer_of("moe", [], Report())
    with pytest.raises(BadRequest, match="record_experts=True"):
        figures.expert_map(plain)


def test_the_figures_import_no_mlx():
    code = "import sys, labs_helper.figures as f; f.expert_memory(); f.cost_quality(); print('mlx' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout.strip()
        == "False"
    )
