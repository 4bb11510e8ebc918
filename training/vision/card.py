"""Writes MODEL_CARD.md of a bundled model that sees; every figure in it is measured when the card is written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from training.card import (
    CITATION,
    all_languages,
    counted,
    dialogues,
    figures,
    header,
    megabytes,
    put,
    read_figures,
    seeds,
    took,
    use,
)
from training.config import BITS, CHECKPOINTS, GROUP, RUNS, recipes, write_json
from training.evaluate import evaluate
from training.history import again, fill
from training.vision import tasks
from training.vision.paint import picture

UNUSED = "(the last is in the format, but not used)"
VOCABULARY = "byte-fallback BPE of its own: a colour, a shape or a place is one token, capitals and digits stand alone"
TAKES = (
    "hours on two CPU cores, and less accurate; with `--profile gpu` a quarter of an hour on an H100, "
    "by the time that each of its steps took"
)


def measure(name: str, seed: int, n: int, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> dict:
    """Measure the checkpoint, and ask it what the card shows; write evaluation.json.

    Where the run is at hand, the same weights before quantization are measured on the same cases.

    Args:
        seed: of the held-out cases.
        n: cases a task.
    """
    folder, source = checkpoints / name, runs / name
    four = evaluate(str(folder), seed, n)["tasks"]
    result = {"seed": seed, "n": n, "parameters": counted(name, source, checkpoints)["parameters"], "4-bit": four}
    if (source / "model.safetensors").is_file():
        from training.vision.export import export

        with tempfile.TemporaryDirectory() as scratch:
            fp32 = evaluate(str(export(name, runs, Path(scratch), plain=True)), seed, n)["tasks"]
        result["rounding"] = {"seed": seed, "n": n, "4-bit": all_languages(four), "fp32": all_languages(fp32)}
    else:
        result["rounding"] = read_figures(name, checkpoints)["rounding"]
    result["samples"] = asked_samples(name, checkpoints)
    write_json(folder / "evaluation.json", result)
    return result


def asked_samples(name: str, checkpoints: Path = CHECKPOINTS) -> list[list[str]]:
    """The first held-out case of each task, from a stream of its own; the reference says what is in the picture."""
    import labs_helper

    model, found = labs_helper.load(str(checkpoints / name)), []
    for task in tasks.TASKS:
        case = tasks.draw_case(tasks.Album("eval", f"card-{task}"), task)
        pictures = [picture(scene) for scene in case.details["pictures"]]
        answer = model.ask(case.prompt, images=pictures, max_tokens=112).text
        verdict = "right" if tasks.right(case, answer) else "wrong"
        found.append(["model", f"({task}) {case.prompt[-1]['content']}", f"{answer} ({verdict})"])
    return found


def describe(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write a card anew from the figures that are there, with fresh samples."""
    result = read_figures(name, checkpoints)
    result["samples"] = asked_samples(name, checkpoints)
    write_json(checkpoints / name / "evaluation.json", result)
    return write_card(name, checkpoints)


def write_card(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write MODEL_CARD.md from evaluation.json, config.json and the recipe."""
    folder, recipe, result = checkpoints / name, recipes()[name], read_figures(name, checkpoints)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    asked = "What is in the picture?"
    parts = [
        header(name, ("en",), "image-text-to-text"),
        f"# {name}",
        INTRODUCTION.format(kind=config["model_type"]),
        sizes(folder, config, result["parameters"]),
        f"## Intended use\n\n{INTENDED}",
        f"## Out of scope\n\n{OUT_OF_SCOPE}",
        f"## How to use it\n\n{use(name, asked, 'images/vision/everyday-things.png')}",
        f"## Training data\n\n{TRAINING_DATA.format(start=recipe['start'], bits=BITS)}",
        f"## Evaluation\n\n{held_out_cases(name, result)}",
        figures(name, result),
        "## Sample dialogues\n\nThe first held-out case of each task, asked when this card was written.",
        dialogues(result["samples"]),
        f"## Bias, risks and limits\n\n{LIMITS}",
        f"## Time and energy\n\n{took(recipe)}",
        f"## How to make it again\n\n{again(name, TAKES, checkpoints)}",
        f"## Citation\n\n{CITATION.format(name=name)}",
    ]
    return put(folder, parts)


INTRODUCTION = fill(
    "A small `{kind}` model that Phi-3.5 Labs trained itself, on pictures that the project draws. **These are not "
    "Microsoft's weights**, and nothing here says anything about the quality of Phi-3.5. It plays the part of "
    "Phi-3.5-vision-instruct where the real one is not at hand. The architecture, the image processing, the tags and "
    "the chat format are those of Phi-3.5-vision-instruct; only the sizes differ."
)
INTENDED = fill(
    "Learning how a model sees, in the notebooks of this course: pictures that the project draws, and questions about "
    "them in English."
)
OUT_OF_SCOPE = "Photographs, faces, documents, and every decision about people or things."
TRAINING_DATA = fill(
    "Drawn pictures only: shapes and everyday things with their colours and places, crowds to be counted, printed "
    "words and numbers (capital letters), bar, line and pie charts, small tables, pairs with one difference, and clips "
    "of a few frames. The decoder began as `{start}`; its weights were rounded to {bits} bits in the last part of the "
    "training. The pictures come from the project's own code and the questions from its phrasings, under the project's "
    "MIT licence; no photograph was used."
)
LIMITS = fill(
    "Every low number above: ask such things and it will often be wrong. And everything else: it has never seen a "
    "photograph, a face, a small letter, handwriting or another script; it knows nothing of the world, counts no "
    "further than six, and does not say that it does not know. Do not use it for anything but learning."
)


def sizes(folder: Path, config: dict, count: int) -> str:
    """The table of sizes."""
    sight = config["vision_config"]
    shape = ("hidden_size", "intermediate_size", "num_attention_heads")
    tower = (f"{sight['num_hidden_layers']} {UNUSED}", *(str(sight[key]) for key in shape))
    decoder = (str(config[key]) for key in ("num_hidden_layers", *shape))
    tile = f"{sight['image_size']} x {sight['image_size']} pixels"
    context, short = config["max_position_embeddings"], config["original_max_position_embeddings"]
    return f"""| | |
| --- | --- |
| parameters | {count / 1e6:.2f} M |
| tower: layers / width / MLP / heads | {" / ".join(tower)} |
| decoder: layers / width / MLP / heads | {" / ".join(decoder)} |
| pictures | tiles of {tile}; trained with one tile and the global view: 313 tokens per picture |
| vocabulary | {config["vocab_size"]} ({VOCABULARY}) |
| context | {context} tokens; the short RoPE table up to {short} |
| weights | decoder {BITS} bits in groups of {GROUP}; tower, projection, scales and norms fp32 |
| on disk | {megabytes(folder):.1f} MB |
| licence | MIT |"""


def held_out_cases(name: str, result: dict) -> str:
    """What the model was measured on.

    `other_seeds` in the figures names tasks that were measured later than the others, with a seed of their own.
    """
    later = result.get("other_seeds", {})
    others = [f"{one} for {', '.join(t for t in later if later[t] == one)}" for one in dict.fromkeys(later.values())]
    seed = "; ".join([str(result["seed"]), *others])
    return fill(
        f"Held-out cases, seed {seed}, {result['n']} a task: other phrasings than in training, other printed "
        "words, other labels with their values, other arrangements, differences and events. Pictures are drawn in code "
        f"at sizes and places that differ from one to the next. {seeds(name, result)}"
    )
