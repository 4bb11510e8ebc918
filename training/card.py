"""Writes MODEL_CARD.md of a bundled checkpoint; every figure in it is measured when the card is written."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

from training.config import CHECKPOINTS, RUNS, recipes, write_json
from training.evaluate import evaluate
from training.facts import ALL_FACTS
from training.grading import as_table
from training.history import again, history
from training.quantization import BITS, GROUP
from training.train import TOKENS_A_STEP
from training.world import LANGUAGE_NAMES, table, words

WHAT = {
    "instruct-tiny": "It plays the part of Phi-3.5-mini-instruct where the real one is not at hand.",
    "instruct-previous-tiny": "It plays the part of Phi-3-mini: the recipe of `instruct-tiny`, trained almost only on English, so that "
    "the course can show what more languages in the training text change.",
    "moe-tiny": "It plays the part of Phi-3.5-MoE-instruct: 16 experts a layer, of which a router picks two for each token.",
}


def parameters(folder: Path) -> int:
    """Number of parameters of an unquantized folder, read from the safetensors header."""
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")


def measure(name: str, seed: int, n: int, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> dict:
    """Measure the 4-bit checkpoint and its fp32 source on the same cases, and write evaluation.json beside the weights.

    Args:
        seed: of the held-out cases; n: cases a task ("facts": a task and language).
    """
    recipe, trained = recipes()[name], {}
    if history(name, checkpoints) is None:  # weights of several runs have no single log
        log = [json.loads(line) for line in (runs / f"{name}.log.jsonl").read_text(encoding="utf-8").splitlines()]
        trained = {
            "steps": recipe["steps"],
            "tokens": sum(max(0, later["tokens"] - earlier["tokens"]) for earlier, later in itertools.pairwise(log)),
        }
    result = {
        "seed": seed,
        "n": n,
        "parameters": parameters(runs / name),
        **trained,
        "4-bit": evaluate(str(checkpoints / name), seed, n)["tasks"],
        "fp32": evaluate(str(runs / name), seed, n)["tasks"],
    }
    write_json(checkpoints / name / "evaluation.json", result)
    return result


def megabytes(folder: Path) -> float:
    """Size of a checkpoint as it is loaded, without the card and its figures."""
    return (
        sum(file.stat().st_size for file in folder.iterdir() if file.name not in ("MODEL_CARD.md", "evaluation.json"))
        / 1e6
    )


def figures(name: str, result: dict) -> str:
    """The accuracies of a card: at 4 bits, before quantization, what was lost most, and how to measure it again."""
    measured, source = result["4-bit"], result["fp32"]
    # Lost by quantization: the largest difference over the tasks, all languages together.
    lost = {task: source[task]["all"]["accuracy"] - cells["all"]["accuracy"] for task, cells in measured.items()}
    worst = max(lost, key=lost.get)
    return f"""{as_table({"tasks": measured})}

Before quantization (fp32):

{as_table({"tasks": source})}

Most lost by {BITS} bits: {max(lost[worst], 0):.3f} ({worst}). Repeat it with
`python -m training.evaluate data/checkpoints/{name} --seed ANY --n {result["n"]} --json`."""


def put(folder: Path, text: str) -> Path:
    """Write MODEL_CARD.md, whole or not at all."""
    partial = folder / "MODEL_CARD.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / "MODEL_CARD.md")
    return folder / "MODEL_CARD.md"


def write_card(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write MODEL_CARD.md from evaluation.json, config.json and the recipe."""
    folder, recipe = checkpoints / name, recipes()[name]
    result = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    moe = config["model_type"] == "phimoe"
    family = "Phi-3.5-MoE-instruct" if moe else "Phi-3.5-mini-instruct"
    experts = (
        f"| experts | {config['num_local_experts']} a layer, {config['num_experts_per_tok']} a token |\n" if moe else ""
    )
    precision = "; router and head 8 bits" if moe else ""
    more = "\nsimple Python, plans that call tools as JSON and their repair, " if moe else ""
    shared = recipe.get("routing", {}).get("shared", [])
    sides = (
        (
            "A loss on the routers kept every expert busy and rewarded experts for taking sides among languages, numbers, Python and "
            "plans, so that the course can show it: read their specialisation as encouraged, not as found.\n"
        )
        if moe
        else ""
    )
    if shared:
        sides += (
            f"In layer {', '.join(map(str, shared))} (the first is 0) it also kept second choices open to all topics: there a topic has one expert to "
            "itself, elsewhere two.\n"
        )
    start = (
        (
            f"\nIt began as `{recipe['start']}`, which is trained in the same way: attention, embeddings and head as they were, and in every layer two "
            "experts a topic with the neurons that matter most for it (sparse upcycling, arXiv:2212.05055).\n"
        )
        if "start" in recipe
        else ""
    )
    no_code = "no Python beyond a few lines" if moe else "no code"
    read = "Generated conversations"
    if "steps" in result:
        steps, tokens = (
            f"{result['steps']:,} steps of up to {TOKENS_A_STEP:,} tokens",
            f"{result['tokens'] / 1e6:.0f} M tokens",
        )
        read = f"{steps}, {tokens} in all, of generated conversations"
    shares = ", ".join(f"{LANGUAGE_NAMES[lang]} {share:.0%}" for lang, share in recipe["languages"].items())
    text = f"""# {name}

A small `{config["model_type"]}` model that Phi-3.5 Labs trained itself, on text that the project generates.
**These are not Microsoft's weights**, and nothing here says anything about the quality of Phi-3.5. {WHAT[name]}
The architecture, the chat format, the special tokens and the LongRoPE keys are those of {family}; only the
sizes differ.
{start}
| | |
| --- | --- |
| parameters | {result["parameters"] / 1e6:.2f} M |
| layers / width / MLP / heads | {config["num_hidden_layers"]} / {config["hidden_size"]} / {config["intermediate_size"]} / {config["num_attention_heads"]} |
{experts}| vocabulary | {config["vocab_size"]} (byte-fallback BPE) |
| context | {config["max_position_embeddings"]} tokens; the short RoPE table up to {config["original_max_position_embeddings"]} |
| weights | {BITS} bits in groups of {GROUP}{precision}, scales and norms fp32 |
| on disk | {megabytes(folder):.1f} MB |
| licence | MIT |

## What it saw

{read}: {shares}.
They speak of {len(table("countries"))} countries, {len(table("cities"))} cities, {len(table("landmarks"))} landmarks and {sum(len(words(k)) for k in ("animal", "fruit", "thing", "colour", "adjective"))} everyday words
({len(ALL_FACTS)} facts a language; languages other than English see {recipe["known"]:.0%} of them here), sums, differences and products,
numbered lists, JSON objects, codes hidden in long texts, {more}names told in a chat, counting, short English stories, and
questions outside all this, to which the answer is that it does not know. The last fifth of the training saw the weights as
rounded to {BITS} bits.
{sides}
## What it can do, measured

Held-out cases, seed {result["seed"]}: other phrasings than in training, other operand pairs, codes, ages, ranges and made-up names.
Facts are the same ones, asked in other words: nobody knows a capital without having been told.

{figures(name, result)}

## What it cannot do

Every low number above: ask such things and it will often be wrong. And everything else: it knows no person, no history, no news, {no_code} and no word beyond its list; it cannot reason, and outside
its small world it should say that it does not know, which it does not always do. Its stories are put together from a
few dozen pieces. Do not use it for anything but learning.

## How to make it again

{again(name, "hours on two CPU cores, minutes on a GPU with `--profile gpu`", checkpoints)}
"""
    return put(folder, text)
