"""The first stage: the tower learns from dense targets what has its centre in each cell of a picture."""

from __future__ import annotations

import random

import torch
from torch import nn
from torch.nn import functional

from training.loop import Stage
from training.team import Team
from training.vision.artist import Artist
from training.vision.model import CELLS, GRID, Phi3V
from training.vision.parts import dense_of, painted, seeded, stream
from training.vision.scene import COLOUR_NAMES, KINDS
from training.vision.settings import TOWER
from training.vision.tasks import Album


def tower_pictures(seed: str, count: int) -> tuple[torch.Tensor, ...]:
    """Pictures, kinds and colours for one part: mostly crowded pages, the rest as the questions will be about."""
    rng, scenes = random.Random(seed), []
    for i in range(count):
        if rng.random() < TOWER.pages:
            scenes.append(Artist(seeded(seed, i)).page())
        else:
            scenes.append(rng.choice(Album("train", seeded(seed, i)).group().scenes))
    return painted(scenes), *dense_of(scenes)


class DenseTower(nn.Module):
    """Tower and projection with linear heads per cell: what has its centre there, its colour, and where the cell is."""

    def __init__(self, vision: nn.Module, hidden: int):
        super().__init__()
        self.vision = vision
        self.kinds, self.colours = nn.Linear(hidden, len(KINDS)), nn.Linear(hidden, len(COLOUR_NAMES))
        self.place = nn.Linear(hidden, 2 * CELLS)
        for unused in (vision.glb_GN, vision.sub_GN):
            unused.requires_grad_(False)

    def forward(self, view: torch.Tensor, window: tuple[int, int] | None) -> tuple[torch.Tensor, ...]:
        x = self.vision.img_projection(self.vision.features(view, window))
        return self.kinds(x), self.colours(x), self.place(x)


class TowerStage(Stage):
    """Cross-entropy of what has its centre in each cell: a classifier of glyphs and shapes at 144 places at once."""

    inside, parts = ("encoder.layers.", "img_projection."), TOWER.parts

    def __init__(self, model: Phi3V, recipe: dict, team: Team):
        self.team, self.seed, self.count = team, recipe["seed"], recipe["tower"]["pictures"]
        self.rates, self.near_until = tuple(recipe["tower"]["rates"]), recipe["tower"]["near_until"]
        self.model = DenseTower(model.vision, recipe["model"]["hidden_size"]).to(team.device)

    def begin(self, done: int, steps: int) -> None:
        self.stream = stream(self, done, steps)

    def batch(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, ...]:
        """Pictures, kinds and colours of one part."""
        return tower_pictures(seeded("tower", self.seed, step, number), self.count)

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        view, kinds, colours = (t.to(self.team.device) for t in next(self.stream))
        rng = random.Random(seeded("window", self.seed, step, number))
        near = step < self.near_until * steps
        window = (rng.randrange(0, GRID, 2), rng.randrange(0, GRID, 2)) if near else None
        return dense_loss(self.model(view, window), kinds, colours)


def dense_loss(
    said: tuple[torch.Tensor, ...], kinds: torch.Tensor, colours: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss of what `DenseTower` says of some pictures, and how often it is right, as sums.

    Args:
        kinds, colours: (n, 12, 12), as `paint.dense` gives them.
    """
    said, tint, where = (t.float().flatten(0, 1) for t in said)
    kinds, colours = kinds.flatten(), colours.flatten()
    there = kinds > 0
    glyphs = there & (kinds < KINDS.index("circle"))
    others = there & ~glyphs
    each = functional.cross_entropy(said, kinds, reduction="none")
    weights = torch.where(glyphs, 1.0, torch.where(others, TOWER.other, TOWER.empty))
    index = there.nonzero()[:, 0] % CELLS**2
    places = torch.stack([index // CELLS, index % CELLS], 1)
    tint, where = tint[there], where[there].unflatten(1, (2, CELLS))
    loss = (each * weights).sum() / weights.sum()
    loss = loss + TOWER.colour * functional.cross_entropy(tint, colours[there])
    loss = loss + TOWER.place * functional.cross_entropy(where.flatten(0, 1), places.flatten())
    best = said.detach().argmax(-1) == kinds
    return loss, {
        "glyphs right": best[glyphs].sum(),
        "glyphs": glyphs.sum(),
        "others right": best[others].sum(),
        "others": others.sum(),
        "empty right": best[~there].sum(),
        "empty": (~there).sum(),
        "colours right": (tint.detach().argmax(-1) == colours[there]).sum(),
        "colours": there.sum(),
        "places right": (where.detach().argmax(-1) == places).sum(),
        "places": 2 * there.sum(),
    }
