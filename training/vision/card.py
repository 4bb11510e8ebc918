"""Writes MODEL_CARD.md of a bundled model that sees; every figure in it is measured when the card is written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from training.card import CITATION, dialogues, figures, header, megabytes, parameters, put, seeds
from training.config import CHECKPOINTS, RUNS, recipes, write_json
from training.evaluate import evaluate
from training.quantization import BITS, GROUP

from . import tasks
from .draw import picture
from .export import export


def measure(name: str, seed: int, n: int, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> dict:
    """Measure the checkpoint, and the same weights before quantization, on the same cases; write evaluation.json.

    Args:
        seed: of the held-out cases; n: cases a task.
    """
    result = {"seed": seed, "n": n, "parameters": parameters(runs / name),
              "4-bit": evaluate(str(checkpoints / name), seed, n)["tasks"]}
    with tempfile.TemporaryDirectory() as scratch:
        result["fp32"] = evaluate(str(export(name, runs, Path(scratch), plain=True)), seed, n)["tasks"]
    result["samples"] = asked_samples(name, checkpoints)
    write_json(checkpoints / name / "evaluation.json", result)
    return result


def asked_samples(name: str, checkpoints: Path = CHECKPOINTS) -> list[list[str]]:
    """The first held-out case of each task, from a stream of its own: what was in the picture comes from the reference."""
    import labs_helper

    model, found = labs_helper.load(str(checkpoints / name)), []
    for task in tasks.TASKS:
        case = tasks.draw_case(tasks.Album("eval", f"card-{task}"), task)
        answer = model.ask(case.prompt, images=[picture(scene) for scene in case.details["pictures"]], max_tokens=112).text
        found.append(["model", f"({task}) {case.prompt[-1]['content']}", f"{answer} ({'right' if tasks.right(case, answer) else 'wrong'})"])
    return found


def describe(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write a card anew from the figures that are there, with fresh samples."""
    file = checkpoints / name / "evaluation.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    result["samples"] = asked_samples(name, checkpoints)
    write_json(file, result)
    return write_card(name, checkpoints)


def write_card(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write MODEL_CARD.md from evaluation.json, config.json and the recipe."""
    folder, recipe = checkpoints / name, recipes()[name]
    result = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sight = config["vision_config"]
    text = f"""{header(name, ("en",), "image-text-to-text")}

# {name}

A small `{config["model_type"]}` model that Phi-3.5 Labs trained itself, on pictures that the project draws.
**These are not Microsoft's weights**, and nothing here says anything about the quality of Phi-3.5. It plays the part of
Phi-3.5-vision-instruct where the real one is not at hand. The architecture, the image processing, the tags and the
chat format are those of Phi-3.5-vision-instruct; only the sizes differ.

| | |
| --- | --- |
| parameters | {result["parameters"] / 1e6:.2f} M |
| tower: layers / width / MLP / heads | {sight["num_hidden_layers"]} (the last is in the format, but not used) / {sight["hidden_size"]} / {sight["intermediate_size"]} / {sight["num_attention_heads"]} |
| decoder: layers / width / MLP / heads | {config["num_hidden_layers"]} / {config["hidden_size"]} / {config["intermediate_size"]} / {config["num_attention_heads"]} |
| pictures | tiles of {sight["image_size"]} x {sight["image_size"]} pixels; trained with one tile and the global view: 313 tokens a picture |
| vocabulary | {config["vocab_size"]} (byte-fallback BPE of its own: a colour, a shape or a place is one token, capitals and digits stand alone) |
| context | {config["max_position_embeddings"]} tokens; the short RoPE table up to {config["original_max_position_embeddings"]} |
| weights | decoder {BITS} bits in groups of {GROUP}; tower, projection, scales and norms fp32 |
| on disk | {megabytes(folder):.1f} MB |
| licence | MIT |

## Intended use

Learning how a model sees, in the notebooks of this course: pictures that the project draws, and questions about them in English.

## Out of scope

Photographs, faces, documents, and everything that a decision about people or things hangs on.

## How to use it

```python
from labs_helper import load

model = load("{name}")
print(model.ask("What is in the picture?", images=["images/everyday-things.png"]))
```

## Training data

Drawn pictures only: shapes and everyday things with their colours and places, crowds to be counted, printed words and numbers
(capital letters), bar, line and pie charts, small tables, pairs with one difference, and clips of a few frames.
{recipe["made"].strip()}
The pictures come from the project's own code and the questions from its phrasings, under the project's MIT licence; no photograph was used.

## Evaluation

Held-out cases, seed {result["seed"]}, {result["n"]} a task: other phrasings than in training, other printed words, other labels with their values, other
arrangements, differences and events. Pictures are drawn in code at sizes and places that differ from one to the next. {seeds(name, result)}

{figures(name, result)}

## Sample dialogues

{dialogues(result.get("samples", []))}

## Bias, risks and limits

Every low number above: ask such things and it will often be wrong. And everything else: it has never seen a photograph, a face, a
small letter, handwriting or another script; it knows nothing of the world, counts no further than six, and does
not say that it does not know. Do not use it for anything but learning.

## How to make it again

`python -m training make {name}` (see training/README.md): hours on two CPU cores, and less accurate; a quarter of an hour on a GPU of the size
named above, by the time that each of its steps took. It resumes after an interruption.

## Time and energy

{recipe.get("time", "Hours on two CPU cores; energy was not measured.").strip()}

## Citation

{CITATION % name}
"""
    return put(folder, text)
