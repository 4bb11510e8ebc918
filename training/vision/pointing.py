"""Where to look: which cells of a picture a token of a conversation is about, and a loss that lets some heads attend
there.

We draw the pictures, so we know where the word stands that an answer spells, and which shape a question names. To find
that out from right and wrong answers alone takes a small decoder very long: it named colours and words fluently, and
took them from the wrong thing. Attention supervised in this way: Mi et al. 2016 (arXiv:1608.00112), for translation.
Nothing of it is left in the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.vision.model import CELLS, VIEW_ROWS
from training.vision.scene import COLOUR_NAMES, GLYPHS, ICONS, SHAPES, SIZE, Scene

Cell = tuple[int, int, int]  # picture, row, column
HERE, NEXT = "here", "next"  # what a token names itself; what the token after it will name
LAYERS = {HERE: 1, NEXT: 2}
HEADS = 3  # the first ones of each of these layers
LETTERS, THINGS = frozenset(GLYPHS), frozenset((*SHAPES, *ICONS))
PLACE_WORDS = ("top", "middle", "bottom", "left", "right")


@dataclass(frozen=True)
class Thing:
    """A shape or an icon in a picture."""

    kind: str
    colour: str
    place: str
    cell: Cell


def cell_of(picture: int, x: float, y: float) -> Cell:
    return picture, int(y * CELLS // SIZE), int(x * CELLS // SIZE)


class Looks:
    """What there is to point at in the pictures of a group.

    Args:
        kind: of the group. scenes: its pictures.
    """

    def __init__(self, kind: str, scenes: Sequence[Scene]):
        self.kind = kind
        self.things = [
            Thing(t["kind"], t["colour"], t["place"], cell_of(p, t["x"], t["y"]))
            for p, scene in enumerate(scenes)
            for t in scene.facts.get("things", ())
        ]
        self.words: dict[str, list[list[Cell]]] = {}
        self.inks: dict[str, set[Cell]] = {}
        for p, scene in enumerate(scenes):
            for marks in scene.words:
                cells = [cell_of(p, m.x, m.y) for m in marks]
                self.words.setdefault("".join(m.kind for m in marks), []).append(cells)
                self.inks.setdefault(marks[0].colour, set()).update(cells)

    def find(self, tokens: Sequence[str], learn: Sequence[int]) -> list[tuple[str, int, set[Cell]]]:
        """(HERE or NEXT, place of the token, cells) for the tokens of one conversation, without the pictures.

        An answer's last sentence after its working says what the working has said: nothing is to be seen there.
        """
        plain, found, begin = [t.removeprefix("▁") for t in tokens], [], 0
        while begin < len(plain):
            end = begin
            while end < len(plain) and learn[end] == learn[begin]:
                end += 1
            said = plain[begin:end]
            dots = [i for i, token in enumerate(said) if token == "." and i + 2 < len(said)]
            for i, cells in self.in_text(said[: dots[-1]] if learn[begin] and dots else said, bool(learn[begin])):
                if cells:
                    at = begin + i
                    found += [(HERE, at, cells)] + [(NEXT, at - 1, cells)] * (learn[begin] and at > 0)
            begin = end
        return found

    def in_text(self, tokens: list[str], answer: bool):
        """The place of each token that names something, and the cells where that is."""
        if self.kind == "crowd" and answer:
            yield from self.in_working(tokens)
            return
        i, picture, last = 0, None, []
        while i < len(tokens):
            token, next_one = tokens[i], tokens[i + 1] if i + 1 < len(tokens) else ""
            if answer and self.kind == "clip" and token.isdigit() and next_one == ":":
                picture = int(token) - 1
            elif answer and self.kind == "pair" and token in (":", ";", ","):
                picture = 1 if token == "," else 0
            elif token in LETTERS:
                end = i
                while end < len(tokens) and tokens[end] in LETTERS:
                    end += 1
                there = self.words.get("".join(tokens[i:end]), [])
                yield from ((i + n, {cells[n] for cells in there}) for n in range(end - i))
                i = end
                continue
            elif token in COLOUR_NAMES and not self.things:
                yield i, self.inks.get(token, set())
            elif token in COLOUR_NAMES or stem(token) in THINGS:
                colour = token if token in COLOUR_NAMES else None
                kind = stem(next_one if colour else token)
                kind = kind if kind in THINGS else None
                last = [
                    t
                    for t in self.things
                    if (colour or t.colour) == t.colour and (kind or t.kind) == t.kind and picture in (None, t.cell[0])
                ]
                yield i, {t.cell for t in last}
                if colour and kind:
                    yield i + 1, {t.cell for t in last}
                    i += 1
            elif answer and token in PLACE_WORDS:
                if self.kind == "pair":
                    # The place comes before what is there, in either picture.
                    two = next_one in PLACE_WORDS and token in ("top", "bottom")
                    place = f"{token} {next_one}" if two else token
                    cells = {t.cell for t in self.things if t.place == place}
                    yield i, cells
                    if two:
                        yield i + 1, cells
                        i += 1
                else:
                    yield i, {t.cell for t in last if token in t.place.split()}
            i += 1

    def in_working(self, tokens: list[str]):
        """The four rows of four places of a count: what stands at each."""
        slots = {(t.cell[1] // 3, t.cell[2] // 3): t.cell for t in self.things}
        number = 0
        for i, token in enumerate(tokens):
            if re.fullmatch(r"-|\d", token):
                there = slots.get(divmod(number, 4))
                yield i, {there} if there else set()
                number += 1


def stem(word: str) -> str:
    """
    >>> stem("crosses"), stem("circles"), stem("star"), stem("cross")
    ('cross', 'circle', 'star', 'cross')
    """
    return next((short for short in (word, word.removesuffix("s"), word.removesuffix("es")) if short in THINGS), word)


def rows_of(cell: Cell) -> tuple[Cell, Cell]:
    """Both rows of a picture's 313 that show a cell, as (picture, row)."""
    picture, row, column = cell
    at = row * (CELLS + 1) + column
    return (picture, at), (picture, VIEW_ROWS + 1 + at)


Look = tuple[
    str, int, int, list[int]
]  # HERE or NEXT, a sequence of a batch, the query in it, and the keys it should attend to


def as_tensors(looks: Sequence[Look], sequences: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Looks by their kind, as `Pointing` takes them.

    Returns:
        For each kind the queries (sequences, most), filled up with 0, and (sequence, place among its queries, key) of
        each pair.
    """
    found = {}
    for kind in LAYERS:
        queries: list[list[int]] = [[] for _ in range(sequences)]
        pairs = []
        for which, row, query, keys in looks:
            if which == kind and keys:
                pairs += [(row, len(queries[row]), key) for key in keys]
                queries[row].append(query)
        most = max(map(len, queries))
        found[kind] = (
            torch.tensor([each + [0] * (most - len(each)) for each in queries]),
            torch.tensor(pairs, dtype=torch.long).reshape(-1, 3),
        )
    return found


class Pointing:
    """Gathers queries and keys of the chosen layers in a forward pass, and gives the loss.

    Args:
        looks: of `as_tensors`. allowed: (n, 1, length, length), what each token sees.
    """

    def __init__(self, looks: dict[str, tuple[torch.Tensor, torch.Tensor]], allowed: torch.Tensor):
        self.looks, self.allowed, self.seen = looks, allowed, {}

    def __call__(self, layer: int, q: torch.Tensor, k: torch.Tensor, scale: float) -> None:
        """Queries and keys of a layer: (n, heads, length, size)."""
        if layer in LAYERS.values():
            self.seen[layer] = q[:, :HEADS].float() * scale, k[:, :HEADS].float()

    def loss(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean negative log of the attention that goes where it should, and the mean of that attention."""
        logs = []
        for kind, layer in LAYERS.items():
            (q, k), (queries, pairs) = self.seen[layer], self.looks[kind]
            if not len(pairs):
                continue
            allowed = self.allowed[:, 0].gather(1, queries[..., None].expand(-1, -1, k.shape[2]))
            wanted = torch.zeros_like(allowed)
            wanted[tuple(pairs.T)] = True
            chosen = q.gather(2, queries[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))
            scores = (chosen @ k.mT).masked_fill(~allowed[:, None], -torch.inf)
            asked = wanted.any(-1)
            # What only fills up wants all that it sees, and so costs nothing.
            right = scores.masked_fill(~(wanted | ~asked[..., None])[:, None], -torch.inf).logsumexp(
                -1
            ) - scores.logsumexp(-1)
            logs.append((right, asked[:, None].expand_as(right)))
        if not logs:
            return torch.zeros((), device=self.allowed.device), torch.zeros(())
        count = sum(asked.sum() for _, asked in logs)
        return -sum(right.sum() for right, _ in logs) / count, sum(
            (right.detach().exp() * asked).sum() for right, asked in logs
        ) / count
