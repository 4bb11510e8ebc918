"""Gives a trained phimoe a new last layer, in which each topic has one expert to itself and eight are for all.

    python -m training.moe.last_layer training/runs/moe-tiny --out training/runs/new-layer
    mkdir training/runs/before && mv training/runs/moe-tiny* training/runs/before/
    python -m training make moe-tiny --begin training/runs/new-layer --steps 1600

Until then two experts share a topic, and neither is missed when it is taken away. The new experts are put together
from the neurons of the old ones: those that are busiest on a topic, and of what is left those that are busiest on
tokens that are alike whatever the topic. Then this layer alone learns to give what the old layer gave. The steps after
it train the whole model on.

The published moe-tiny got its last layer in this way. This module was written afterwards, from the description in
docs/training-log.md: it shows the way and does not repeat the numbers.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from training import weights as stored
from training.config import recipes
from training.loop import Stage, descend
from training.moe.corpus import TOPICS, MoeCorpus, topic
from training.moe.model import Phimoe, new_model
from training.moe.upcycle import alike, shared_router
from training.quantization import plain_state
from training.team import Team
from training.tokenizer import Encoder

NAME = "moe-tiny"
CONVERSATIONS = 2400  # whose tokens the layer is put together from and fitted to
STEPS, TOKENS = 1500, 4096  # steps, and tokens per step


@dataclass
class Seen:
    """What a layer's experts get and give on the tokens of many conversations.

    Args:
        inputs, outputs: (tokens, hidden). topics: (tokens,).
        chosen, shares: (tokens, 2) the experts of each token, and what their outputs are multiplied by.
    """

    inputs: torch.Tensor
    outputs: torch.Tensor
    topics: torch.Tensor
    chosen: torch.Tensor
    shares: torch.Tensor


@torch.no_grad()
def watch(model: Phimoe, layer: int, encoder: Encoder, seed: object, conversations: int) -> Seen:
    """Run conversations of the training's kind through a model, and keep what one layer's experts get and give."""
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in ("inputs", "outputs", "topics", "chosen", "shares")}

    def at_mlp(module, arguments, output):
        kept["inputs"].append(arguments[0][0].clone())
        kept["outputs"].append(output[0])

    def at_router(module, arguments, output):
        kept["shares"].append(output[1])
        kept["chosen"].append(output[2])

    mlp = model.model.layers[layer].mlp
    hooks = [mlp.register_forward_hook(at_mlp), mlp.router.register_forward_hook(at_router)]
    model.eval()
    corpus, longest = MoeCorpus("train", seed), model.config.original_max_position_embeddings
    for _ in tqdm(range(conversations), desc="watch", mininterval=5):
        case = corpus.sample()
        ids = encoder.conversation(case.messages)[0][:longest]
        kept["topics"].append(torch.full((len(ids),), topic(case)))
        model.model(input_ids=torch.tensor([ids]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return Seen(**{name: torch.cat(parts) for name, parts in kept.items()})


@torch.no_grad()
def busy(seen: Seen, experts: nn.Module, labels: torch.Tensor) -> torch.Tensor:
    """(8, neurons of all experts): how much each neuron gives to the tokens of each label, all in all.

    Neuron n of expert e has the place e * width + n.

    Args:
        labels: (tokens,) of 0 to 7.
    """
    count, _, width = experts.down_proj.shape
    found = torch.zeros(len(TOPICS), count * width)
    for e in range(count):
        tokens, choice = (seen.chosen == e).nonzero(as_tuple=True)
        gate, up = functional.linear(seen.inputs[tokens], experts.gate_up_proj[e]).chunk(2, dim=-1)
        gives = (functional.silu(gate) * up).abs() * experts.down_proj[e].norm(dim=0)
        gives = gives * seen.shares[tokens, choice][:, None]
        found[:, e * width : (e + 1) * width].index_add_(0, labels[tokens], gives)
    return found


@torch.no_grad()
def put_together(old: nn.Module, seen: Seen, seed: int) -> tuple[nn.Module, torch.Tensor]:
    """A new layer of experts from the neurons of an old one.

    Expert 2t has the neurons that are busiest on topic t. Expert 2k + 1 has, of those in no topic's expert, the ones
    that are busiest on group k of tokens that are alike apart from what their topic adds.

    Returns:
        The layer, and (experts, width) where each of its neurons was in the old one.
    """
    count, _, width = old.experts.down_proj.shape
    if count != 2 * len(TOPICS):
        raise ValueError(f"a layer of {2 * len(TOPICS)} experts is needed, and this one has {count}")
    of_topic = busy(seen, old.experts, seen.topics).argsort(dim=1, descending=True)[:, :width]
    kinds = alike(seen.inputs, seen.topics, seed)
    of_kind = busy(seen, old.experts, kinds)
    of_kind[:, of_topic.unique()] = -1  # these are taken
    of_kind = of_kind.argsort(dim=1, descending=True)[:, :width]
    neurons = torch.stack((of_topic, of_kind), 1).flatten(0, 1)
    new = copy.deepcopy(old)
    gate, up = (half.flatten(0, 1) for half in old.experts.gate_up_proj.chunk(2, dim=1))
    new.experts.gate_up_proj.copy_(torch.cat([gate[neurons], up[neurons]], dim=1))
    new.experts.down_proj.copy_(old.experts.down_proj.transpose(1, 2).flatten(0, 1)[neurons].transpose(1, 2))
    new.router.weight.copy_(shared_router(seen.inputs, seen.topics, kinds))
    new.router.shared = True
    new.router.load.fill_(1 / count)
    return new, neurons


@torch.no_grad()
def left_over(mlp: nn.Module, seen: Seen) -> float:
    """The share of the outputs' variance that a layer does not give."""
    mlp.eval()
    return (
        (mlp(seen.inputs[None])[0] - seen.outputs).square().sum() / (seen.outputs - seen.outputs.mean(0)).square().sum()
    ).item()


class Alone(nn.Module):
    """One layer of experts, with what the optimizers ask of a whole model."""

    inside, ROUTER_RATE = ("experts.",), Phimoe.ROUTER_RATE

    def __init__(self, mlp: nn.Module):
        super().__init__()
        self.mlp = mlp
        mlp.experts.gate_up_proj.matrices = 2 * mlp.experts.num_experts  # a copied parameter has lost it
        mlp.experts.down_proj.matrices = mlp.experts.num_experts

    @property
    def routers(self) -> list[nn.Module]:
        return [self.mlp.router]


class LayerStage(Stage):
    """The new layer learns what the old one gives, with the two losses on its router.

    Args:
        routing: of the recipe: the weights of the losses on routers.
    """

    inside = Alone.inside

    def __init__(self, mlp: nn.Module, seen: Seen, routing: dict, seed: int, tokens: int = TOKENS):
        self.model, self.seen, self.routing, self.seed, self.tokens = Alone(mlp), seen, routing, seed, tokens
        self.team = Team(device="cpu", workers=0)
        self.variance = (seen.outputs - seen.outputs.mean(0)).square().mean()

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        generator = torch.Generator().manual_seed(1_000_000 * self.seed + step)
        some = torch.randint(len(self.seen.inputs), (self.tokens,), generator=generator)
        self.model.train()
        given = self.model.mlp(self.seen.inputs[some][None])[0]
        left = (given - self.seen.outputs[some]).square().mean() / self.variance
        topics, known = self.seen.topics[some], torch.ones(self.tokens, dtype=torch.bool)
        balance, special = self.model.mlp.router.losses(topics, known, self.routing["target"])
        loss = left + self.routing["balance"] * balance + self.routing["special"] * special
        return loss, {"left": left.detach()}

    def summary(self, sums: dict[str, float]) -> dict[str, object]:
        return {"loss": round(sums["loss"] / sums["parts"], 5), "left": round(sums["left"] / sums["parts"], 5)}


def renew(
    model: Phimoe,
    encoder: Encoder,
    out: Path,
    layer: int = -1,
    steps: int = STEPS,
    seed: int = 1,
    conversations: int = CONVERSATIONS,
    tokens: int = TOKENS,
) -> dict[str, float]:
    """Replace one layer's experts in a model, which is changed.

    Args:
        out: a folder for the state of the fit, which resumes after an interruption.
        conversations: whose tokens are used; a tenth as many others are measured.

    Returns:
        The share of the old outputs' variance that is left over, on other conversations: "chosen" after the choice of
        neurons, "fitted" after the fit.
    """
    layer %= len(model.model.layers)
    old = model.model.layers[layer].mlp
    seen = watch(model, layer, encoder, seed, conversations)
    other = watch(model, layer, encoder, f"{seed}-checked", max(1, conversations // 10))
    torch.manual_seed(seed)
    new, _ = put_together(old, seen, seed)
    chosen = left_over(new, other)
    descend("layer", LayerStage(new, seen, model.routing, seed, tokens), steps, out)
    model.model.layers[layer].mlp = new
    return {"chosen": round(chosen, 4), "fitted": round(left_over(new, other), 4)}


def main(arguments: list[str] | None = None) -> None:
    """Write a run with a new last layer, from which `make --begin` trains on."""
    parser = argparse.ArgumentParser(
        prog="python -m training.moe.last_layer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="a finished run, or a published checkpoint (its 4 bits are expanded)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--layer", type=int, default=-1, help="which layer (default: the last one)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the fit (default {STEPS})")
    parser.add_argument("--seed", type=int, default=1, help="decides the conversations and the groups (default 1)")
    parser.add_argument(
        "--conversations", type=int, default=CONVERSATIONS, help=f"whose tokens are used (default {CONVERSATIONS})"
    )
    options = parser.parse_args(arguments)
    if options.out.resolve() == options.folder.resolve():
        parser.error("--out is the folder that is read: choose another")
    model = new_model(options.folder, options.seed, recipes()[NAME]["routing"])
    stored.load_into(model, options.folder)
    stored.copy_files(options.folder, options.out)
    encoder = Encoder(options.folder)
    left = renew(model, encoder, options.out, options.layer, options.steps, options.seed, options.conversations)
    stored.save(model.published(plain_state(model)), options.out)
    print(f"wrote {options.out}: left over {left['chosen']:.1%} by choice alone, {left['fitted']:.1%} after the fit")


if __name__ == "__main__":
    main()
