"""The loss on answers about pictures, which all stages of the decoder share, and how one part of a step is made."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from training.loop import ROUND_FROM, Stage
from training.team import Team
from training.tokenizer import Encoder
from training.vision.model import CELLS, VIEW_ROWS, Phi3V, apart, image_rows
from training.vision.paint import dense
from training.vision.parts import painted, seeded, stream
from training.vision.pointing import Look, Looks, Pointing, as_tensors, rows_of
from training.vision.settings import ANSWERS, FINISH
from training.vision.tasks import MIX, Album, Group
from training.vision.text import sequence, side_by_side

Seen = tuple[torch.Tensor, ...]  # what a stage sees of pictures: pixels, features or symbols


class AnswerStage(Stage):
    """Next-token loss on answers about pictures. What a picture looks like to the decoder is up to each subclass."""

    inside, parts, name, round_from = ("layers.", "img_projection."), ANSWERS.parts, "", ROUND_FROM

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder):
        self.team, self.recipe, self.encoder, self.all = team, recipe, encoder, model
        self.seed = recipe["seed"]
        self.own = recipe[self.name]
        self.pictures, self.rates = self.own["pictures"], tuple(self.own["rates"])
        self.model = self.trained(model).to(team.device)

    @property
    def rounded(self) -> nn.Module:
        return self.all.decoder

    def trained(self, model: Phi3V) -> nn.Module:
        """All that is trained; here the decoder's state is part of the whole model's."""
        return nn.ModuleDict({"all": model})

    def begin(self, done: int, steps: int) -> None:
        self.stream = stream(self, done, steps)

    # -- what a subclass may do otherwise --

    def group(self, kind: str, rng: random.Random) -> tuple[Album, Group, Seen]:
        """A group of pictures of a kind, the album to ask about it, and what is seen of it."""
        album = Album("train", seeded(self.name, self.seed, rng.random()))
        group = album.group(kind)
        return album, group, self.see(group.scenes)

    def see(self, scenes) -> Seen:
        """What `rows` takes, of pictures as they are drawn."""
        return (painted(scenes),)

    def rows(self, seen: Seen, views: int) -> torch.Tensor:
        """Rows for the decoder."""
        return self.all.vision.rows(self.all.vision.features(*seen), views)

    def kinds(self, progress: float) -> dict[str, float]:
        """Shares of the kinds of pictures."""
        return MIX

    def choose(self, progress: float, rng: random.Random, empty: float) -> list[str]:
        """Kinds of groups for one part. Pairs and clips have parts of their own, as they are longer.

        Args:
            empty: share of the empty rows that the part shows.
        """
        shares = self.kinds(progress)
        first = rng.choices(list(shares), list(shares.values()))[0]
        if first in ANSWERS.several:
            return [first] * max(1, self.pictures // ANSWERS.several[first])
        single = [kind for kind in shares if kind not in ANSWERS.several]
        return rng.choices(single, [shares[kind] for kind in single], k=self.pictures)

    def empty_shown(self, progress: float, rng: random.Random) -> float:
        """Share of the rows with nothing in them that stand in the context, in one part."""
        sparse = progress < self.own.get("sparse_until", 0) and rng.random() < ANSWERS.sparse
        return ANSWERS.empty_shown if sparse else 1.0

    def views(self, progress: float) -> int:
        """How often a picture stands in the context."""
        return 1 if progress < self.own.get("one_view_until", 0) else 2

    def weigh(self, ids: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """The weight of each token to be learned, in the order of `asked`."""
        return torch.ones(len(asked), device=ids.device)

    # -- one part of a step --

    def batch(self, step: int, number: int, steps: int) -> tuple:
        """One part.

        Returns:
            ids; positions; to which conversation each token belongs; which places predict a token to be learned;
            which rows of the pictures stand in the context; what to look at (`Pointing`); what is seen.
        """
        rng = random.Random(seeded(self.name, self.seed, step, number))
        if rng.random() < self.own.get("conclusions", 0):
            return self.conclusions(rng)
        views, empty = self.views(step / steps), self.empty_shown(step / steps, rng)
        rows = VIEW_ROWS if views == 1 else image_rows()
        made, seen, kept, looks = [], [], [], []
        for kind in self.choose(step / steps, rng, empty):
            album, group, shows = self.group(kind, rng)
            seen.append(shows)
            asked = self.questions(album, group, rng)
            some = rows_shown(group, rows, empty, rng)
            # One view is the last one, the global view.
            shown = [image_rows() - rows + np.flatnonzero(one) for one in some]
            made.append(side_by_side(self.encoder, asked, len(some), image_rows(), shown))
            looks += self.looks(len(made) - 1, made[-1], group, shown)
            kept += some
        return (
            *self.padded(made, rng),
            torch.from_numpy(np.flatnonzero(np.stack(kept))),
            as_tensors(looks, len(made)),
            [torch.cat(parts) for parts in zip(*seen)],
        )

    def questions(self, album: Album, group: Group, rng: random.Random) -> list[list[dict]]:
        """Conversations about a group of pictures, as far as they fit."""
        asked, room = [], ANSWERS.room
        for case in album.questions(group, 10 if len(group.scenes) == 1 else 1):
            room -= sum(len(self.encoder.tokenizer.encode(m["content"]).ids) + 2 for m in case.messages)
            if asked and room < 0:
                break
            asked.append(case.messages)
        if rng.random() < ANSWERS.in_turn:
            return [[message for messages in asked for message in messages]]
        return asked

    def padded(self, made: list[tuple[list[int], ...]], rng: random.Random) -> tuple[torch.Tensor, ...]:
        """The first four of what `batch` gives, of sequences as `side_by_side` makes them."""
        length = max(len(ids) for ids, *_ in made)
        ids = torch.full((len(made), length), self.encoder.id["<|endoftext|>"])
        positions, whose = (torch.zeros(len(made), length, dtype=torch.long) for _ in range(2))
        mask = torch.zeros(len(made), length)
        for i, (row, where, learn, belongs) in enumerate(made):
            for to, values in ((ids, row), (positions, where), (mask, learn), (whose, belongs)):
                to[i, : len(row)] = torch.tensor(values, dtype=to.dtype)
        if rng.random() < ANSWERS.long_table:
            positions += self.recipe["model"]["original_max_position_embeddings"]
        return ids, positions, whose, torch.from_numpy(np.flatnonzero(mask[:, 1:].numpy() > 0))

    def conclusions(self, rng: random.Random) -> tuple:
        """One part without pictures: what follows from a working that is already there.

        It costs a tenth of the same with pictures.
        """
        token_id = self.encoder.tokenizer.token_to_id
        album, made = Album("train", seeded(self.name, self.seed, rng.random())), []
        said, stop = {kind: set(map(token_id, words)) for kind, words in FINISH.said.items()}, token_id(".")
        for _ in range(FINISH.conclusions * self.pictures):
            kind = "pair" if rng.random() < FINISH.pairs else "clip"
            ids, positions, mask = sequence(self.encoder, album.ask(album.group(kind)).messages, 0, 0)
            working = max(i for i, token in enumerate(ids[:-2]) if token == stop)
            learn = [on * (i > working or token in said[kind]) for i, (token, on) in enumerate(zip(ids, mask))]
            made.append((ids, positions, learn, [0] * len(ids)))
        return *self.padded(made, rng), torch.zeros(0, dtype=torch.long), as_tensors([], len(made)), []

    def looks(
        self, number: int, made: tuple[list[int], ...], group: Group, shown: list[np.ndarray]
    ) -> list[Look]:  # fmt: skip
        """What the tokens of one sequence are about, as `Pointing` takes it."""
        ids, _, mask, whose = made
        at = {}
        for picture, rows in enumerate(shown):
            places = (i for i, token in enumerate(ids) if token == -1 - picture)
            at |= {(picture, row): place for row, place in zip(rows.tolist(), places)}
        there, found = Looks(group.kind, group.scenes), []
        for conversation in range(1, max(whose) + 1):
            places = [i for i, each in enumerate(whose) if each == conversation]
            tokens = [self.encoder.tokenizer.id_to_token(ids[i]) for i in places]
            for kind, token, cells in there.find(tokens, [mask[i] for i in places]):
                keys = [at[row] for cell in cells for row in rows_of(cell) if row in at]
                found.append((kind, number, places[token], keys))
        return found

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        *texts, looks, seen = next(self.stream)
        ids, positions, whose, asked, kept, *seen = (t.to(self.team.device) for t in (*texts, *seen))
        self.seen = seen
        rows = self.rows(seen, self.views(step / steps)).flatten(0, 1)[kept] if seen else None
        looks = {kind: tuple(t.to(self.team.device) for t in pair) for kind, pair in looks.items()}
        pointing = Pointing(looks, apart(whose))
        hidden = self.all.hidden(ids, positions, rows, allowed=pointing.allowed, look=pointing)[:, :-1]
        logits, wanted = self.all.decoder.lm_head(hidden.flatten(0, 1)[asked]).float(), ids[:, 1:].flatten()[asked]
        weights = self.weigh(ids, asked)
        loss = (functional.cross_entropy(logits, wanted, reduction="none") * weights).sum() / weights.sum()
        aside, there = pointing.loss()
        right = (logits.detach().argmax(-1) == wanted).sum()
        seen_now = {"tokens right": right, "tokens": len(wanted), "looks right": there, "looks": 1}
        return loss + ANSWERS.pointing * aside, seen_now


def rows_with_marks(scenes) -> np.ndarray:
    """Which of the 156 rows of a view show something in any of these pictures."""
    there = np.any([dense(scene, CELLS)[0] > 0 for scene in scenes], 0)
    return np.pad(there, ((0, 0), (0, 1))).flatten()


def rows_shown(group: Group, rows: int, empty: float, rng: random.Random) -> list[np.ndarray]:
    """Which of the last `rows` rows of each picture stand in the context: those with something, and some empty ones."""
    there = rows_with_marks(group.scenes)
    there = np.concatenate([there, [True], there])[-rows:]
    return [there | (np.array([rng.random() for _ in range(rows)]) < empty) for _ in group.scenes]
