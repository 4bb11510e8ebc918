"""Trains vision-tiny in stages: the tower on dense targets and the decoder on symbols, side by side; then projection and
decoder on the tower's features; then, where there is a GPU, all together.

Every step is made of the same parts for any number of processes, each part follows from the seed and the step alone, and
every stage saves its state, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.config import RUNS, model_config, recipes, write_json
from training.quantization import plain_state, start_rounding
from training.tokenizer import STOP_TOKENS, Encoder
from training.train import (
    ROUND_FROM,
    add_up,
    here,
    load_state,
    optimizers,
    precision,
    process_count,
    rate,
    save_state,
    save_weights,
    set_rates,
    together,
    workers_for_gpu,
)

from .draw import COLOUR_NAMES, KINDS, Artist, dense, pixels
from .model import CELLS, GRID, VIEW_ROWS, Phi3V, apart, exported_names, image_rows, merged
from .pointing import Look, Looks, Pointing, as_tensors, rows_of
from .symbols import Symbols, fit, start_from_text
from .tasks import MIX, TASKS, Album, Group, draw_case
from .text import own_tokenizer, sequence, side_by_side

# Parts of a step; each process works on its share of them. On shapes alone the decoder learned more from the same pictures in
# steps of two parts than of one; of four it was not compared.
TOWER_PARTS, DECODER_PARTS = 1, 2
SAVE_SECONDS, LOG_EVERY = 120, 25
PAGES = 0.75                      # share of the pictures for the tower that are crowded pages
EMPTY_WEIGHT, OTHER_WEIGHT = 0.3, 2.0   # of an empty cell, and of one with something else than a glyph, in the tower's loss
COLOUR_WEIGHT, PLACE_WEIGHT = 0.3, 0.1  # of a mark's colour and of its cell's row and column
ANSWER_ROOM = 200                 # tokens of questions and answers a picture
POINT_WEIGHT = 0.3                # of the loss that tells some heads where to look
DENSE_WEIGHT = 0.5                # of what is in each cell, where all parts are trained together
IN_TURN = 0.12                    # share of the pictures whose questions are asked one after the other; the others are side by side
SPARSE, EMPTY_SHOWN = 0.75, 0.1   # share of the parts that are sparse at first; share of a picture's empty rows that they show
BLOCK = 32                        # groups whose features are made at a time
# When each kind of pictures comes in, as a share of the steps on symbols: all at once they take many times longer to be learned.
ENTER = {"lines": 0.0, "sign": 0.0, "shapes": 0.1, "objects": 0.1, "chart": 0.16, "table": 0.16, "crowd": 0.26, "pair": 0.32, "clip": 0.38}
NEWEST_UNTIL = 0.44
SEVERAL = {"pair": 2, "clip": 4}  # so many times fewer groups in a part of kinds with several pictures
STAGES = ("tower", "symbols", "decoder", "joint", "finish")
# Of the last stage: other shares of its parts; the share of parts that show only what there is, of pairs and clips, and how many times more.
OTHER_SHARES = {"pair": 0.3, "clip": 0.7, "objects": 0.08, "sign": 0.2}
CLOSE, CLOSE_GROUPS = 0.2, 6
DECISIVE = {"▁different": 6.0, ";": 3.0}   # weights of the tokens that say whether two things differ: a few among many
CONCLUDED = 4.0                   # weight of the tokens of a conclusion from several pictures
PAIRS = 0.3                       # share of pairs among conclusions; the others are clips
SAID = {"pair": (";", ".", "▁different"), "clip": (",", ";", ".", "▁different")}   # what follows from a working while it is written: whether two things differ
CONCLUSIONS = 6                   # times as many texts in a part without pictures as there would be pictures
EMPTY_FITTED, EMPTY_FIT_WEIGHT = 0.05, 0.3  # share of the empty cells to which the projection is fitted, and their weight
AIM_STEPS = 300
HELD_OUT_CASES = 16               # a task, for the progress shown while training


@dataclass
class Team:
    """The processes that train together. They hold equal weights; each works on its share of a step's parts."""

    rank: int = 0
    size: int = 1
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")
    workers: int = field(default_factory=workers_for_gpu)      # processes that draw ahead

    def share(self, parts: int) -> range:
        return range(self.rank, parts, self.size)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def add_up(self, parameters: list[nn.Parameter]) -> None:
        """Give every process the sum of all gradients."""
        if self.size > 1:
            for p in parameters:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            add_up([p.grad for p in parameters])


# ---- what both kinds of stages share ---------------------------------------------------------------------------


def descend(name: str, stage, steps: int, rates: list[float], folder: Path, team: Team, round_from: float = 2.0,
            show=None, stop_at: int | None = None) -> bool:
    """Train a stage to its end, or from where it was stopped.

    Args:
        stage: has `model` (all that is trained), `parts` (of a step), `inside` (names of its Muon matrices) and `part(step, number)`, which
            gives one part's loss and a dictionary of sums to show.
        round_from: share of the steps after which `stage.rounded` is seen as rounded to 4 bits.
        show: called with a step now and then in the first process; gives a dictionary for the log.
        stop_at: leave after this step as an interruption would; for tests.

    Returns whether the stage is finished.
    """
    model, both = stage.model, optimizers(stage.model, stage.inside)
    state_file = folder / f"{name}.state.pt"
    done = load_state(state_file, model, both, team.device)
    team.wait()                                                 # nobody saves before all have loaded
    trained = [p for p in model.parameters() if p.requires_grad]
    log = (folder / f"{name}.log.jsonl").open("a", encoding="utf-8") if team.rank == 0 else None
    sums: dict[str, float] = {}
    saved = time.monotonic()
    bar = tqdm(range(done, steps), initial=done, total=steps, desc=name, mininterval=5, disable=team.rank > 0)
    for step in bar:
        if step >= round_from * steps:
            start_rounding(stage.rounded)
        set_rates(both, rates, rate(step, steps))
        for number in team.share(stage.parts):
            with precision(team.device):
                loss, seen = stage.part(step, number, steps)
            (loss / stage.parts).backward()
            for key, value in {"loss": loss.detach(), "parts": 1, **seen}.items():
                sums[key] = sums.get(key, 0) + value
        team.add_up(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        now = (step + 1) % LOG_EVERY == 0 or step + 1 == steps
        if now:
            sums = {key: float(value) for key, value in sums.items()}      # only now, as a GPU would have to be waited for
            if not math.isfinite(sums["loss"]):
                raise FloatingPointError(f"{name}: the loss became {sums['loss']} before step {step + 1}")
        if now and team.rank == 0:
            line = {"step": step + 1, "loss": round(sums["loss"] / sums["parts"], 4), "seconds": round(time.time()), **ratios(sums)}
            if show and ((step + 1) % (LOG_EVERY * 16) == 0 or step + 1 == steps):
                line |= show(step + 1)
            bar.set_postfix({k: v for k, v in line.items() if k not in ("step", "seconds", "held out")})
            log.write(json.dumps(line) + "\n")
            log.flush()
        if now:
            sums = {}
        last = step + 1 in (steps, stop_at)
        if team.rank == 0 and (last or time.monotonic() - saved > SAVE_SECONDS):
            save_state(state_file, step + 1, model, both)
            saved = time.monotonic()
        if step + 1 == stop_at:
            break
    team.wait()
    return not stop_at or stop_at >= steps


def ratios(sums: dict[str, float]) -> dict[str, float]:
    """Shares from sums: {"glyphs right": 3, "glyphs": 4} gives {"glyphs": 0.75}."""
    return {key.removesuffix(" right"): round(value / max(1, sums[key.removesuffix(" right")]), 4)
            for key, value in sums.items() if key.endswith(" right")}


def seeded(*values: object) -> str:
    return "-".join(map(str, values))


# ---- first stage: the tower on dense targets ---------------------------------------------------------------------


def tower_pictures(seed: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, kinds and colours for one part: mostly crowded pages, the rest as the questions will be about."""
    rng, scenes = random.Random(seed), []
    for i in range(count):
        scenes.append(Artist(seeded(seed, i)).page() if rng.random() < PAGES else rng.choice(Album("train", seeded(seed, i)).group().scenes))
    return np.stack([pixels(scene) for scene in scenes]), *dense_of(scenes)


def dense_of(scenes) -> tuple[np.ndarray, np.ndarray]:
    """Kinds and colours of the cells of some scenes: (n, 12, 12) each."""
    return tuple(np.stack(part) for part in zip(*(dense(scene, CELLS) for scene in scenes)))


class DenseTower(nn.Module):
    """Tower and projection with linear heads a cell: what has its centre there, in which colour, and where the cell is."""

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


class TowerStage:
    """Cross-entropy of what has its centre in each cell: a classifier of glyphs and shapes at 144 places at once."""

    inside, parts = ("encoder.layers.", "img_projection."), TOWER_PARTS

    def __init__(self, model: Phi3V, recipe: dict, team: Team):
        self.team, self.seed, self.count, self.stream = team, recipe["seed"], recipe["tower"]["pictures"], None
        self.near_until = recipe["tower"]["near_until"]
        self.model = DenseTower(model.vision, recipe["model"]["hidden_size"]).to(team.device)

    def batch(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, ...]:
        """Pictures, kinds and colours of one part."""
        return tuple(map(torch.from_numpy, tower_pictures(seeded("tower", self.seed, step, number), self.count)))

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        if self.stream is None:
            self.stream = stream(self, step, steps)
        view, kinds, colours = (t.to(self.team.device) for t in next(self.stream))
        rng = random.Random(seeded("window", self.seed, step, number))
        window = (rng.randrange(0, GRID, 2), rng.randrange(0, GRID, 2)) if step < self.near_until * steps else None
        return dense_loss(self.model(view, window), kinds, colours)


def dense_loss(said: tuple[torch.Tensor, ...], kinds: torch.Tensor, colours: torch.Tensor) -> tuple[torch.Tensor, dict]:
    """Loss of what `DenseTower` says of some pictures, and how often it is right, as sums.

    Args:
        kinds, colours: (n, 12, 12), as `draw.dense` gives them.
    """
    said, tint, where = (t.float().flatten(0, 1) for t in said)
    kinds, colours = kinds.flatten(), colours.flatten()
    there = kinds > 0
    glyphs = there & (kinds < KINDS.index("circle"))
    others = there & ~glyphs
    each = functional.cross_entropy(said, kinds, reduction="none")
    weights = torch.where(glyphs, 1.0, torch.where(others, OTHER_WEIGHT, EMPTY_WEIGHT))
    index = there.nonzero()[:, 0] % CELLS**2
    places = torch.stack([index // CELLS, index % CELLS], 1)
    loss = (each * weights).sum() / weights.sum() + COLOUR_WEIGHT * functional.cross_entropy(tint[there], colours[there])
    loss = loss + PLACE_WEIGHT * functional.cross_entropy(where[there].unflatten(1, (2, CELLS)).flatten(0, 1), places.flatten())
    best = said.detach().argmax(-1) == kinds
    return loss, {"glyphs right": best[glyphs].sum(), "glyphs": glyphs.sum(), "others right": best[others].sum(),
                  "others": others.sum(), "empty right": best[~there].sum(), "empty": (~there).sum(),
                  "colours right": (tint.detach().argmax(-1) == colours)[there].sum(), "colours": there.sum(),
                  "places right": (where[there].detach().unflatten(1, (2, CELLS)).argmax(-1) == places).sum(), "places": 2 * there.sum()}


# ---- second stage: projection and decoder on the cache --------------------------------------------------------------


class Cache:
    """Features of many pictures in one memory-mapped file of half-precision numbers.

    Groups of pictures follow from the seed; only features are stored. What was filled before a stop stays.

    Args:
        folder: where the file goes. pictures: about how many it holds. width: of a merged cell. shares: of the kinds of groups.
    """

    def __init__(self, folder: Path, seed: int, pictures: int, width: int, shares: dict[str, float] = MIX):
        self.file, self.index = folder / "features.f16", folder / "features.npz"
        self.seed, self.pictures, self.width, self.shares = seed, pictures, width, shares

    def group(self, at: int) -> tuple[Album, Group]:
        """A group, and the album that drew it."""
        kind = random.Random(seeded("kind", self.seed, at)).choices(list(self.shares), list(self.shares.values()))[0]
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
            self.plan(f"{self.pictures} pictures, {self.shares}, {sum(p.double().abs().sum().item() for p in tower.parameters()):.6f}")
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
                view = torch.from_numpy(np.stack([pixels(scene) for scene in scenes[at : at + 16]])).to(team.device)
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


class AnswerStage:
    """Next-token loss on answers about pictures. What a picture looks like to the decoder is up to each of the stages below."""

    inside, parts, name, round_from = ("layers.", "img_projection."), DECODER_PARTS, "", ROUND_FROM

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder):
        self.team, self.recipe, self.encoder, self.stream = team, recipe, encoder, None
        self.pictures, self.model, self.rounded = recipe[self.name]["pictures"], self.trained(model).to(team.device), model.decoder
        self.all = model

    def trained(self, model: Phi3V) -> nn.Module:
        """All that is trained; here the decoder's state is part of the whole model's."""
        return nn.ModuleDict({"all": model})

    def group(self, kind: str, rng: random.Random) -> tuple[Album, Group, tuple[torch.Tensor, ...]]:
        """A group of pictures of a kind, the album to ask about it, and what is seen of it."""
        album = Album("train", seeded(self.name, self.recipe["seed"], rng.random()))
        group = album.group(kind)
        return album, group, self.see(group.scenes)

    def see(self, scenes) -> tuple[torch.Tensor, ...]:
        """What `rows` takes, of pictures as they are drawn."""
        return (torch.from_numpy(np.stack([pixels(scene) for scene in scenes])),)

    def rows(self, seen: tuple[torch.Tensor, ...], views: int) -> torch.Tensor:
        """Rows for the decoder."""
        return self.all.vision.rows(self.all.vision.features(*seen), views)

    def kinds(self, progress: float) -> dict[str, float]:
        """Shares of the kinds of pictures."""
        return MIX

    def choose(self, progress: float, rng: random.Random, empty: float) -> list[str]:
        """Kinds of groups for one part, of which a share of the empty rows is shown. Pairs and clips have parts of their own, as they are longer."""
        shares = self.kinds(progress)
        first = rng.choices(list(shares), list(shares.values()))[0]
        if first in SEVERAL:
            return [first] * max(1, self.pictures // SEVERAL[first])
        single = [kind for kind in shares if kind not in SEVERAL]
        return rng.choices(single, [shares[kind] for kind in single], k=self.pictures)

    def empty_shown(self, progress: float, rng: random.Random) -> float:
        """Share of the rows with nothing in them that stand in the context, in one part."""
        return EMPTY_SHOWN if progress < self.recipe[self.name].get("sparse_until", 0) and rng.random() < SPARSE else 1.0

    def views(self, progress: float) -> int:
        """How often a picture stands in the context."""
        return 1 if progress < self.recipe[self.name].get("one_view_until", 0) else 2

    def batch(self, step: int, number: int, steps: int) -> tuple:
        """One part: ids, positions, to which conversation each token belongs, which places predict a token to be learned, which rows of
        the pictures stand in the context, what to look at (`Pointing`), and what is seen."""
        rng = random.Random(seeded(self.name, self.recipe["seed"], step, number))
        if rng.random() < self.recipe[self.name].get("conclusions", 0):
            return self.conclusions(rng)
        views, empty = self.views(step / steps), self.empty_shown(step / steps, rng)
        rows = VIEW_ROWS if views == 1 else image_rows()
        skipped = image_rows() - rows                            # one view is the last one, the global view
        made, seen, kept, looks = [], [], [], []
        for kind in self.choose(step / steps, rng, empty):
            album, group, shows = self.group(kind, rng)
            seen.append(shows)
            asked, room = [], ANSWER_ROOM
            for case in album.questions(group, 10 if len(group.scenes) == 1 else 1):
                room -= sum(len(self.encoder.tokenizer.encode(m["content"]).ids) + 2 for m in case.messages)
                if asked and room < 0:
                    break
                asked.append(case.messages)
            if rng.random() < IN_TURN:
                asked = [[message for messages in asked for message in messages]]
            there = rows_with_marks(group.scenes)
            there = np.concatenate([there, [True], there])[-rows:]
            some = [there | (np.array([rng.random() for _ in range(rows)]) < empty) for _ in group.scenes]
            shown = [skipped + np.flatnonzero(one) for one in some]
            made.append(side_by_side(self.encoder, asked, len(some), image_rows(), shown))
            looks += self.looks(len(made) - 1, made[-1], group, shown)
            kept += some
        return *self.padded(made, rng), torch.from_numpy(np.flatnonzero(np.stack(kept))), as_tensors(looks, len(made)), [torch.cat(parts) for parts in zip(*seen)]

    def padded(self, made: list[tuple[list[int], ...]], rng: random.Random) -> tuple[torch.Tensor, ...]:
        """The first four of what `batch` gives, of sequences as `side_by_side` makes them."""
        length = max(len(ids) for ids, *_ in made)
        ids = torch.full((len(made), length), self.encoder.id["<|endoftext|>"])
        positions, whose = torch.zeros(len(made), length, dtype=torch.long), torch.zeros(len(made), length, dtype=torch.long)
        mask = torch.zeros(len(made), length)
        for i, (row, where, learn, belongs) in enumerate(made):
            for to, values in ((ids, row), (positions, where), (mask, learn), (whose, belongs)):
                to[i, : len(row)] = torch.tensor(values, dtype=to.dtype)
        # The long RoPE table is chosen for a whole request, so short texts must meet it too.
        if rng.random() < 0.15:
            positions += self.recipe["model"]["original_max_position_embeddings"]
        return ids, positions, whose, torch.from_numpy(np.flatnonzero(mask[:, 1:].numpy() > 0))

    def conclusions(self, rng: random.Random) -> tuple:
        """One part without pictures: what follows from a working that is already there. It costs a tenth of the same with pictures."""
        album, made, stop = Album("train", seeded(self.name, self.recipe["seed"], rng.random())), [], self.encoder.tokenizer.token_to_id(".")
        said = {kind: set(map(self.encoder.tokenizer.token_to_id, words)) for kind, words in SAID.items()}
        for _ in range(CONCLUSIONS * self.pictures):
            kind = "pair" if rng.random() < PAIRS else "clip"
            ids, positions, mask = sequence(self.encoder, album.ask(album.group(kind)).messages, 0, 0)
            working = max(i for i, token in enumerate(ids[:-2]) if token == stop)
            made.append((ids, positions, [learn * (i > working or token in said[kind]) for i, (token, learn) in enumerate(zip(ids, mask))], [0] * len(ids)))
        return *self.padded(made, rng), torch.zeros(0, dtype=torch.long), as_tensors([], len(made)), []

    def looks(self, number: int, made: tuple[list[int], ...], group: Group, shown: list[np.ndarray]) -> list[Look]:
        """What the tokens of one sequence are about, as `Pointing` takes it."""
        ids, _, mask, whose = made
        at = {}
        for picture, rows in enumerate(shown):
            at |= {(picture, row): place for row, place in zip(rows.tolist(), (i for i, token in enumerate(ids) if token == -1 - picture))}
        there, found = Looks(group.kind, group.scenes), []
        for conversation in range(1, max(whose) + 1):
            places = [i for i, each in enumerate(whose) if each == conversation]
            tokens = [self.encoder.tokenizer.id_to_token(ids[i]) for i in places]
            for kind, token, cells in there.find(tokens, [mask[i] for i in places]):
                found.append((kind, number, places[token], [at[row] for cell in cells for row in rows_of(cell) if row in at]))
        return found

    def weigh(self, ids: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """The weight of each token to be learned, in the order of `asked`."""
        return torch.ones(len(asked), device=ids.device)

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        if self.stream is None:
            self.stream = stream(self, step, steps)
        *texts, looks, seen = next(self.stream)
        ids, positions, whose, asked, kept, *seen = (t.to(self.team.device) for t in (*texts, *seen))
        self.seen, rows = seen, self.rows(seen, self.views(step / steps)).flatten(0, 1)[kept] if seen else None
        pointing = Pointing({kind: tuple(t.to(self.team.device) for t in pair) for kind, pair in looks.items()}, apart(whose))
        hidden = self.all.hidden(ids, positions, rows, allowed=pointing.allowed, look=pointing)[:, :-1]
        logits, wanted = self.all.decoder.lm_head(hidden.flatten(0, 1)[asked]).float(), ids[:, 1:].flatten()[asked]
        weights = self.weigh(ids, asked)
        loss = (functional.cross_entropy(logits, wanted, reduction="none") * weights).sum() / weights.sum()
        aside, there = pointing.loss()
        return loss + POINT_WEIGHT * aside, {"tokens right": (logits.detach().argmax(-1) == wanted).sum(), "tokens": len(wanted),
                                             "looks right": there, "looks": 1}


def stream(stage, done: int, steps: int):
    """The parts of all steps from `done` on that are this process's, in order; drawn ahead where a GPU would have to wait."""
    places = [(step, number) for step in range(done, steps) for number in stage.team.share(stage.parts)]
    if not stage.team.workers:
        yield from map(partial(drawn, stage, steps), places)
    else:
        yield from DataLoader(places, batch_size=None, collate_fn=partial(drawn, stage, steps), num_workers=stage.team.workers, prefetch_factor=4,
                              multiprocessing_context="fork")


def drawn(stage, steps: int, place: tuple[int, int]) -> tuple:
    """The part of a step that `place` names, in the precision of its numbers also where the step computes in 16 bits."""
    with torch.autocast("cpu", enabled=False):
        return stage.batch(*place, steps)


class SymbolStage(AnswerStage):
    """The decoder on symbols (`symbols.py`), with no pixel painted.

    Kinds of pictures come in one after the other (`ENTER`), each with at least half of the parts until the next one comes.
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

    def see(self, scenes) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(part).flatten(1) for part in dense_of(scenes))

    def rows(self, seen: tuple[torch.Tensor, ...], views: int) -> torch.Tensor:
        return self.symbols(*seen, views)

    def kinds(self, progress: float) -> dict[str, float]:
        return {kind: share for kind, share in MIX.items() if ENTER[kind] <= progress}

    def choose(self, progress: float, rng: random.Random, empty: float) -> list[str]:
        newest = max(ENTER[kind] for kind in self.kinds(progress))
        if progress < NEWEST_UNTIL and newest and rng.random() < 0.5:
            some = [kind for kind in MIX if ENTER[kind] == newest]
            return rng.choices(some, k=self.pictures // max(SEVERAL.get(kind, 1) for kind in some))
        return super().choose(progress, rng, empty)

    def views(self, progress: float) -> int:
        return 1


class DecoderStage(AnswerStage):
    """Projection and decoder on the cached features of many pictures."""

    name = "decoder"

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder, cache: Cache):
        self.cache = cache
        model.vision.requires_grad_(True)
        model.vision.img_processor.requires_grad_(False)
        super().__init__(model, recipe, team, encoder)

    def group(self, kind: str, rng: random.Random) -> tuple[Album, Group, tuple[torch.Tensor, ...]]:
        at = rng.choice(self.cache.of_kind[kind])
        album, group = self.cache.group(at)
        album.random = random.Random(rng.random())               # other questions each time
        return album, group, (torch.from_numpy(self.cache.cells(at)),)

    def see(self, scenes) -> tuple[torch.Tensor, ...]:
        return (features_of(self.all, scenes, self.team),)

    def rows(self, seen: tuple[torch.Tensor, ...], views: int) -> torch.Tensor:
        return self.all.vision.rows(seen[0].float(), views)


class FinishStage(DecoderStage):
    """The same at a low rate, to its end in 4 bits, with many pairs and clips.

    Some of their parts show only the rows in which something is, so that many more fit into one; the others show all rows, as it will
    be. All pictures are drawn anew: 830 clips from a cache were answered by heart (.98) while new ones were not (.80).
    """

    name, round_from, group = "finish", 0.0, AnswerStage.group

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder):
        super().__init__(model, recipe, team, encoder, None)
        vocabulary = encoder.tokenizer.get_vocab()
        self.stop, self.weights = vocabulary["."], torch.ones(len(model.decoder.lm_head.weight), device=team.device)
        for word, weight in DECISIVE.items():
            self.weights[vocabulary[word]] = weight

    def weigh(self, ids: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Words that decide weigh more, and so does what stands behind the first sentence about several pictures: the conclusion."""
        wanted, several = ids[:, 1:].flatten()[asked], (ids == -2).any(1, keepdim=True)
        stops = torch.zeros_like(ids[:, 1:])
        stops.view(-1)[asked] = (wanted == self.stop).long()
        behind = several & (stops.cumsum(1) > stops)             # about several pictures there is one conversation in a sequence
        return self.weights[wanted] * torch.where(behind.flatten()[asked], CONCLUDED, 1.0)

    def kinds(self, progress: float) -> dict[str, float]:
        return MIX | OTHER_SHARES

    def empty_shown(self, progress: float, rng: random.Random) -> float:
        return 0.0 if rng.random() < CLOSE else 1.0

    def choose(self, progress: float, rng: random.Random, empty: float) -> list[str]:
        if empty:
            some = super().choose(progress, rng, empty)
            return some * 2 if some[0] in SEVERAL else some
        kind = "pair" if rng.random() < PAIRS else "clip"
        return [kind] * max(1, CLOSE_GROUPS * self.pictures // SEVERAL[kind])


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

    def see(self, scenes) -> tuple[torch.Tensor, ...]:
        return *super().see(scenes), *map(torch.from_numpy, dense_of(scenes))

    def rows(self, seen: tuple[torch.Tensor, ...], views: int) -> torch.Tensor:
        self.features = self.all.vision.features(seen[0])
        return self.all.vision.rows(self.features, views)

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        loss, found = super().part(step, number, steps)
        if not self.seen:
            return loss, found
        x = self.heads["img_projection"](self.features)
        aside, more = dense_loss(tuple(self.heads[name](x) for name in ("kinds", "colours", "place")), *self.seen[1:])
        return loss + DENSE_WEIGHT * aside, found | more


def rows_with_marks(scenes) -> np.ndarray:
    """Which of the 156 rows of a view show something in any of these pictures."""
    there = np.any([dense(scene, CELLS)[0] > 0 for scene in scenes], 0)
    return np.pad(there, ((0, 0), (0, 1))).flatten()


# ---- measuring with torch ----------------------------------------------------------------------------------------


class HeldOut:
    """Held-out cases: how many would be answered exactly as the reference, greedily?

    A greedy answer equals the reference if and only if every token of it is the likeliest one after those before, so no
    text needs to be generated.

    Args:
        stage: whose view of the pictures is used, and whose decoder.
    """

    def __init__(self, stage: AnswerStage, seed: object, count: int, tasks=tuple(TASKS)):
        self.stage, self.cases = stage, []
        for task in tasks:
            album = Album("eval", seeded(seed, task))
            for _ in range(count):
                case = draw_case(album, task)
                self.cases.append((task, case, stage.see(case.details["pictures"])))

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Share of exact answers by task."""
        stage, views = self.stage, self.stage.views(1.0)
        right: dict[str, list[bool]] = {}
        stage.model.eval()
        for task, case, seen in self.cases:
            shown = [range(image_rows() - VIEW_ROWS if views == 1 else 0, image_rows())] * len(case.details["pictures"])
            ids, positions, mask = (torch.tensor([v], device=stage.team.device)
                                    for v in sequence(stage.encoder, case.messages, len(shown), image_rows(), shown))
            with precision(stage.team.device):
                hidden = stage.all.hidden(ids, positions, stage.rows([t.to(stage.team.device) for t in seen], views))[:, :-1]
                asked = mask[:, 1:] > 0
                best = stage.all.decoder.lm_head(hidden[asked]).argmax(-1)
            right.setdefault(task, []).append(bool((best == ids[:, 1:][asked]).all()))
        stage.model.train()
        return {task: round(sum(found) / len(found), 4) for task, found in right.items()}


@torch.no_grad()
def features_of(model: Phi3V, scenes, team: Team) -> torch.Tensor:
    """Merged features of some scenes, in full precision."""
    return model.vision.features(torch.from_numpy(np.stack([pixels(s) for s in scenes])).to(team.device))


def size_of_features(model: Phi3V, seed: int, team: Team, groups: int = 16) -> float:
    """Root mean square of what the tower gives for some pictures."""
    scenes = [scene for i in range(groups) for scene in Album("train", seeded("size", seed, i)).group().scenes]
    return features_of(model, scenes, team).square().mean().sqrt().item()


@torch.no_grad()
def answer(model: Phi3V, encoder: Encoder, question: str, cells: torch.Tensor, most: int = 80) -> str:
    """A greedy answer to a question about pictures, from their features."""
    from transformers import DynamicCache

    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": ""}]
    device = cells.device
    ids, positions, _ = (torch.tensor([v], device=device) for v in sequence(encoder, messages, len(cells), image_rows()))
    ids, positions = ids[:, :-1], positions[:, :-1]            # without the end of the empty answer
    cache, rows, found = DynamicCache(), model.vision.rows(cells.float()), []
    for _ in range(most):
        token = model.decoder.lm_head(model.hidden(ids, positions, rows, cache)[:, -1]).argmax(-1)
        if encoder.tokenizer.id_to_token(token.item()) in STOP_TOKENS:
            break
        found.append(token.item())
        ids, positions, rows = token[None], positions[:, -1:] + 1, None
    return encoder.tokenizer.decode(found)


# ---- the whole run ---------------------------------------------------------------------------------------------------


def prepare(name: str, folder: Path) -> None:
    """Write the run's tokenizer and config.json."""
    recipe = recipes()[name]
    own_tokenizer(folder, recipe["model"]["vocab_size"])
    encoder = Encoder(folder)
    assert encoder.size == recipe["model"]["vocab_size"], f"the tokenizer has {encoder.size} tokens: set vocab_size to it"
    config = model_config(name, {**encoder.id, "<s>": 1})
    vision = recipe["model"]["vision_config"]
    config |= {"eos_token_id": [encoder.id[t] for t in STOP_TOKENS], "text_config": {"max_position_embeddings": config["max_position_embeddings"]},
               # Written for the sake of the format; runtimes read vision_config.
               "img_processor": {"image_dim_out": vision["hidden_size"], "model_name": "none", "name": "clip_vision_model", "num_img_tokens": 144},
               "embd_layer": {"embedding_cls": "image", "hd_transform_order": "sub_glb", "projection_cls": "mlp", "use_hd_transform": True,
                              "with_learnable_separator": True}}
    write_json(folder / "config.json", config)


def new_model(recipe: dict, folder: Path) -> Phi3V:
    """A fresh model from the run's config.json."""
    torch.manual_seed(recipe["seed"])
    return Phi3V(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def train(name: str, steps: int | None = None, runs: Path = RUNS, processes: int | None = None) -> Path:
    """Train `name` to its end, or from where an earlier run stopped; returns the folder with the fp32 result.

    Args:
        name: a recipe of recipes.toml.
        steps: another number of steps than the recipe's, all stages together; each keeps its share.
        processes: how many train together; left out, two of one thread each, or one with a GPU.
    """
    recipe, folder = here(recipes()[name]), runs / name
    processes = processes or process_count()
    share = steps / sum(recipe[stage]["steps"] for stage in STAGES) if steps else 1.0
    prepare(name, folder)
    if processes == 1:
        first_stages(0, 1, recipe, share, folder)
        run_stages(0, 1, recipe, share, folder)
    else:
        together(first_stages, 2, recipe, share, folder, group=False)
        together(run_stages, processes, recipe, share, folder)
    return folder


def first_stages(rank: int, processes: int, recipe: dict, share: float, folder: Path, stages: tuple[str, ...] = ("tower", "symbols")) -> None:
    """Tower and symbols, which need nothing of each other: with two processes, each trains one of them."""
    encoder = Encoder(folder)
    for stage in stages[rank::processes]:
        model, team = new_model(recipe, folder), Team()
        steps, rates = math.ceil(recipe[stage]["steps"] * share), recipe[stage]["rates"]
        if stage == "tower":
            descend(stage, TowerStage(model, recipe, team), steps, rates, folder, team)
        else:
            made = SymbolStage(model, recipe, team, encoder)
            descend(stage, made, steps, rates, folder, team, show=progress(made))


def join(model: Phi3V, recipe: dict, folder: Path, team: Team) -> tuple[Symbols, nn.ModuleDict]:
    """Load what both first stages learned, and make the tower's features of unit size; returns the symbols, and the tower's heads with
    their projection."""
    dense_tower, symbols = DenseTower(model.vision, recipe["model"]["hidden_size"]), Symbols(recipe["model"]["hidden_size"])
    dense_tower.load_state_dict(torch.load(folder / "tower.state.pt", map_location="cpu", weights_only=True)["model"])
    saved = torch.load(folder / "symbols.state.pt", map_location="cpu", weights_only=True)["model"]
    nn.ModuleDict({"decoder": model.decoder, "symbols": symbols}).load_state_dict(saved)
    factor = 1 / size_of_features(model, recipe["seed"], team)
    model.vision.img_processor.vision_model.rescale(factor)
    with torch.no_grad():
        model.vision.img_projection[0].weight /= factor
    heads = {name: getattr(dense_tower, name) for name in ("kinds", "colours", "place")}
    return symbols, nn.ModuleDict({"img_projection": copy.deepcopy(model.vision.img_projection), **heads})


def fit_to_symbols(model: Phi3V, symbols: Symbols, cache: Cache, groups: int) -> float:
    """Bring the projection to say what the symbols say, on the first groups of the cache; returns the share left over."""
    features, wanted, weights = [], [], []
    for at in range(min(groups, len(cache.starts) - 1)):
        for scene, cells in zip(cache.group(at)[1].scenes, cache.cells(at)):
            kinds, colours = (torch.from_numpy(part).flatten()[None] for part in dense(scene, CELLS))
            chosen = (kinds[0] > 0) | (torch.rand(CELLS**2, generator=torch.Generator().manual_seed(at)) < EMPTY_FITTED)
            features.append(torch.from_numpy(cells).float()[chosen])
            wanted.append(symbols.cells(kinds, colours)[0, chosen].detach())
            weights.append(torch.where(kinds[0, chosen] > 0, 1.0, EMPTY_FIT_WEIGHT))
    project, device = model.vision.img_projection, model.vision.glb_GN.device
    left = fit(project, *(torch.cat(parts).to(device) for parts in (features, wanted, weights)))
    for separator, row in ((model.vision.sub_GN, symbols.end), (model.vision.glb_GN, symbols.between)):
        aim(project, separator, row.detach().to(device))
    return left


def aim(project: nn.Module, separator: nn.Parameter, row: torch.Tensor) -> None:
    """Move a separator until its projection is near a row."""
    optimizer = torch.optim.Adam([separator], 0.02)
    for _ in range(AIM_STEPS):
        optimizer.zero_grad()
        (project(separator.flatten()) - row).square().mean().backward()
        optimizer.step()
    project.zero_grad(set_to_none=True)
    separator.grad = None


def run_stages(rank: int, processes: int, recipe: dict, share: float, folder: Path) -> None:
    """The stages after the first two, in order, in one of the processes that train together; what is finished is only loaded."""
    team, encoder = Team(rank, processes), Encoder(folder)
    model = new_model(recipe, folder).to(team.device)
    symbols, heads = join(model, recipe, folder, team)
    tower = model.vision.img_processor.vision_model
    steps = {stage: math.ceil(recipe[stage]["steps"] * share) for stage in STAGES}

    cache = Cache(folder, recipe["seed"], max(200, round(recipe["cache"]["pictures"] * min(1, share))), 4 * tower.width)
    cache.make(tower, team)
    left = fit_to_symbols(model, symbols, cache, recipe["cache"]["fitted"])
    if team.rank == 0:
        print(f"projection: {left:.1%} of the symbols' variance is left over", flush=True)

    for kind, *more in ((DecoderStage, cache), (JointStage, heads), (FinishStage,)):
        if not steps[kind.name]:
            continue
        stage = kind(model, recipe, team, encoder, *more)
        descend(stage.name, stage, steps[stage.name], recipe[stage.name]["rates"], folder, team, stage.round_from, progress(stage) if team.rank == 0 else None)
    if team.rank == 0:
        save_weights(exported_names(plain_state(model)), folder)


def progress(stage: AnswerStage):
    """A function that measures a stage's model on a few held-out cases, which it draws at its first call."""
    cases = []

    def show(step: int) -> dict:
        if not cases:
            cases.append(HeldOut(stage, "progress", HELD_OUT_CASES))
        return {"held out": cases[0].measure()}

    return show
