"""Memory of a training: computed from the shapes, against what MLX measures."""

from __future__ import annotations

import pytest

from labs_helper import catalog, store
from labs_helper.capacity import estimate
from labs_helper.capacity.training import Training, adapter_parameters, training_need

TINY = catalog.course_folder() / "data/checkpoints/instruct-tiny"
MINI = catalog.find("instruct", "real")[0].config


def test_numbers_of_an_adapter():
    config = store.read_json(TINY / "config.json")
    assert adapter_parameters(config, 8, 4) == 114_688  # as mlx-lm counts them (tests/tuning)
    assert adapter_parameters(config, 16, 2, ("self_attn.qkv_proj",)) == 2 * 16 * (256 + 768)
    assert adapter_parameters(config, 8, 4, kind="dora") == 114_688 + 4 * (768 + 256 + 1024 + 256)
    assert adapter_parameters(config, 8, 4, kind="full") == 4 * (256 * 768 + 256 * 256 + 256 * 1024 + 512 * 256)


def needed(**changes):
    training = Training(**{"rank": 8, "layers": 16, "batch": 4, "tokens": 512, **changes})
    return training_need(MINI, estimate.table_of(MINI), training, on_cpu=False)


def test_what_makes_it_smaller():
    usual = needed()
    assert needed(checkpoint=True).activations < usual.activations / 3
    assert needed(batch=1).activations == usual.activations / 4
    assert needed(layers=8).activations < usual.activations
    assert needed(tokens=1024).activations > 2 * usual.activations  # attention grows with the square
    assert usual.optimizer == 3 * usual.adapter
    assert usual.weights == pytest.approx(2.15e9, rel=0.02)


@pytest.mark.parametrize(("tokens", "batch"), [(33, 8), (65, 8)])
def test_the_estimate_is_near_what_mlx_measures(tokens, batch):
    import mlx.core as mx

    from labs_helper import load
    from labs_helper.engines.worker import WORKER
    from labs_helper.tuning import lesson
    from labs_helper.tuning.examples import Example

    engine = load("instruct", tier="tiny").engine
    examples = [Example(tuple(range(300, 300 + tokens)), 5)] * batch

    def measured():
        engine.load()
        mx.clear_cache()
        start = mx.get_active_memory()
        mx.reset_peak_memory()
        lesson.teach(engine, examples, lesson.check_plan(lesson.Plan(steps=2, batch=batch), engine.config, batch))
        return mx.get_peak_memory() - start

    need = training_need(
        engine.config if engine.loaded else store.read_json(TINY / "config.json"),
        store.weight_table(TINY),
        Training(8, 4, batch, tokens),
        on_cpu=True,
    )
    assert WORKER.call(measured) == pytest.approx(need.activations + need.adapter + need.optimizer, rel=0.3)
