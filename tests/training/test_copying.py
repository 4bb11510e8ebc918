"""Where copied tokens come from, and the loss that tells attention heads so."""

from __future__ import annotations

import pytest
import torch

from training.config import CHECKPOINTS, recipes
from training.copying import Watched, best_heads, originals_of, sources
from training.moe.corpus import MoeCorpus
from training.tokenizer import Encoder
from training.train import new_model
from training.weights import load_into

pytestmark = pytest.mark.training


def test_the_longest_run_is_the_original_and_short_ones_are_none():
    prompt, written = [5, 1, 2, 3, 4, 6, 1, 2, 3, 4, 7, 9], [1, 2, 3, 4, 7, 8, 1, 2, 3]
    found = sources(prompt + written, [False] * len(prompt) + [True] * len(written))
    # 1 2 3 4 7 stands at places 6 to 10; 1 2 3 alone is too short, though it stands there three times.
    assert found[11:16] == [6, 7, 8, 9, 10] and set(found[:11]) == set(found[16:]) == {-1}
    assert sources([1, 2, 3, 4, 1, 2, 3, 4], [True] * 8) == [-1] * 8  # what the model wrote is no original


def test_every_letter_of_a_copied_text_has_its_original():
    encoder, stream = Encoder(CHECKPOINTS / "moe-tiny"), MoeCorpus("train", 5)
    told = 0
    for _ in range(60):
        case = stream.of_kind("text", "en")
        ids, mask = encoder.conversation(case.messages)
        found = sources(ids, [m == 1 for m in mask])
        assert all(ids[i + 1] == ids[j] and j < i + 1 and mask[j] != 1 for i, j in enumerate(found) if j >= 0)
        told += sum(j >= 0 for j in found)
    assert told > 60 * 15


@pytest.fixture(scope="module")
def model():
    made = new_model(CHECKPOINTS / "moe-tiny", 1, recipes()["moe-tiny"]["routing"])
    load_into(made, CHECKPOINTS / "moe-tiny")
    return made


def test_the_loss_pulls_attention_to_the_original_and_only_plain_attention_is_watched(model):
    encoder, stream = Encoder(CHECKPOINTS / "moe-tiny"), MoeCorpus("train", 6)
    conversations = [stream.repetition("en").messages for _ in range(12)]
    heads = best_heads(model, encoder, conversations, 2)
    assert len(set(heads)) == 2 and all(layer >= 1 for layer, _ in heads)  # a first layer cannot know what comes next
    assert not any(layer.self_attn._forward_hooks for layer in model.model.layers)
    ids, mask = encoder.conversation(next(m for m in conversations if len(m[-1]["content"]) > 30))
    weights = torch.tensor([[float(m == 1) for m in mask[1:]]])
    originals = originals_of(torch.tensor([ids]), weights)
    assert (originals >= 0).sum() > 5
    watched, losses = Watched(model, heads), []
    optimizer = torch.optim.SGD(model.model.layers.parameters(), lr=0.05)
    for _ in range(4):
        model.config._attn_implementation = "eager"
        model.model(input_ids=torch.tensor([ids]), use_cache=False)
        losses.append(watched.loss(originals))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert watched.loss(torch.full_like(originals, -1)) == 0
    model.config._attn_implementation = "sdpa"  # which gives no attention to look at
    model.model(input_ids=torch.tensor([ids]), use_cache=False)
    assert watched.loss(originals) == 0
    watched.stop()
