"""Trains vision-tiny in stages: tower on dense targets, then projection and decoder on cached features, then all together.

Every step is made of the same parts for any number of processes, each part follows from the seed and the step alone, and
every stage saves its state, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

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
    load_state,
    optimizers,
    precision,
    process_count,
    rate,
    save_state,
    save_weights,
    set_rates,
    together,
)

from .draw import COLOUR_NAMES, GLYPHS, KINDS, Artist, dense, pixels
from .model import CELLS, VIEW_ROWS, Phi3V, exported_names, image_rows, merged
from .tasks import MIX, TASKS, Album, draw_case
from .text import own_tokenizer, sequence

# Parts of a step; each process works on its share of them. On shapes alone the decoder learned more from the same pictures in
# steps of two parts than of one; of four it was not compared.
TOWER_PARTS, DECODER_PARTS = 4, 2
SAVE_SECONDS, LOG_EVERY = 120, 25
EMPTY_WEIGHT, OTHER_WEIGHT = 0.1, 2.0   # of an empty patch, and of one with something else than a glyph, in the tower's loss
# The dense targets in the decoder's loss: their weight at the start, the share of the steps that has them, and the weight
# of an empty patch among them: small, as most of a picture that one asks about is empty.
SLOT_WEIGHT, SLOTS_UNTIL, EMPTY_SLOT_WEIGHT = 0.5, 0.7, 0.02
COMPARED_AFTER = 2                # layers of the decoder, which must have found by then what a picture shows that the one before did not
PATCH_TARGETS = len(KINDS) + len(COLOUR_NAMES)
ALIGNED = 16.0                    # what the cosine of a cell and a word's embedding is multiplied by
WORDS = {"point": "line", "slice": "pie"}        # of a chart; the other kinds are words themselves
ANSWER_ROOM = 200                 # tokens of questions and answers a picture
EMPTY_SHOWN = 0.1                 # share of a picture's empty rows that are in the context while training is sparse
BLOCK = 32                        # groups whose features are made at a time
# When each kind of pictures comes in, as a share of the decoder's steps: all at once they take many times longer to be learned.
ENTER = {"lines": 0.0, "sign": 0.0, "shapes": 0.1, "objects": 0.1, "chart": 0.16, "table": 0.16, "crowd": 0.26, "pair": 0.32, "clip": 0.38}
NEWEST_UNTIL = 0.44
SEVERAL = {"pair": 2, "clip": 4}  # so many times fewer groups in a part of kinds with several pictures
WORKERS = 14                      # processes that draw for a GPU
STAGES = ("tower", "decoder", "joint")
HELD_OUT_CASES = 16               # a task, for the progress shown while training


@dataclass
class Team:
    """The processes that train together. They hold equal weights; each works on its share of a step's parts."""

    rank: int = 0
    size: int = 1
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")

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
            for key, value in {"loss": loss.item(), "parts": 1, **seen}.items():
                sums[key] = sums.get(key, 0) + value
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"{name}: loss became {loss.item()} at step {step}")
        team.add_up(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if team.rank == 0 and ((step + 1) % LOG_EVERY == 0 or step + 1 == steps):
            line = {"step": step + 1, "loss": round(sums["loss"] / sums["parts"], 4), "seconds": round(time.time()), **ratios(sums)}
            if show and ((step + 1) % (LOG_EVERY * 16) == 0 or step + 1 == steps):
                line |= show(step + 1)
            bar.set_postfix({k: v for k, v in line.items() if k not in ("step", "seconds", "held out")})
            log.write(json.dumps(line) + "\n")
            log.flush()
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
        scenes.append(Artist(seeded(seed, i)).page() if rng.random() < 0.6 else rng.choice(Album("train", seeded(seed, i)).group().scenes))
    targets = [dense(scene) for scene in scenes]
    return np.stack([pixels(scene) for scene in scenes]), np.stack([k for k, _ in targets]), np.stack([c for _, c in targets])


class DenseTower(nn.Module):
    """The tower with a linear head a patch: what is there, and in which colour."""

    def __init__(self, tower: nn.Module, width: int):
        super().__init__()
        self.tower, self.kinds, self.colours = tower, nn.Linear(width, len(KINDS)), nn.Linear(width, len(COLOUR_NAMES))

    def forward(self, view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.tower(view)
        return self.kinds(x), self.colours(x)


class TowerStage:
    """Cross-entropy of what has its centre in each patch."""

    inside, parts = ("encoder.layers.",), TOWER_PARTS

    def __init__(self, model: Phi3V, recipe: dict, team: Team):
        self.team, self.seed, self.count = team, recipe["seed"], recipe["tower"]["pictures"]
        self.model = DenseTower(model.vision.img_processor.vision_model, recipe["model"]["vision_config"]["hidden_size"]).to(team.device)

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        view, kinds, colours = (torch.from_numpy(a).to(self.team.device) for a in tower_pictures(seeded("tower", self.seed, step, number), self.count))
        said, tint = self.model(view)
        kinds, colours = kinds.flatten(1), colours.flatten(1)
        each = functional.cross_entropy(said.float().flatten(0, 1), kinds.flatten(), reduction="none")
        there = kinds.flatten() > 0
        glyphs = there & (kinds.flatten() < KINDS.index("circle"))
        others = there & ~glyphs
        weights = torch.where(glyphs, 1.0, torch.where(others, OTHER_WEIGHT, EMPTY_WEIGHT))
        loss = (each * weights).sum() / weights.sum()
        loss = loss + 0.3 * functional.cross_entropy(tint.float().flatten(0, 1)[there], colours.flatten()[there])
        best = said.detach().argmax(-1).flatten() == kinds.flatten()
        return loss, {"glyphs right": best[glyphs].sum().item(), "glyphs": glyphs.sum().item(), "others right": best[others].sum().item(),
                      "others": others.sum().item(), "empty right": best[~there].sum().item(), "empty": (~there).sum().item(),
                      "colours right": (tint.detach().argmax(-1).flatten() == colours.flatten())[there].sum().item(), "colours": there.sum().item()}


# ---- second stage: projection and decoder on the cache --------------------------------------------------------------


class Cache:
    """Features of many pictures in one memory-mapped file of half-precision numbers.

    Groups of pictures follow from the seed; only features are stored. What was filled before a stop stays.

    Args:
        folder: where the file goes. pictures: about how many it holds. width: of a merged cell.
    """

    def __init__(self, folder: Path, seed: int, pictures: int, width: int):
        self.file, self.index = folder / "features.f16", folder / "features.npz"
        self.seed, self.pictures, self.width = seed, pictures, width

    def album(self, group: int) -> Album:
        return Album("train", seeded("cache", self.seed, group))

    def plan(self, mark: str) -> None:
        """Decide which groups there are and make room; `mark` names the tower's state, another one starts anew."""
        if self.index.exists() and str(np.load(self.index)["mark"]) == mark:
            return
        kinds, starts = [], [0]
        while starts[-1] < self.pictures:
            group = self.album(len(kinds)).group()
            kinds.append(group.kind)
            starts.append(starts[-1] + len(group.scenes))
        for file in (self.file, self.file.with_suffix(".done")):
            file.unlink(missing_ok=True)
        np.memmap(self.file, np.float16, "w+", shape=(starts[-1], CELLS**2, self.width))
        np.memmap(self.file.with_suffix(".done"), np.uint8, "w+", shape=(len(kinds) // BLOCK + 1,))
        np.savez(self.index, kinds=kinds, starts=starts, mark=mark)

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
            scenes = [scene for g in groups for scene in self.album(g).group().scenes]
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


class DecoderStage:
    """Next-token loss on the answers, and at first dense ones, which each cell gives and not only each answer.

    Read off a cell's projection: what stands in its four patches, in which colour, and where the cell is. Measured against the
    embeddings: a cell with a red circle must be near the tokens "red" and "circle", so that what the decoder knows of copying
    and looking up words works on pictures. Read off a middle layer, in pictures that follow another: what stood in the same
    cell of the picture before.
    """

    inside, parts = ("layers.", "img_projection."), DECODER_PARTS

    def __init__(self, model: Phi3V, recipe: dict, team: Team, encoder: Encoder, cache: Cache | None):
        """
        Args:
            cache: None draws fresh pictures and trains the tower too.
        """
        self.team, self.recipe, self.encoder, self.cache = team, recipe, encoder, cache
        self.name = "decoder" if cache else "joint"
        self.pictures = recipe[self.name]["pictures"]
        model.vision.img_processor.requires_grad_(cache is None)
        model.vision.img_processor.vision_model.freeze_unused()
        hidden = recipe["model"]["hidden_size"]
        self.model = nn.ModuleDict({"all": model, "slots": nn.Linear(hidden, 4 * PATCH_TARGETS), "place": nn.Linear(hidden, 2 * CELLS),
                                    "before": nn.Linear(hidden, 4 * PATCH_TARGETS)}).to(team.device)
        self.rounded, self.stream = model.decoder, None
        words = encoder.tokenizer.get_vocab()
        self.kind_ids = torch.tensor([0] + [words[k] if k in GLYPHS else words[f"▁{WORDS.get(k, k)}"] for k in KINDS[1:]], device=team.device)
        self.nothing_id = encoder.id["<|placeholder1|>"]
        self.colour_ids = torch.tensor([words[f"▁{c}"] for c in COLOUR_NAMES], device=team.device)
        self.row_ids, self.column_ids = (torch.tensor([words[f"▁{w}"] for w in names], device=team.device).repeat_interleave(CELLS // 3)
                                         for names in (("top", "middle", "bottom"), ("left", "middle", "right")))

    def choose(self, step: int, number: int, steps: int, rng: random.Random) -> list[str]:
        """Kinds of groups for one part.

        Kinds come in one after the other (`ENTER`), each with at least half of the parts until the next one comes. Pairs and
        clips have parts of their own, as they are longer.
        """
        progress = step / steps if self.cache else 1.0
        shares = {kind: share for kind, share in MIX.items() if ENTER[kind] <= progress}
        newest = max(ENTER[kind] for kind in shares)
        if progress < NEWEST_UNTIL and newest and rng.random() < 0.5:
            shares = {kind: share for kind, share in shares.items() if ENTER[kind] == newest}
        first = rng.choices(list(shares), list(shares.values()))[0]
        if first in SEVERAL:
            return [first] * (self.pictures // SEVERAL[first])
        single = [kind for kind in shares if kind not in SEVERAL]
        return rng.choices(single, [MIX[kind] for kind in single], k=self.pictures)

    def empty_shown(self, progress: float) -> float:
        """Share of the rows with nothing in them that stand in the context."""
        return EMPTY_SHOWN if self.cache and progress < self.recipe["decoder"]["sparse_until"] else 1.0

    def batch(self, step: int, number: int, steps: int, views: int):
        """One part: ids, positions, loss mask, features or pixels, dense targets of the merged cells' four patches (kinds and
        colours), which rows of the pictures stand in the context, and which pictures follow another."""
        rng = random.Random(seeded(self.name, self.recipe["seed"], step, number))
        rows = VIEW_ROWS if views == 1 else image_rows()
        skipped = image_rows() - rows                            # one view is the last one, the global view
        empty = self.empty_shown(step / steps)
        made, seen, slots, kept, follows = [], [], [], [], []
        for kind in self.choose(step, number, steps, rng):
            if self.cache:
                at = rng.choice(self.cache.of_kind[kind])
                album = self.cache.album(at)
                group = album.group()
                album.random = random.Random(rng.random())
                seen.append(self.cache.cells(at))
            else:
                album = Album("train", seeded(self.name, step, number, rng.random()))
                group = album.group(kind)
                seen.append(np.stack([pixels(scene) for scene in group.scenes]))
            messages, room = [], ANSWER_ROOM
            for case in album.questions(group, 10 if len(group.scenes) == 1 else 1):
                room -= sum(len(self.encoder.tokenizer.encode(m["content"]).ids) + 2 for m in case.messages)
                if messages and room < 0:
                    break
                messages += case.messages
            marks = [merged(torch.from_numpy(np.stack(dense(scene), -1)).flatten(0, 1)[None]).unflatten(-1, (4, 2)) for scene in group.scenes]
            there = rows_with_marks(torch.cat(marks))
            there = np.concatenate([there, [True], there])[-rows:]
            some = [there | (np.array([rng.random() for _ in range(rows)]) < empty) for _ in marks]
            made.append(sequence(self.encoder, messages, len(marks), image_rows(), [skipped + np.flatnonzero(one) for one in some]))
            slots, kept, follows = slots + marks, kept + some, follows + [i > 0 for i in range(len(marks))]
        length = max(len(ids) for ids, _, _ in made)
        ids = torch.full((len(made), length), self.encoder.id["<|endoftext|>"])
        positions, mask = torch.zeros(len(made), length, dtype=torch.long), torch.zeros(len(made), length)
        for i, (row, where, learn) in enumerate(made):
            ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), torch.tensor(learn, dtype=torch.float)
            positions[i] = torch.tensor([*where, *range(where[-1] + 1, where[-1] + 1 + length - len(where))])
        # The long RoPE table is chosen for a whole request, so short texts must meet it too.
        if rng.random() < 0.15:
            positions += self.recipe["model"]["original_max_position_embeddings"]
        return (ids, positions, mask, torch.from_numpy(np.concatenate(seen)), torch.cat(slots), torch.from_numpy(np.stack(kept)), torch.tensor(follows))

    def views(self, progress: float) -> int:
        """How often a picture stands in the context."""
        return 1 if self.cache and progress < self.recipe["decoder"]["one_view_until"] else 2

    def batches(self, done: int, steps: int):
        """The parts of all steps from `done` on that are this process's, in order; drawn ahead where a GPU would have to wait."""
        if self.team.device == "cpu":
            yield from map(partial(drawn, self, steps), self.places(done, steps))
        else:
            yield from DataLoader(self.places(done, steps), batch_size=None, collate_fn=partial(drawn, self, steps), num_workers=WORKERS, prefetch_factor=4)

    def places(self, done: int, steps: int) -> list[tuple[int, int]]:
        return [(step, number) for step in range(done, steps) for number in self.team.share(self.parts)]

    def part(self, step: int, number: int, steps: int) -> tuple[torch.Tensor, dict]:
        model, progress = self.model["all"], step / steps
        views = self.views(progress)
        if self.stream is None:
            self.stream = self.batches(step, steps)
        ids, positions, mask, seen, slots, kept, follows = (t.to(self.team.device) for t in next(self.stream))
        cells = seen.float() if self.cache else model.vision.features(seen)
        rows = model.vision.rows(cells, views)
        dense_too = self.cache is not None and progress < SLOTS_UNTIL
        states = model.states(ids, positions, rows[kept], all_layers=dense_too)
        asked = mask[:, 1:] > 0
        logits = model.decoder.lm_head(states.last_hidden_state[:, :-1][asked]).float()
        loss = functional.cross_entropy(logits, ids[:, 1:][asked])
        sums = {"tokens right": (logits.detach().argmax(-1) == ids[:, 1:][asked]).sum().item(), "tokens": asked.sum().item()}
        if dense_too:
            weight = SLOT_WEIGHT * (1 - progress / SLOTS_UNTIL)
            shown = of_cells(kept)
            grid, there, index = of_cells(rows)[shown], slots[shown], shown.nonzero()[:, 1]
            more, right, count = self.stands(self.model["slots"](grid), there)
            where = self.model["place"](grid).float().unflatten(-1, (2, CELLS))
            places = torch.stack([index // CELLS, index % CELLS], -1)
            loss = loss + weight * (more + functional.cross_entropy(where.flatten(0, 1), places.flatten()) + self.near_words(grid, there, index))
            sums |= {"cells right": right, "cells": count}
            if follows.any():
                middle = torch.zeros_like(rows, dtype=states.hidden_states[0].dtype)
                middle[kept] = states.hidden_states[COMPARED_AFTER][ids < 0]
                shown = shown & follows[:, None]
                more, right, count = self.stands(self.model["before"](of_cells(middle)[shown]), slots.roll(1, 0)[shown])
                loss = loss + weight * more
                sums |= {"before right": right, "before": count}
        return loss, sums

    def near_words(self, grid: torch.Tensor, slots: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """How far cells are from the embeddings of the words for what is in them: cross-entropy with all words.

        Empty ones have a token of their own that is no word, or they would be near some shape and hide the one that is there.

        Args:
            grid: (cells, hidden). slots: (cells, 4, 2), kind and colour. index: (cells,), place in the picture.
        """
        table = functional.normalize(self.model["all"].decoder.model.embed_tokens.weight.float(), dim=-1)
        cell, patch = torch.nonzero(slots[..., 0] > 0, as_tuple=True)
        kind, colour = slots[cell, patch].unbind(-1)
        once = torch.ones(len(kind), device=grid.device)
        placed = (kind > len(GLYPHS)).float()                            # of shapes and icons people ask where they are
        wanted = torch.zeros(len(grid), len(table), device=grid.device)
        for ids, share in ((self.kind_ids[kind], once), (self.colour_ids[colour], once), (self.row_ids[index[cell] // CELLS], placed),
                           (self.column_ids[index[cell] % CELLS], placed)):
            wanted.index_put_((cell, ids), share, accumulate=True)
        some = wanted.sum(-1) > 0
        wanted[..., self.nothing_id] = (~some).float()
        said = ALIGNED * functional.normalize(grid.float(), dim=-1) @ table.T
        each = functional.cross_entropy(said, wanted / wanted.sum(-1, keepdim=True), reduction="none")
        weights = torch.where(some, 1.0, EMPTY_SLOT_WEIGHT)
        return (each * weights).sum() / weights.sum()

    @staticmethod
    def stands(said: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        """Loss of what stands in each patch and in which colour; how many marks have both right, and how many there are.

        Args:
            said: (cells, 4 x PATCH_TARGETS). wanted: (cells, 4, 2), kind and colour.
        """
        said = said.float().unflatten(-1, (4, PATCH_TARGETS))
        kinds, colours = said.split([len(KINDS), len(COLOUR_NAMES)], -1)
        kind, colour = wanted.unbind(-1)
        there = kind > 0
        weights = torch.where(there, 1.0, EMPTY_SLOT_WEIGHT)
        each = functional.cross_entropy(kinds.flatten(0, 1), kind.flatten(), reduction="none")
        loss = (each * weights.flatten()).sum() / weights.sum()
        if there.any():
            loss = loss + functional.cross_entropy(colours[there], colour[there])
        right = (kinds.detach().argmax(-1) == kind) & (colours.detach().argmax(-1) == colour)
        return loss, right[there].sum().item(), there.sum().item()


def drawn(stage: DecoderStage, steps: int, place: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """The part of a step that `place` names."""
    return stage.batch(*place, steps, stage.views(place[0] / steps))


def of_cells(rows: torch.Tensor) -> torch.Tensor:
    """What belongs to the cells (pictures, 144, ...) of the first view in rows of pictures, without separators."""
    return rows[:, :VIEW_ROWS].unflatten(1, (CELLS, CELLS + 1))[:, :, :-1].flatten(1, 2)


def rows_with_marks(slots: torch.Tensor) -> np.ndarray:
    """Which of the 156 rows of a view show something in any of a group's pictures.

    Args:
        slots: (pictures, 144, 4, 2), kind and colour.
    """
    there = (slots[..., 0] > 0).any(-1).any(0).unflatten(0, (CELLS, CELLS))
    return functional.pad(there, (0, 1)).flatten().numpy()


# ---- measuring with torch ----------------------------------------------------------------------------------------


class HeldOut:
    """Held-out cases and their features, made once: how many would be answered exactly as the reference, greedily?

    A greedy answer equals the reference if and only if every token of it is the likeliest one after those before, so no
    text needs to be generated.
    """

    def __init__(self, model: Phi3V, encoder: Encoder, team: Team, seed: object, count: int, tasks=tuple(TASKS)):
        self.model, self.encoder, self.team, self.cases = model, encoder, team, []
        for task in tasks:
            album = Album("eval", seeded(seed, task))
            for _ in range(count):
                case = draw_case(album, task)
                self.cases.append((task, case, features_of(model, case.details["pictures"], team)))

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Share of exact answers by task."""
        right: dict[str, list[bool]] = {}
        for task, case, cells in self.cases:
            ids, positions, mask = (torch.tensor([v], device=self.team.device) for v in sequence(self.encoder, case.messages, len(cells), image_rows()))
            with precision(self.team.device):
                hidden = self.model.hidden(ids, positions, self.model.vision.rows(cells.float()))[:, :-1]
                asked = mask[:, 1:] > 0
                best = self.model.decoder.lm_head(hidden[asked]).argmax(-1)
            right.setdefault(task, []).append(bool((best == ids[:, 1:][asked]).all()))
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
    recipe, folder = recipes()[name], runs / name
    processes = processes or process_count()
    share = steps / sum(recipe[stage]["steps"] for stage in STAGES) if steps else 1.0
    prepare(name, folder)
    if processes == 1:
        run_stages(0, 1, recipe, share, folder)
    else:
        together(run_stages, processes, recipe, share, folder)
    return folder


def run_stages(rank: int, processes: int, recipe: dict, share: float, folder: Path) -> None:
    """All stages in order, in one of the processes; what is finished is only loaded."""
    team, encoder = Team(rank, processes), Encoder(folder)
    steps = {stage: math.ceil(recipe[stage]["steps"] * share) for stage in STAGES}
    model = new_model(recipe, folder).to(team.device)
    tower = model.vision.img_processor.vision_model
    descend("tower", TowerStage(model, recipe, team), steps["tower"], recipe["tower"]["rates"], folder, team)

    tower.rescale(1 / size_of_features(model, recipe["seed"], team))

    cache = Cache(folder, recipe["seed"], max(200, round(recipe["cache"]["pictures"] * min(1, share))), 4 * tower.width)
    if team.rank == 0:
        cache.plan(f"{cache.pictures} pictures, {steps['tower']} steps, {sum(p.double().abs().sum().item() for p in tower.parameters()):.6f}")
    team.wait()
    cache.open()
    cache.fill(tower, team)

    show = progress(model, encoder, team) if team.rank == 0 else None
    descend("decoder", DecoderStage(model, recipe, team, encoder, cache), steps["decoder"], recipe["decoder"]["rates"], folder, team, ROUND_FROM, show)
    if steps["joint"]:
        descend("joint", DecoderStage(model, recipe, team, encoder, None), steps["joint"], recipe["joint"]["rates"], folder, team, ROUND_FROM, show)
    if team.rank == 0:
        save_weights(exported_names(plain_state(model)), folder)


def progress(model: Phi3V, encoder: Encoder, team: Team):
    """A function that measures the model on a few held-out cases, which it draws at its first call."""
    cases = []

    def show(step: int) -> dict:
        if not cases:
            cases.append(HeldOut(model, encoder, team, "progress", HELD_OUT_CASES))
        return {"held out": cases[0].measure()}

    return show
