"""Writes MODEL_CARD.md of a 16-bit twin: its own figures, beside those of the 4-bit checkpoint on the same cases.

python -m training.twin_card instruct-tiny --seed 60221 --n 100
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.card import (
    OUT_OF_SCOPE,
    all_languages,
    header,
    parameters,
    put,
    read_figures,
    sizes,
    use,
)  # fmt: skip
from training.config import CHECKPOINTS, write_json
from training.evaluate import evaluate
from training.grading import as_table
from training.history import fill


def measure(name: str, seed: int, n: int, checkpoints: Path = CHECKPOINTS) -> dict:
    """Measure the twin of a checkpoint and write evaluation.json beside its weights.

    Args:
        name: of the 4-bit checkpoint.
        seed: of the held-out cases.
        n: cases a task ("facts": a task and language).
    """
    folder = checkpoints / f"{name}-16bit"
    result = {
        "seed": seed,
        "n": n,
        "parameters": parameters(folder),
        "16-bit": evaluate(str(folder), seed, n)["tasks"],
    }
    write_json(folder / "evaluation.json", result)
    return result


def write_card(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write MODEL_CARD.md of the twin from the figures that are there."""
    folder = checkpoints / f"{name}-16bit"
    result, four = read_figures(folder.name, checkpoints), read_figures(name, checkpoints)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parts = [
        header(name).replace("- 4-bit", "- 16-bit"),
        f"# {folder.name}",
        fill(
            f"The weights of `{name}` as they were before they were rounded, for the lab about rounding. Phi-3.5 Labs "
            "trained them itself, on text that the project generates. **These are not Microsoft's weights**, and "
            "nothing here says anything about the quality of Phi-3.5."
        ),
        fill(
            "They began as 4-bit weights, expanded, and then went through 7,850 steps of training that saw no rounded "
            f"ones. `{name}` is this model after 300 more steps, which did. The weights are float16 and not bfloat16: "
            "float16 keeps 11 bits of each, so what a rounding to fewer loses is lost by that rounding alone. "
            "Tokens that no training text has, such as most single bytes, keep what is left of their old rows."
        ),
        sizes(folder, config, result["parameters"]).replace(
            "4 bits in groups of 32, scales and norms fp32", "16 bits (float16), never rounded further"
        ),
        "## Intended use\n\n" + fill("To be rounded in lab 04, and compared with itself."),
        f"## Out of scope\n\n{OUT_OF_SCOPE}",
        f"## How to use it\n\n{use(folder.name, 'What is the capital of Kenya?')}",
        "## Evaluation\n\n"
        + fill(
            f"Held-out cases, seed {result['seed']}, {result['n']} a task over all languages (facts: in each "
            f"language), as in the card of [{name}](../{name}/MODEL_CARD.md), which says how they are made and what "
            f"the model was trained on. Seed {result['seed']} chose nothing."
        ),
        as_table({"tasks": result["16-bit"]}),
        beside(name, result, four),
        "## Bias, risks and limits\n\n"
        + fill(f"Those of `{name}`: it knows a small world, and is right about most of that. For learning only."),
    ]
    return put(folder, parts)


def beside(name: str, result: dict, four: dict) -> str:
    """Both checkpoints in one table, where they were measured on the same cases."""
    if (four["seed"], four["n"]) != (result["seed"], result["n"]):
        return ""
    old, new = all_languages(four["4-bit"]), all_languages(result["16-bit"])
    rows = [
        f"| {task} | {cell['accuracy']:.3f} | {old[task]['accuracy']:.3f} | {cell['n']} |"
        for task, cell in new.items()
        if task in old
    ]
    return "\n".join([f"| task | 16 bits | `{name}` | n |", "| --- | ---: | ---: | ---: |", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.twin_card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="of the 4-bit checkpoint")
    parser.add_argument("--seed", type=int, help="measure, on these cases; left out, the figures stay as they are")
    parser.add_argument("--n", type=int, default=100, help="cases a task; default 100")
    options = parser.parse_args()
    if options.seed is not None:
        measure(options.name, options.seed, options.n)
    print(f"wrote {write_card(options.name)}")


if __name__ == "__main__":
    main()
