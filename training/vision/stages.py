"""The stages that train the decoder, each with its own view of the pictures."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

from training.team import Team
from training.tokenizer import Encoder
from training.vision.answers import AnswerStage, Seen
from training.vision.cache import Cache
from training.vision.model import Phi3V
from training.vision.parts import dense_of, painted
from training.vision.settings import ANSWERS, FINISH, SYMBOLS
from training.vision.symbols import Symbols, start_from_text
from training.vision.tasks import MIX, Album, Group
from training.vision.tower import dense_loss


class SymbolStage(AnswerStage):
    """The decoder on symbols (`symbols.py`), with no pixel painted.

    Kinds of pictures come in one after the other, each with at least half of the parts until the next one comes.
    """

    name = "symbols"

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder):
        self.symbols = Symbols(recipe["model"]["hidden_size"])
        if "start" in recipe:
            start_from_text(model, recipe["start"], encoder)
        self.symbols.start_from_words(model.decoder.model.embed_tokens.weight, encoder)
        super().__init__(model, recipe, team, encoder)

    def trained(self, model: Phi3V) -> nn.Module:
        return nn.ModuleDict({"decoder": model.decoder, "symbols": self.symbols})

    def see(self, scenes) -> Seen:
        return tuple(part.flatten(1) for part in dense_of(scenes))

    def rows(self, seen: Seen, views: int) -> torch.Tensor:
        return self.symbols(*seen, views)

    def kinds(self, progress: float) -> dict[str, float]:
        return {kind: share for kind, share in MIX.items() if SYMBOLS.enter[kind] <= progress}

    def choose(self, progress: float, rng: random.Random, empty: float) -> list[str]:
        newest = max(SYMBOLS.enter[kind] for kind in self.kinds(progress))
        if progress < SYMBOLS.newest_until and newest and rng.random() < SYMBOLS.newest:
            some = [kind for kind in MIX if SYMBOLS.enter[kind] == newest]
            return rng.choices(some, k=self.pictures // max(ANSWERS.several.get(kind, 1) for kind in some))
        return super().choose(progress, rng, empty)

    def views(self, progress: float) -> int:
        return 1


class DecoderStage(AnswerStage):
    """Projection and decoder on the cached features of many pictures."""

    name = "decoder"

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder, cache: Cache | None):
        self.cache = cache
        model.vision.requires_grad_(True)
        model.vision.img_processor.requires_grad_(False)
        super().__init__(model, recipe, team, encoder)

    def group(self, kind: str, rng: random.Random) -> tuple[Album, Group, Seen]:
        at = rng.choice(self.cache.of_kind[kind])
        album, group = self.cache.group(at)
        album.random = random.Random(rng.random())  # other questions each time
        return album, group, (torch.from_numpy(np.array(self.cache.cells(at))),)

    def see(self, scenes) -> Seen:
        return (features_of(self.all, scenes, self.team),)

    def rows(self, seen: Seen, views: int) -> torch.Tensor:
        return self.all.vision.rows(seen[0].float(), views)


class FinishStage(DecoderStage):
    """The same at a low rate, to its end in 4 bits, with many pairs and clips.

    Some of their parts show only the rows in which something is, so that many more fit into one; the others show all
    rows, as it will be. All pictures are drawn anew: 830 clips from a cache were answered by heart (.98) while new ones
    were not (.80).
    """

    name, round_from, group = "finish", 0.0, AnswerStage.group

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder):
        super().__init__(model, recipe, team, encoder, None)
        vocabulary = encoder.tokenizer.get_vocab()
        self.stop, self.weights = vocabulary["."], torch.ones(len(model.decoder.lm_head.weight), device=team.device)
        for word, weight in FINISH.decisive.items():
            self.weights[vocabulary[word]] = weight

    def weigh(self, ids: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Words that decide weigh more, and so does the conclusion: what follows the first sentence about several."""
        wanted, several = ids[:, 1:].flatten()[asked], (ids == -2).any(1, keepdim=True)
        stops = torch.zeros_like(ids[:, 1:])
        stops.view(-1)[asked] = (wanted == self.stop).long()
        # About several pictures there is one conversation in a sequence.
        behind = several & (stops.cumsum(1) > stops)
        return self.weights[wanted] * torch.where(behind.flatten()[asked], FINISH.concluded, 1.0)

    def kinds(self, progress: float) -> dict[str, float]:
        return FINISH.shares

    def empty_shown(self, progress: float, rng: random.Random) -> float:
        return 0.0 if rng.random() < FINISH.close else 1.0

    def choose(self, progress: float, rng: random.Random, empty: float) -> list[str]:
        if empty:
            some = super().choose(progress, rng, empty)
            return some * 2 if some[0] in ANSWERS.several else some
        kind = "pair" if rng.random() < FINISH.pairs else "clip"
        return [kind] * max(1, FINISH.close_groups * self.pictures // ANSWERS.several[kind])


class JointStage(AnswerStage):
    """All parts on fresh pictures, the tower too, which goes on to learn what is in each cell.

    Args:
        heads: of the tower's own stage, with the projection that they were trained with.
    """

    name = "joint"

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder, heads: nn.ModuleDict):
        model.vision.requires_grad_(True)
        model.vision.img_processor.vision_model.freeze_unused()
        self.heads = heads
        super().__init__(model, recipe, team, encoder)

    def trained(self, model: Phi3V) -> nn.Module:
        return nn.ModuleDict({"all": model, "heads": self.heads})

    def see(self, scenes) -> Seen:
        return *super().see(scenes), *dense_of(scenes)

    def rows(self, seen: Seen, views: int) -> torch.Tensor:
        self.features = self.all.vision.features(seen[0])
        return self.all.vision.rows(self.features, views)

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        loss, found = super().part(step, number, steps)
        if not self.seen:
            return loss, found
        x = self.heads["img_projection"](self.features)
        said = tuple(self.heads[name](x) for name in ("kinds", "colours", "place"))
        aside, more = dense_loss(said, *self.seen[1:])
        return loss + ANSWERS.dense * aside, found | more


@torch.no_grad()
def features_of(model: Phi3V, scenes, team: Team) -> torch.Tensor:
    """Merged features of some scenes, in full precision."""
    return model.vision.features(painted(scenes).to(team.device))
