"""Features of many pictures in a file, for the stages that train the decoder while the tower stays as it is."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from training.team import Team, precision
from training.vision.model import CELLS, merged
from training.vision.parts import painted, seeded
from training.vision.settings import BLOCK
from training.vision.tasks import MIX, Album, Group


class Cache:
    """Features of many pictures in one memory-mapped file of half-precision numbers.

    Groups of pictures follow from the seed; only features are stored. What was filled before a stop stays.

    Args:
        folder: where the file goes. pictures: about how many it holds. width: of a merged cell.
        shares: of the kinds of groups.
    """

    def __init__(self, folder: Path, seed: int, pictures: int, width: int, shares: dict[str, float] = MIX):
        self.file, self.index = folder / "features.f16", folder / "features.npz"
        self.seed, self.pictures, self.width, self.shares = seed, pictures, width, shares

    def group(self, at: int) -> tuple[Album, Group]:
        """A group, and the album that drew it."""
        rng = random.Random(seeded("kind", self.seed, at))
        kind = rng.choices(list(self.shares), list(self.shares.values()))[0]
        album = Album("train", seeded("cache", self.seed, at))
        return album, album.group(kind)

    def plan(self, mark: str) -> None:
        """Decide which groups there are and make room; `mark` names the tower's state, another one starts anew."""
        if self.index.exists() and str(np.load(self.index)["mark"]) == mark:
            return
        kinds, starts = [], [0]
        while starts[-1] < self.pictures:
            group = self.group(len(kinds))[1]
            kinds.append(group.kind)
            starts.append(starts[-1] + len(group.scenes))
        for file in (self.file, self.file.with_suffix(".done")):
            file.unlink(missing_ok=True)
        np.memmap(self.file, np.float16, "w+", shape=(starts[-1], CELLS**2, self.width))
        np.memmap(self.file.with_suffix(".done"), np.uint8, "w+", shape=(len(kinds) // BLOCK + 1,))
        np.savez(self.index, kinds=kinds, starts=starts, mark=mark)

    def make(self, tower: nn.Module, team: Team) -> None:
        """The features of this tower, as far as they are missing."""
        if team.rank == 0:
            state = sum(p.double().abs().sum().item() for p in tower.parameters())
            self.plan(f"{self.pictures} pictures, {self.shares}, {state:.6f}")
        team.wait()
        self.open()
        self.fill(tower, team)

    def open(self) -> None:
        """Map the files of `plan`."""
        index = np.load(self.index)
        self.starts = index["starts"]
        self.of_kind: dict[str, list[int]] = {}
        for i, kind in enumerate(index["kinds"]):
            self.of_kind.setdefault(str(kind), []).append(i)
        self.features = np.memmap(self.file, np.float16, "r+", shape=(int(self.starts[-1]), CELLS**2, self.width))
        self.done = np.memmap(self.file.with_suffix(".done"), np.uint8, "r+")

    def fill(self, tower: nn.Module, team: Team) -> None:
        """Each process makes every `team.size`th block that is missing."""
        blocks = [b for b in range(team.rank, len(self.done), team.size) if not self.done[b]]
        for block in tqdm(blocks, desc="cache", mininterval=5, disable=team.rank > 0):
            groups = range(block * BLOCK, min((block + 1) * BLOCK, len(self.starts) - 1))
            scenes = [scene for g in groups for scene in self.group(g)[1].scenes]
            for at in range(0, len(scenes), 16):
                view = painted(scenes[at : at + 16]).to(team.device)
                with torch.no_grad(), precision(team.device):
                    made = merged(tower(view)).clamp(-6e4, 6e4).half().cpu().numpy()
                start = self.starts[groups[0]] + at
                self.features[start : start + len(made)] = made
            self.features.flush()
            self.done[block] = 1
            self.done.flush()
        team.wait()

    def cells(self, group: int) -> np.ndarray:
        """Features of a group's pictures: (pictures, 144, width)."""
        return self.features[self.starts[group] : self.starts[group + 1]]
