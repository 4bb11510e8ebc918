"""Measuring a model with torch while it trains: held-out cases, and greedy answers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import DynamicCache

from training.team import precision
from training.tokenizer import STOP_TOKENS, Encoder
from training.vision.answers import AnswerStage
from training.vision.model import VIEW_ROWS, Phi3V, image_rows
from training.vision.parts import seeded
from training.vision.tasks import TASKS, Album, draw_case
from training.vision.text import sequence


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
        stage = self.stage
        right: dict[str, list[bool]] = {}
        stage.model.eval()
        for task, case, seen in self.cases:
            right.setdefault(task, []).append(self.exact(case, seen))
        stage.model.train()
        return {task: round(sum(found) / len(found), 4) for task, found in right.items()}

    def exact(self, case, seen) -> bool:
        """Whether the likeliest tokens are those of the reference answer."""
        stage, views = self.stage, self.stage.views(1.0)
        device, pictures = stage.team.device, len(case.details["pictures"])
        shown = [range(image_rows() - VIEW_ROWS if views == 1 else 0, image_rows())] * pictures
        lists = sequence(stage.encoder, case.messages, pictures, image_rows(), shown)
        ids, positions, mask = (torch.tensor([values], device=device) for values in lists)
        with precision(device):
            rows = stage.rows([t.to(device) for t in seen], views)
            hidden = stage.all.hidden(ids, positions, rows)[:, :-1]
            asked = mask[:, 1:] > 0
            best = stage.all.decoder.lm_head(hidden[asked]).argmax(-1)
        return bool((best == ids[:, 1:][asked]).all())


def progress(stage: AnswerStage) -> Callable[[int], dict]:
    """A function that measures a stage's model on a few held-out cases, which it draws at its first call."""
    cases = []

    def show(step: int) -> dict:
        if not cases:
            cases.append(HeldOut(stage, "progress", stage.recipe["held_out"]))
        return {"held out": cases[0].measure()}

    return show


@torch.no_grad()
def answer(model: Phi3V, encoder: Encoder, question: str, cells: torch.Tensor, most: int = 80) -> str:
    """A greedy answer to a question about pictures, from their features."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": ""}]
    lists = sequence(encoder, messages, len(cells), image_rows())
    ids, positions, _ = (torch.tensor([values], device=cells.device) for values in lists)
    ids, positions = ids[:, :-1], positions[:, :-1]  # without the end of the empty answer
    cache, rows, found = DynamicCache(), model.vision.rows(cells.float()), []
    for _ in range(most):
        token = model.decoder.lm_head(model.hidden(ids, positions, rows, cache)[:, -1]).argmax(-1)
        if encoder.tokenizer.id_to_token(token.item()) in STOP_TOKENS:
            break
        found.append(token.item())
        ids, positions, rows = token[None], positions[:, -1:] + 1, None
    return encoder.tokenizer.decode(found)
