"""Tells some attention heads where a copied token comes from, as vision/pointing.py tells them where a thing is.

A small model finds the place to copy from by the token before. Where words share their pieces ("hist" in "history" and
in "his tea"), that is not enough, and the copy jumps. The place is known here: an answer's tokens that stand in the
prompt in the same order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

SHORTEST = 4  # tokens in a row that count as copied
FLOOR = 1e-4  # of the attention, so that the loss stays finite


def sources(ids: list[int], learnt: list[bool]) -> list[int]:
    """For each position the place of the next token's original in an earlier part of the text; -1 where it is no copy.

    Only runs of SHORTEST tokens and more count, and of several originals the longest run, or the last.

    Args:
        ids: the tokens.
        learnt: which of them the model writes itself: these may be copies, and the others originals.

    >>> sources([7, 1, 2, 3, 4, 9, 1, 2, 3, 4, 8], [False] * 6 + [True] * 5)
    [-1, -1, -1, -1, -1, 1, 2, 3, 4, -1, -1]
    """
    tokens, written = np.array(ids), np.array(learnt)
    length = len(tokens)
    same = (tokens[:, None] == tokens[None]) & written[:, None] & ~written[None]
    run = np.zeros(
        (length + 1, length + 1), np.int32
    )  # tokens that agree up to (i, j), then the whole run that (i, j) is in
    for i in range(length):
        run[i + 1, 1:] = np.where(same[i], run[i, :-1] + 1, 0)
    whole = run[1:, 1:].copy()
    for i in range(length - 2, -1, -1):
        whole[i, :-1] = np.where(same[i, :-1] & same[i + 1, 1:], whole[i + 1, 1:], whole[i, :-1])
    whole *= np.tri(length, k=-1, dtype=np.int32)
    place = length - 1 - whole[:, ::-1].argmax(1)
    found = np.where(whole.max(1) >= SHORTEST, place, -1)
    return [*found[1:].tolist(), -1]


class Watched:
    """Keeps what the chosen heads attend to in the next forward pass; the attention must be computed plainly ("eager").

    Args:
        heads: (layer, head) pairs.
    """

    def __init__(self, model: nn.Module, heads: list[tuple[int, int]]):
        self.heads, self.seen = heads, {}
        self.hooks = [
            model.model.layers[layer].self_attn.register_forward_hook(
                lambda module, inputs, output, layer=layer: self.keep(layer, output[1])
            )
            for layer in sorted({layer for layer, _ in heads})
        ]

    def keep(self, layer: int, weights: torch.Tensor | None) -> None:
        self.seen[layer] = weights

    def stop(self) -> None:
        """Let the model go."""
        for hook in self.hooks:
            hook.remove()
        self.seen = {}

    def loss(self, originals: torch.Tensor) -> torch.Tensor:
        """Mean of -log of the attention on the original, over all copied tokens and heads; 0 where nothing is copied.

        Args:
            originals: (rows, length) places, -1 where there is none.
        """
        row, at = (originals >= 0).nonzero(as_tuple=True)
        if not len(row) or any(self.seen.get(layer) is None for layer, _ in self.heads):
            return torch.zeros((), device=originals.device)
        there = originals[row, at]
        mass = torch.stack([self.seen[layer][row, head, at, there] for layer, head in self.heads])
        return -(mass.float() + FLOOR).log().mean()


def originals_of(ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(rows, length) places of the originals in a batch of training/train.py: what weighs 1 is the model's own."""
    learnt = torch.nn.functional.pad(weights >= 1, (1, 0))
    found = [sources(row, mine) for row, mine in zip(ids.tolist(), learnt.tolist())]
    return torch.tensor(found, device=ids.device)


@torch.no_grad()
def best_heads(model: nn.Module, encoder, conversations, count: int = 4) -> list[tuple[int, int]]:
    """The heads that already attend most to the originals of copied tokens: those lose least when they are told to."""
    every = [
        (layer, head)
        for layer in range(model.config.num_hidden_layers)
        for head in range(model.config.num_attention_heads)
    ]
    device = next(model.parameters()).device
    watched, total = Watched(model, every), torch.zeros(len(every), device=device)
    implementation, model.config._attn_implementation = model.config._attn_implementation, "eager"
    for messages in conversations:
        ids, mask = encoder.conversation(messages)
        originals = torch.tensor([sources(ids, [m > 0 for m in mask])], device=device)
        model.model(input_ids=torch.tensor([ids], device=device), use_cache=False)
        row, at = (originals >= 0).nonzero(as_tuple=True)
        if len(row):
            total += torch.stack(
                [watched.seen[layer][row, head, at, originals[row, at]].mean() for layer, head in every]
            )
    model.config._attn_implementation = implementation
    watched.stop()
    return [every[i] for i in total.argsort(descending=True)[:count].tolist()]
