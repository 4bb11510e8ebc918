"""How published weights were made where it was not one command: the text in `published/`, which their cards give."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

from training.config import CHECKPOINTS, ROOT

PUBLISHED = ROOT / "published"
LOG = "[docs/training-log.md](../../../docs/training-log.md)"  # as seen from a card


def history(name: str, checkpoints: Path = CHECKPOINTS) -> str | None:
    """How a checkpoint's weights came to be; None where its recipe in one run made them.

    A text in `published/` is about one set of weights, which its first line names. Others have no history here.
    """
    file = PUBLISHED / f"{name}.md"
    if not file.is_file():
        return None
    first, text = file.read_text(encoding="utf-8").split("\n", 1)
    return text.strip() if first == mark(checkpoints / name) else None


def mark(folder: Path) -> str:
    """The first line of the text about the weights in a folder."""
    return f"weights: sha256 {hashlib.sha256((folder / 'model.safetensors').read_bytes()).hexdigest()}"


def again(name: str, takes: str, checkpoints: Path = CHECKPOINTS) -> str:
    """What a card says about making its weights again.

    Args:
        takes: how long the command takes, as a clause.
    """
    command, told = f"`python -m training make {name}`", history(name, checkpoints)
    if told is None:
        return fill(f"{command} makes them again, in one run: {takes}. It resumes after an interruption.")
    intro = fill("These weights came from several runs: no single command repeats them, but the way can be followed.")
    more = fill(
        f"{command} runs the recipe once, from its beginning: {takes}. It resumes after an interruption. It makes a "
        f"model of the same kind, not these weights. What was measured on the way is in {LOG}."
    )
    return f"{intro}\n\n{told}\n\n{more}"


def fill(text: str) -> str:
    """A paragraph in lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
