"""Writes MODEL_CARD.md of a bundled model that sees; every figure in it is measured when the card is written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from training.card import figures, megabytes, parameters, put
from training.config import CHECKPOINTS, RUNS, recipes, write_json
from training.evaluate import evaluate
from training.history import again
from training.quantization import BITS, GROUP
from training.vision.export import export

UNUSED = "(the last is in the format, but not used)"
VOCABULARY = "byte-fallback BPE of its own: a colour, a shape or a place is one token, capitals and digits stand alone"
TAKES = (
    "hours on two CPU cores, and less accurate; with `--profile gpu` a quarter of an hour on an H100, "
    "by the time that each of its steps took"
)


def measure(name: str, seed: int, n: int, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> dict:
    """Measure the checkpoint, and the same weights before quantization, on the same cases; write evaluation.json.

    Args:
        seed: of the held-out cases; n: cases a task.
    """
    result = {
        "seed": seed,
        "n": n,
        "parameters": parameters(runs / name),
        "4-bit": evaluate(str(checkpoints / name), seed, n)["tasks"],
    }
    with tempfile.TemporaryDirectory() as scratch:
        result["fp32"] = evaluate(str(export(name, runs, Path(scratch), plain=True)), seed, n)["tasks"]
    write_json(checkpoints / name / "evaluation.json", result)
    return result


def write_card(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write MODEL_CARD.md from evaluation.json, config.json and the recipe."""
    folder, recipe = checkpoints / name, recipes()[name]
    result = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sight = config["vision_config"]
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads")
    tower = " / ".join(map(str, (f"{sight['num_hidden_layers']} {UNUSED}", *(sight[key] for key in sizes))))
    decoder = " / ".join(str(config[key]) for key in ("num_hidden_layers", *sizes))
    tile, short = f"{sight['image_size']} x {sight['image_size']} pixels", config["original_max_position_embeddings"]
    text = f"""# {name}

A small `{config["model_type"]}` model that Phi-3.5 Labs trained itself, on pictures that the project draws.
**These are not Microsoft's weights**, and nothing here says anything about the quality of Phi-3.5. It plays the part of
Phi-3.5-vision-instruct where the real one is not at hand. The architecture, the image processing, the tags and the
chat format are those of Phi-3.5-vision-instruct; only the sizes differ.

| | |
| --- | --- |
| parameters | {result["parameters"] / 1e6:.2f} M |
| tower: layers / width / MLP / heads | {tower} |
| decoder: layers / width / MLP / heads | {decoder} |
| pictures | tiles of {tile}; trained with one tile and the global view: 313 tokens per picture |
| vocabulary | {config["vocab_size"]} ({VOCABULARY}) |
| context | {config["max_position_embeddings"]} tokens; the short RoPE table up to {short} |
| weights | decoder {BITS} bits in groups of {GROUP}; tower, projection, scales and norms fp32 |
| on disk | {megabytes(folder):.1f} MB |
| licence | MIT |

## What it saw

Drawn pictures only: shapes and everyday things with their colours and places, crowds to be counted, printed words and
numbers (capital letters), bar, line and pie charts, small tables, pairs with one difference, and clips of a few frames.
The decoder began as `{recipe["start"]}`; its weights were rounded to {BITS} bits in the last part of the training.

## What it can do, measured

Held-out cases, seed {result["seed"]}, {result["n"]} per task: other phrasings than in training, other printed words,
other labels with their values, other arrangements, differences and events. Pictures are drawn in code at sizes and
places that differ from one to the next.

{figures(name, result)}

## What it cannot do

Every low number above: ask such things and it will often be wrong. And everything else: it has never seen a photograph,
a face, a small letter, handwriting or another script; it knows nothing of the world, counts no further than six, and
does not say that it does not know. Do not use it for anything but learning.

## How to make it again

{again(name, TAKES, checkpoints)}
"""
    return put(folder, text)
