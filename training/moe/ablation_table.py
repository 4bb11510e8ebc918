"""Takes experts of a checkpoint away, one after the other, and counts right answers: the table that lab 03 shows.

    python -m training.moe.ablation_table data/checkpoints/moe-tiny

Measured are: all experts; without the expert that each topic prefers most, whatever its layer; without experts drawn at
random among the others, as a control; and in each layer without either and without both of the two experts that a topic
prefers there. The first three ask `--each` questions of every topic, the last asks as many of the topic itself.

Experts are chosen on other conversations than they are measured on. A row of the file is one count; it is written as
soon as it is known, and `weights` says which weights it belongs to.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training.moe.ablation import CHOSEN_ON, options_of, preferences, questions, rights
from training.moe.corpus import TOPICS
from training.moe.routing import cases, counts_of, through_mlx

FILE = Path(__file__).resolve().parents[2] / "data" / "measured" / "moe_ablation.csv"
COLUMNS = ("kind", "layer", "experts", "prefers", "topic", "right", "asked", "seed", "weights")
CONTROLS = 8  # experts drawn at random

Experts = list[tuple[int, int]]


def removals(preference: np.ndarray, seed: int) -> Iterator[tuple[str, str, Experts]]:
    """(kind, the topic that prefers the experts, (layer, expert) pairs) of everything that is taken away."""
    layers, experts, _topics = preference.shape
    own: Experts = []
    for place, name in enumerate(TOPICS):
        layer, expert = np.unravel_index(preference[..., place].argmax(), (layers, experts))
        own.append((int(layer), int(expert)))
        yield "own", name, own[-1:]
    others = [(layer, expert) for layer in range(layers) for expert in range(experts) if (layer, expert) not in own]
    drawn = np.random.default_rng(seed).permutation(len(others))[:CONTROLS]
    for place in sorted(drawn):
        yield "random", "", [others[place]]
    for layer in range(layers):
        for place, name in enumerate(TOPICS):
            pair = [(layer, int(expert)) for expert in preference[layer, :, place].argsort()[::-1][:2]]
            yield "first of a pair", name, pair[:1]
            yield "second of a pair", name, pair[1:]
            yield "both of a pair", name, pair


def main() -> None:
    """Measure, and write the file."""
    parser = options_of("ablation_table", __doc__, each=40)
    parser.add_argument("--file", type=Path, default=FILE)
    options = parser.parse_args()
    from labs_helper import load
    from training.tokenizer import Encoder

    weights = hashlib.sha256((options.folder / "model.safetensors").read_bytes()).hexdigest()[:12]
    conversations = cases(options.seed, CHOSEN_ON)
    counts = counts_of(conversations, Encoder(options.folder), through_mlx(options.folder))
    preference = preferences(conversations, counts)
    model, asked = load(str(options.folder)), questions(options.seed, options.each)
    with options.file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for kind, prefers, gone in [("none", "", []), *removals(preference, options.seed)]:
            topics = [prefers] if "pair" in kind else TOPICS
            found = rights(model, [(topic, case) for topic, case in asked if topic in topics], gone)
            for topic in topics:
                row = {
                    "kind": kind,
                    "prefers": prefers,
                    "topic": topic,
                    "right": sum(found[topic]),
                    "asked": options.each,
                }
                row["layer"] = gone[0][0] if gone else ""
                row["experts"] = " ".join(str(expert) for _layer, expert in gone)
                writer.writerow({**row, "seed": options.seed, "weights": weights})
            handle.flush()


if __name__ == "__main__":
    main()
