"""The parts of a training step: each follows from the seed and the step alone, for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader

from training.loop import Stage
from training.vision.model import CELLS
from training.vision.paint import dense, pixels


def seeded(*values: object) -> str:
    """A seed from several values."""
    return "-".join(map(str, values))


def stream(stage: Stage, done: int, steps: int) -> Iterator[tuple]:
    """This process's parts of all steps from `done` on, in order; drawn ahead where a GPU would have to wait."""
    places = [(step, number) for step in range(done, steps) for number in stage.team.share(stage.parts)]
    if not stage.team.workers:
        yield from map(partial(drawn, stage, steps), places)
        return
    yield from DataLoader(
        places,
        batch_size=None,
        collate_fn=partial(drawn, stage, steps),
        num_workers=stage.team.workers,
        prefetch_factor=4,
        multiprocessing_context="fork",
    )


def drawn(stage: Stage, steps: int, place: tuple[int, int]) -> tuple:
    """The part of a step that `place` names, in the precision of its numbers where the step computes in 16 bits."""
    with torch.autocast("cpu", enabled=False):
        return stage.batch(*place, steps)


def painted(scenes) -> torch.Tensor:
    """Scenes as uint8 pictures (n, 336, 336, 3)."""
    return torch.from_numpy(np.stack([pixels(scene) for scene in scenes]))


def dense_of(scenes) -> tuple[torch.Tensor, torch.Tensor]:
    """Kinds and colours of the cells of some scenes: (n, 12, 12) each."""
    kinds, colours = zip(*(dense(scene, CELLS) for scene in scenes))
    return torch.from_numpy(np.stack(kinds)), torch.from_numpy(np.stack(colours))
