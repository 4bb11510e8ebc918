"""The reference in NumPy against MLX and against transformers: the largest distance between their logits.

python -m tests.parity.reference      # prints a row for each comparison

The arrays of transformers are those of make_reference.py and make_moe_reference.py, made with torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labs_helper import load
from labs_helper.engines.base import Message, Request
from labs_helper.engines.worker import WORKER
from labs_helper.pictures.images import open_image
from labs_helper.reference import embed, read

HERE = Path(__file__).resolve().parent
PICTURE = HERE.parent.parent / "images" / "vision" / "four-shapes.png"
QUESTION = "What is in the picture?"
LIMIT = 1e-3


@dataclass(frozen=True)
class Row:
    """One comparison."""

    model: str
    against: str
    tokens: int
    table: str
    distance: float
    largest: float  # of the logits themselves


def lengths(original: int) -> dict[int, str]:
    """Lengths below, at and above the original one, with the table that each takes."""
    return {40: "short", original: "short", original + 1: "long"}


def to_mlx(role: str, seed: int = 8) -> Iterator[Row]:
    """A bundled text model, on random tokens."""
    model = load(role, tier="tiny")
    reference = read(model)
    for length, table in lengths(reference.shape.positions.original).items():
        ids = np.random.default_rng(seed + length).integers(3, reference.shape.vocabulary, length).tolist()
        theirs = WORKER.call(model.engine.logits, ids)
        yield _row(model.name, "MLX", table, reference.run(ids).logits, theirs)
    WORKER.call(model.engine.close)


def picture_to_mlx(room: tuple[int, ...] = (128, 2048)) -> Iterator[Row]:
    """vision-tiny with a picture, in one tile. Room for a long answer takes the long table."""
    model = load("vision", tier="tiny")
    reference, image = read(model), open_image(PICTURE)
    ids = model.prompt(QUESTION, images=[image], num_crops=1).ids
    rows = embed(reference, ids, [image], 1)
    message = Message(role="user", content=f"<|image_1|>\n{QUESTION}", tagged=True)
    for answer in room:
        request = Request((message,), images=(image,), num_crops=1, max_tokens=answer)
        theirs = WORKER.call(model.engine.logits, request)
        total = len(ids) + answer
        table = "long" if reference.shape.positions.is_long(total) else "short"
        yield _row(f"{model.name}, a picture", "MLX", table, reference.run(ids, rows=rows, total=total).logits, theirs)
    tokens = np.random.default_rng(3).integers(3, reference.shape.vocabulary - 20, 40).tolist()
    plain = WORKER.call(lambda: model.engine._all_logits(tokens, 40))
    yield _row(model.name, "MLX", "short", reference.run(tokens).logits, plain)
    WORKER.call(model.engine.close)


def to_transformers() -> Iterator[Row]:
    """Small random checkpoints, against stored arrays of transformers."""
    for folder, file in (("checkpoint", "reference.npz"), ("checkpoint-moe", "reference_moe.npz")):
        stored = np.load(HERE / file)
        reference = read(HERE / folder)
        for length in map(int, stored["lengths"]):
            theirs = stored[f"logits_{length}"]
            ours = reference.run(stored["ids"][:length].tolist()).logits[-len(theirs) :]
            table = "long" if reference.shape.positions.is_long(length) else "short"
            yield _row(reference.shape.kind, "transformers", table, ours, theirs)


def _row(model: str, against: str, table: str, ours: np.ndarray, theirs: np.ndarray) -> Row:
    distance = float(np.abs(ours - theirs).max())
    return Row(model, against, len(ours), table, distance, float(np.abs(theirs).max()))


def main() -> None:
    """Print all comparisons."""
    print(f"{'model':24} {'against':13} {'tokens':>6} {'table':5} {'distance':>9} {'largest logit':>13}")
    rows = [*to_mlx("instruct"), *to_mlx("moe"), *picture_to_mlx(), *to_transformers()]
    for row in rows:
        print(f"{row.model:24} {row.against:13} {row.tokens:6} {row.table:5} {row.distance:9.1e} {row.largest:13.1f}")
    worst = max(row.distance for row in rows)
    print(f"largest distance: {worst:.1e} (allowed: {LIMIT:g})")
    raise SystemExit(worst > LIMIT)


if __name__ == "__main__":
    main()
