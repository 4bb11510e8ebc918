"""Training that goes on from published weights: they come back as they were, and nothing else is begun with."""

from __future__ import annotations

import json

import pytest
import torch

from training import train
from training.__main__ import main
from training.config import CHECKPOINTS, recipe_of, recipes
from training.corpus import Corpus
from training.loop import ADAM_RATE, MUON_RATE
from training.quick import look
from training.team import Team
from training.tokenizer import Encoder
from training.weights import average, load_into, read

pytestmark = pytest.mark.training


@pytest.mark.parametrize("name", ["instruct-tiny", "moe-tiny"])
def test_the_published_weights_fit_the_model_that_is_trained_and_answer_as_they_do(name):
    model = train.new_model(CHECKPOINTS / name, 1, recipes()[name].get("routing"))
    load_into(model, CHECKPOINTS / name)
    model.eval()
    encoder, stream, losses = Encoder(CHECKPOINTS / name), Corpus("eval", 3, name), []
    for _ in range(20):
        ids, mask = encoder.conversation(stream.fact("en").messages)
        weights = torch.tensor([[float(m == 1) for m in mask[1:]]])
        losses.append(train.loss_of(model, torch.tensor([ids]), weights, False, 256)[1].mean().item())
    assert sum(losses) / len(losses) < 0.2, losses  # drawn weights give about 7


@pytest.fixture
def begun(tmp_path):
    """A stage that goes on from the published weights, with heads that are told where copies come from."""
    folder = tmp_path / "instruct-tiny"
    folder.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        (folder / file).write_bytes((CHECKPOINTS / "instruct-tiny" / file).read_bytes())
    further = train.Further(CHECKPOINTS / "instruct-tiny", rate=0.25, task="repetition", pointing=0.5)
    recipe = {**recipe_of("instruct-tiny"), "pool": 48}
    stage = train.TextStage("instruct-tiny", recipe, folder, Team(0, 1, "cpu", 0), further)
    stage.begin(0, 100)
    return stage


def test_one_mixture_at_its_own_rate_with_heads_that_are_kept(begun):
    assert begun.rates == (0.25 * MUON_RATE, 0.25 * ADAM_RATE) and set(begun.streams) == {"repetition"}
    heads = json.loads(begun.folder.with_name("instruct-tiny.heads.json").read_text())
    assert len(heads) == 4 and [tuple(head) for head in heads] == begun.watched.heads
    begun.draw(99, 100)  # also in the last part, where the usual training changes its mixture
    loss, seen = begun.part(99, 0, 100)
    assert seen["pointing"] > 0 and seen["pointed"]
    plain = begun.pointing * seen["pointing"]
    begun.pointing = 0.0
    begun.draw(99, 100)
    assert loss.isfinite() and loss > plain


def test_a_begun_training_reads_other_conversations_than_the_first(begun, monkeypatch):
    seeds = []
    monkeypatch.setattr(train, "stream", lambda workers, name, encoder, seed, *rest: seeds.append(seed))
    begun.begin(0, 100)
    begun.further = None
    begun.begin(0, 100)
    assert seeds[0] - seeds[1] == train.FURTHER_SEED


def test_the_command_hands_on_what_a_training_goes_on_with(monkeypatch, tmp_path):
    handed = []
    monkeypatch.setattr("training.train.together", lambda *arguments: handed.append(arguments))
    monkeypatch.setattr("training.train.RUNS", tmp_path)
    monkeypatch.setattr("training.export.export", lambda name: "nothing")
    monkeypatch.setattr("training.card.measure", lambda *arguments: None)
    monkeypatch.setattr("training.card.write_card", lambda name: "nothing")
    monkeypatch.setattr(train.train, "__defaults__", (None, tmp_path, None, None))
    begin = CHECKPOINTS / "instruct-tiny"
    told = "--rate 0.6 --task sample --pointing 0.05 --steps 40"
    main(f"make instruct-tiny --begin {begin} {told}".split())
    assert handed[0][4] == 40 and handed[0][-1] == train.Further(begin, 0.6, "sample", 0.05)
    main(f"make instruct-tiny --begin {begin} {told} --round-from 0".split())
    assert handed[1][-1] == train.Further(begin, 0.6, "sample", 0.05, 0.0)
    # The tokenizer is that of the weights: no other fits them.
    assert (tmp_path / "instruct-tiny" / "tokenizer.json").read_bytes() == (begin / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        "make moe-tiny --rate 0.5",
        "make moe-tiny --pointing 0.1",
        "make moe-tiny --task sample",
        "make moe-tiny --round-from 0",
    ],
)
def test_what_is_for_a_training_that_goes_on_needs_its_beginning(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments.split())
    assert "give --begin" in capsys.readouterr().err


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """A run as it is while it trains, with the published weights of moe-tiny in its saved state."""
    runs = tmp_path_factory.mktemp("runs")
    (runs / "moe-tiny").mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        (runs / "moe-tiny" / file).write_bytes((CHECKPOINTS / "moe-tiny" / file).read_bytes())
    model = train.new_model(CHECKPOINTS / "moe-tiny", 1, recipes()["moe-tiny"]["routing"])
    load_into(model, CHECKPOINTS / "moe-tiny")
    torch.save({"step": 1, "model": model.state_dict()}, runs / "moe-tiny.state.pt")
    return runs / "moe-tiny.state.pt"


def test_a_saved_state_is_read_like_a_run_and_averaged_with_others(unfinished, tmp_path):
    published, state = read(CHECKPOINTS / "moe-tiny"), read(unfinished)
    assert published.keys() == state.keys() and all(torch.equal(published[name], state[name]) for name in published)
    made = average([unfinished, CHECKPOINTS / "moe-tiny"], [0.7, 0.3], tmp_path / "mean")
    assert all(torch.allclose(value, published[name], atol=1e-6) for name, value in read(made).items())
    assert "quantization" not in json.loads((made / "config.json").read_text())


def test_a_quick_look_tells_what_weights_can_do_from_what_they_cannot(unfinished):
    tasks = ["add", "facts", "refusal"]
    seen = look(
        "moe-tiny", {unfinished: 0.5, CHECKPOINTS / "moe-tiny": 0.5}, seed=11, each=2, tasks=tasks, rounded=True
    )
    assert seen["add"] == 1.0 and seen["facts"] >= 0.8 and seen["refusal"] == 0.0
