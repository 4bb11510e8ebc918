"""A new last layer from the neurons of the old one, on a small random model."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from training import config, weights
from training.config import CHECKPOINTS, recipes
from training.moe import last_layer
from training.moe.corpus import TOPICS
from training.moe.model import new_model
from training.quantization import plain_state
from training.tokenizer import Encoder

pytestmark = pytest.mark.training
ROUTING = {"balance": 0.05, "special": 0.02, "target": 0.65, "shared": []}
WIDTH = 8  # neurons of an expert


@pytest.fixture(scope="module")
def encoder():
    return Encoder(CHECKPOINTS / "moe-tiny")


@pytest.fixture(scope="module")
def source(tmp_path_factory, encoder):
    """A finished run of a small phimoe with random weights, whose last layer tells the topics apart a little."""
    folder = tmp_path_factory.mktemp("runs") / "moe-tiny"
    folder.mkdir()
    sizes = {"hidden_size": 32, "intermediate_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    recipe = copy.deepcopy(recipes()["moe-tiny"])
    recipe["model"] |= sizes | {"num_key_value_heads": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes(), "moe-tiny", recipe)
        config.write_json(folder / "config.json", config.model_config("moe-tiny", {**encoder.id, "<s>": 1}))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((CHECKPOINTS / "moe-tiny" / file).read_bytes())
    model = new_model(folder, 1, ROUTING)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(0, 1.0 if "embed" in name else 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    weights.save(model.published(plain_state(model)), folder)
    return folder


@pytest.fixture
def model(source):
    model = new_model(source, 1, ROUTING)
    weights.load_into(model, source)
    return model


@pytest.fixture
def seen(model, encoder):
    return last_layer.watch(model, -1, encoder, 5, 120)


def test_what_is_watched_is_what_the_layer_gets_and_gives(model, seen):
    mlp = model.model.layers[-1].mlp
    assert len(seen.inputs) == len(seen.outputs) == len(seen.topics) == len(seen.chosen) == len(seen.shares)
    assert last_layer.left_over(mlp, seen) < 1e-9
    assert set(seen.topics.tolist()) == set(range(len(TOPICS)))


def test_a_neuron_is_as_busy_as_what_it_adds_to_the_output(model, seen):
    """Without a neuron, a layer's outputs change by what the neuron gave."""
    mlp = model.model.layers[-1].mlp
    found = last_layer.busy(seen, mlp.experts, seen.topics)
    assert found.shape == (len(TOPICS), 16 * WIDTH)
    expert, neuron = 3, 2
    with torch.no_grad():
        mlp.experts.down_proj[expert, :, neuron] = 0
        change = (mlp(seen.inputs[None])[0] - seen.outputs).norm(dim=1)
    wanted = torch.zeros(len(TOPICS)).index_add_(0, seen.topics, change)
    assert torch.allclose(found[:, expert * WIDTH + neuron], wanted, rtol=1e-3, atol=1e-4)


def test_each_topic_gets_its_busiest_neurons_and_the_groups_what_is_left(model, seen):
    old = model.model.layers[-1].mlp
    new, neurons = last_layer.put_together(old, seen, 1)
    busy = last_layer.busy(seen, old.experts, seen.topics)
    own, shared = neurons[0::2], neurons[1::2]
    for place in range(len(TOPICS)):
        others = [n for n in range(16 * WIDTH) if n not in own[place]]
        assert busy[place, own[place]].min() >= busy[place, others].max()
    assert not set(shared.flatten().tolist()) & set(own.flatten().tolist())
    for expert in (0, 1, 15):
        for at, neuron in ((0, neurons[expert, 0]), (WIDTH - 1, neurons[expert, -1])):
            was, place = divmod(int(neuron), WIDTH)
            gate_up, theirs = new.experts.gate_up_proj[expert], old.experts.gate_up_proj[was]
            assert torch.equal(gate_up[at], theirs[place]) and torch.equal(gate_up[WIDTH + at], theirs[WIDTH + place])
            assert torch.equal(new.experts.down_proj[expert, :, at], old.experts.down_proj[was, :, place])


def test_the_first_choice_of_a_new_router_leans_to_the_experts_of_topics(model, seen):
    new, _ = last_layer.put_together(model.model.layers[-1].mlp, seen, 1)
    with torch.no_grad():
        best = torch.nn.functional.linear(seen.inputs, new.router.weight)[:, 0::2].argmax(1)
    share = (best == seen.topics).float().mean()
    assert share > 2 / len(TOPICS)  # a linear guess on random features is better than chance, and no more


def test_the_fit_comes_nearer_and_no_other_layer_changes(model, encoder, source, tmp_path):
    before = copy.deepcopy(plain_state(model))
    left = last_layer.renew(model, encoder, tmp_path, steps=300, conversations=60, tokens=512)
    # Random experts know no topics, so the choice alone is worth nothing here.
    assert left["fitted"] < 0.5 * left["chosen"] and left["fitted"] < 1
    after = plain_state(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(".layers.1.mlp." in name for name in changed)


def test_the_fit_goes_on_where_it_stopped(source, encoder, tmp_path):
    results = []
    for name, stops in (("whole", ()), ("pieces", (3, 7))):
        model, out = new_model(source, 1, ROUTING), tmp_path / name
        out.mkdir()
        weights.load_into(model, source)
        seen = last_layer.watch(model, -1, encoder, 1, 20)
        for stop in (*stops, None):
            torch.manual_seed(1)
            new, _ = last_layer.put_together(model.model.layers[-1].mlp, seen, 1)
            last_layer.descend("layer", last_layer.LayerStage(new, seen, ROUTING, 1, 256), 10, out, stop_at=stop)
        results.append(plain_state(new))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_layer_with_another_number_of_experts_is_refused(model, seen):
    old = model.model.layers[-1].mlp
    old.experts.down_proj = torch.nn.Parameter(old.experts.down_proj[:4])
    with pytest.raises(ValueError, match="16 experts"):
        last_layer.put_together(old, seen, 1)


def test_the_command_writes_a_run_that_can_be_trained_on(source, tmp_path, capsys):
    out = tmp_path / "new-layer"
    last_layer.main([str(source), "--out", str(out), "--steps", "3", "--conversations", "20"])
    assert "after the fit" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text()) == json.loads((source / "config.json").read_text())
    other = new_model(out, 1, ROUTING)
    weights.load_into(other, out)
    with pytest.raises(SystemExit):
        last_layer.main([str(source), "--out", str(source)])
