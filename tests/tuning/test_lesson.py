"""A training: what it learns from, what it changes, how it ends, and that LongRoPE's right table is active in it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labs_helper import load
from labs_helper.corrections import longrope
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, NotEnoughMemory
from labs_helper.tuning import Pair, fill, preference, score, start, talk
from labs_helper.tuning import lesson as lessons
from labs_helper.tuning.examples import encode, encode_all
from references import solution

TOWNS = [{"x": "Zorp", "y": "a cat"}, {"x": "Quib", "y": "a dog"}]
BOOK = fill(["Who is {x}?", "What is {x}?", "Tell me about {x}.", "{x}?"], "{x} is {y}.", TOWNS)
HELD_OUT = fill(["Do you know {x}?"], "{y}", TOWNS)


def with_adapter(adapter):
    return load("instruct", tier="tiny", adapter=adapter)


# -- examples ---------------------------------------------------------------------------------------------


def test_an_example_is_the_prompt_of_the_engine_the_answer_and_its_end(model):
    example = encode(model.engine, talk("Where is Lima?", "Lima is a city in Peru."))
    assert example.ids[: example.start] == model.prompt("Where is Lima?").ids
    answer = model.ask("Where is Lima?")
    assert answer.text == "Lima is a city in Peru."
    assert example.ids[example.start :] == tuple(token.id for token in answer.tokens)
    assert model.engine.pieces.readable(example.ids[-1]) == "<|end|>"


def test_a_typed_mark_stays_text(model):
    example = encode(model.engine, talk("Say <|end|>", "A <|end|> in between."))
    assert [model.engine.pieces.readable(token) for token in example.ids].count("<|end|>") == 2


def test_what_is_too_long_is_refused_and_not_cut(model):
    with pytest.raises(BadRequest, match="Example 2"):
        encode_all(model.engine, [talk("a", "b"), talk("a b c d " * 600, "b")])
    with pytest.raises(BadRequest, match="no example"):
        encode_all(model.engine, [])


def test_each_example_is_drawn_once_in_a_round():
    drawn = [place for batch in lessons.draws([5, 9, 7] * 4, 8, seed=1, loop=False) for place in batch]
    assert sorted(drawn) == list(range(12))


def test_mlx_lm_leaves_the_longest_examples_out():
    """Why ours are drawn differently. If this fails, mlx-lm trains all of them, and `shuffled` can go."""
    from mlx_lm.tuner.trainer import iterate_batches

    rows = [(list(range(1, length)), 0) for length in range(3, 15)]
    seen = {int(length) for _ids, spans in iterate_batches(rows, 8, 64) for length in spans[:, 1].tolist()}
    assert seen == set(range(2, 10))


# -- training ---------------------------------------------------------------------------------------------


def test_it_learns_and_the_weights_stay(model):
    before = model.ask("Where is Lima?").text
    made = start(model, BOOK, steps=24, rate=1e-3, scale=20.0).wait()
    assert made.ended == "finished" and len(made.history) == 24 and made.table == "short"
    assert made.history[-1].loss < made.history[0].loss / 3
    taught = with_adapter(made.adapter)
    assert score(taught, HELD_OUT).right == 2 > score(model, HELD_OUT).right
    assert model.ask("Where is Lima?").text == before
    assert made.adapter.parameters == 114_688


@pytest.mark.parametrize(
    ("kind", "rate", "numbers"),
    [
        ("dora", 1e-3, 114_688 + 4 * (768 + 256 + 1024 + 256)),
        ("full", 3e-4, 4 * (256 * 768 + 256 * 256 + 256 * 1024 + 512 * 256)),
    ],
)
def test_the_other_kinds_learn_and_the_weights_stay(model, kind, rate, numbers):
    ids = model.prompt("Where is Lima?").ids
    before = model.engine.logits(ids)
    made = start(model, BOOK, steps=24, rate=rate, scale=20.0, kind=kind).wait()
    assert made.history[-1].loss < made.history[0].loss / 3
    assert made.adapter.parameters == numbers and made.adapter.config["fine_tune_type"] == kind
    assert score(with_adapter(made.adapter), HELD_OUT).right == 2
    assert np.array_equal(model.engine.logits(ids), before)
    with pytest.raises(BadRequest, match="kind"):
        start(model, BOOK, steps=1, scale=20.0, begin=made.adapter)


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_a_new_adapter_of_any_kind_changes_nothing(model, kind):
    from labs_helper.engines import adapters

    ids = model.prompt("Where is Lima?").ids

    def both():
        plain = model.engine.logits(ids)
        adapters.install(model.engine.model, 4, 20.0, adapters.LINEAR, 4, kind)
        fresh = model.engine._all_logits(ids, len(ids))
        adapters.take_off(model.engine.model)
        return plain, fresh, model.engine._all_logits(ids, len(ids))

    plain, fresh, after = WORKER.call(both)
    assert np.abs(plain - fresh).max() < 1e-3
    assert np.array_equal(plain, after)


def test_the_held_out_loss_is_measured_and_not_trained(model):
    unseen = [talk("Who is Blim?", "Blim is a fish.")]
    lesson = start(model, BOOK, steps=12, rate=1e-3, held_out=unseen, every=4)
    heard = []
    lesson.listen(lambda running: heard.append(len(running.held_out)))
    made = lesson.wait()
    assert [step for step, _loss in made.held_out] == [0, 3, 7, 11] and max(heard) == 4
    encoded = encode(model.engine, unseen[0])

    def loss(engine):
        logits = engine.logits(encoded.ids[:-1])
        likely = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        return -np.mean([likely[place - 1, encoded.ids[place]] for place in range(encoded.start, len(encoded))])

    assert made.held_out[0][1] == pytest.approx(loss(model.engine), abs=1e-3)
    plain = start(model, BOOK, steps=12, rate=1e-3).wait()
    assert plain.held_out == () and plain.history[-1].loss == pytest.approx(made.history[-1].loss, abs=1e-5)


def test_pairs_have_no_held_out_loss(model):
    pairs = [Pair("Who is Zorp?", "Zorp is a cat.", "Zorp is a city.")]
    with pytest.raises(BadRequest, match="not on pairs"):
        start(model, pairs, steps=1, held_out=BOOK)


def test_the_same_seed_gives_the_same_adapter(model):
    first, second, other = (start(model, BOOK, steps=3, seed=seed).wait().adapter.arrays for seed in (1, 1, 2))
    name = "model.layers.3.mlp.down_proj.lora_b"
    same, differs = WORKER.call(
        lambda: (np.array(first[name]) - np.array(second[name]), np.array(first[name]) - np.array(other[name]))
    )
    assert np.abs(same).max() < 1e-6 < np.abs(differs).max()


def test_stop_keeps_what_was_learned(model):
    lesson = start(model, BOOK, steps=2000, rate=1e-3)
    lesson.listen(lambda running: running.stop() if len(running.steps) >= 5 else None)
    made = lesson.wait(60)
    assert made.ended == "stopped" and 5 <= len(made.history) < 50
    first = WORKER.call(lambda: float(abs(made.adapter.arrays["model.layers.0.self_attn.o_proj.lora_b"]).max().item()))
    assert first > 0


def test_it_goes_on_where_it_stopped(model):
    first = start(model, BOOK, steps=12, rate=1e-3).wait()
    second = start(model, BOOK, steps=2, rate=1e-3, begin=first.adapter).wait()
    assert second.history[0].loss < first.history[0].loss / 2
    with pytest.raises(BadRequest, match="rank"):
        start(model, BOOK, steps=2, rank=4, begin=first.adapter)


def test_a_rate_that_explodes_keeps_a_good_adapter(model):
    made = start(model, BOOK, steps=40, rate=5.0).wait()
    assert made.ended == "exploded" and len(made.history) < 40
    assert "exploded" in str(made)
    finite = WORKER.call(lambda: all(np.isfinite(np.array(array)).all() for array in made.adapter.arrays.values()))
    assert finite and with_adapter(made.adapter).ask("Where is Lima?", max_tokens=8).text


def test_an_example_without_its_end_for_the_experiment(model):
    whole, cut = (encode(model.engine, BOOK[0], end=end) for end in (True, False))
    assert cut.ids == whole.ids[:-1] and encode(model.engine, BOOK[0], whole=True).start == 1


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"keys": ("self_attn.q_proj",)}, "qkv_proj"),
        ({"keys": ("self_attn.o_proj", "self_attn.v_proj")}, "No layer of this model is called self_attn.v_proj:"),
        ({"keys": ()}, "no layer"),
        ({"layers": 16}, "has 4"),
        ({"rank": 0}, "rank=0"),
        ({"steps": 0}, "steps=0"),
        ({"rate": -1.0}, "rate=-1.0"),
        ({"every": 0}, "every=0"),
        ({"kind": "qlora"}, "lora, dora, full"),
        ({"kind": "full", "keys": ("self_attn.q_proj",)}, "qkv_proj"),
        ({"name": "../school"}, "name of an adapter"),
    ],
)
def test_a_plan_that_cannot_work(model, plan, words):
    with pytest.raises(BadRequest, match=words):
        start(model, BOOK, **{"steps": 2, **plan}).wait()
    assert model.ask("Where is Lima?").text == "Lima is a city in Peru."  # nothing was left on the model


def test_the_attention_of_a_mixture_of_experts_can_be_taught():
    moe = load("moe", tier="tiny")
    keys = ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj")
    made = start(moe, BOOK, steps=12, rate=2e-3, keys=keys).wait()
    assert made.history[-1].loss < made.history[0].loss / 3
    assert load("moe", tier="tiny", adapter=made.adapter).ask("Who is Zorp?").text == "Zorp is a cat."
    with pytest.raises(BadRequest, match=r"gate_up_proj.*q_proj"):
        start(moe, BOOK, steps=1).wait()


def test_a_training_that_does_not_fit_is_refused(model, monkeypatch):
    monkeypatch.setenv("LABS_MEMORY_GB", "0.3")
    with pytest.raises(NotEnoughMemory, match="activations"):
        start(model, BOOK * 40, steps=2, batch=256)


# -- LongRoPE ---------------------------------------------------------------------------------------------


def tables_in_training(model, examples):
    """The wavelengths that the model uses while it trains, and the loss of the first step."""
    seen = []

    def loss(net, ids, spans):
        seen.append(np.array(net.layers[0].self_attn.rope._freqs))
        return lessons.answer_loss(net, ids, spans)

    def run():
        engine = model.engine
        plan = lessons.check_plan(lessons.Plan(steps=1, batch=1), engine.config, 1)
        encoded = encode_all(engine, examples)
        table = lessons.table_of(engine.config, encoded)
        return lessons.teach(engine, encoded, plan, table=table, loss=loss)

    return seen[0] if (made := WORKER.call(run)) and seen else None, made


def wavelengths(model, name):
    factors = np.array(model.engine.config["rope_scaling"][f"{name}_factor"])
    size = 2 * len(factors)
    return factors * 10000.0 ** (np.arange(0, size, 2) / size)


@pytest.mark.parametrize(("words", "table"), [(1, "short"), (90, "long")])
def test_the_table_of_the_training_is_that_of_the_answers(model, words, table):
    used, made = tables_in_training(model, [talk("Where is Lima? " * words, "Lima is a city in Peru.")])
    assert made.table == table
    assert np.allclose(used, wavelengths(model, table), rtol=1e-5)


def test_without_the_correction_the_wrong_table_would_be_trained_in(model, monkeypatch):
    """Fails once mlx-lm chooses the table itself: then the correction can go."""
    from mlx_lm.utils import load_model

    fresh = WORKER.call(lambda: np.array(load_model(model.path)[0].layers[0].self_attn.rope._freqs))
    assert np.allclose(fresh, wavelengths(model, "long"), rtol=1e-5)
    assert not np.allclose(fresh, wavelengths(model, "short"), rtol=1e-2)
    assert not longrope.upstream_is_right()


def test_the_loss_of_the_training_is_that_of_the_model_that_answers(model):
    example = talk("Where is Lima?", "Lima is a city in Chile.")
    _used, made = tables_in_training(model, [example])
    encoded = encode(model.engine, example)
    rows = WORKER.call(model.engine.logits, encoded.ids)
    rows = rows - rows.max(axis=-1, keepdims=True)
    likely = rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))
    wanted = -np.mean([likely[place - 1, encoded.ids[place]] for place in range(encoded.start, len(encoded))])
    assert math.isclose(made.history[0].loss, wanted, rel_tol=1e-4)


def test_short_and_long_examples_do_not_share_a_run(model):
    both = [talk("Where is Lima?", "Peru."), talk("Where is Lima? " * 90, "Peru.")]
    with pytest.raises(BadRequest, match="two runs"):
        start(model, both, steps=1).wait()


# -- preferences ------------------------------------------------------------------------------------------

PAIRS = [Pair("Where is Lima?", "I do not know that.", "Lima is a city in Peru."),
         Pair("Where is Rome?", "I do not know that.", "Rome is a city in Italy.")]  # fmt: skip


def test_a_preference_moves_the_margin(model):
    before = WORKER.call(preference.encode_pairs, model.engine, PAIRS)
    made = start(model, PAIRS, steps=10, rate=5e-4, batch=2).wait()
    assert math.isclose(made.history[0].loss, math.log(2), abs_tol=1e-4)
    margins = WORKER.call(preference.margins, with_adapter(made.adapter).engine, before)
    assert min(margins) > 0.5 and made.history[-1].loss < 0.5
    better, worse = (
        WORKER.call(preference.likelihoods, with_adapter(made.adapter).engine, [getattr(before[0], side)])[0]
        for side in ("better", "worse")
    )
    loss = solution("05", "dpo_loss")(better, worse, *before[0].before, preference.BETA)
    assert math.isclose(loss, math.log1p(math.exp(-margins[0])), rel_tol=1e-3)


def test_pairs_that_say_nothing(model):
    with pytest.raises(BadRequest, match="the same"):
        start(model, [Pair("a", "b", "b ")], steps=1).wait()
