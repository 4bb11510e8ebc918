"""Writes MODEL_CARD.md of a bundled checkpoint; every figure in it is measured when the card is written."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from labs_helper.agent import solve

from .config import CHECKPOINTS, RUNS, recipes, write_json
from .corpus import ALL_FACTS
from .evaluate import as_table, evaluate
from .quantization import BITS, GROUP
from .train import TOKENS_A_STEP
from .world import LANGUAGE_NAMES, LANGUAGES, table, words

WHAT = {
    "instruct-tiny": "It plays the part of Phi-3.5-mini-instruct where the real one is not at hand.",
    "instruct-previous-tiny": "It plays the part of Phi-3-mini: the recipe of `instruct-tiny`, trained almost only on English, so that "
                              "the course can show what more languages in the training text change.",
    "moe-tiny": "It plays the part of Phi-3.5-MoE-instruct: 16 experts a layer, of which a router picks two for each token.",
}
# What a card shows as dialogues, asked when it is written: some that it should manage, some of which it should say that it does not know.
SAMPLES = ("What is the capital of Kenya?", "中国的首都是哪里？", "Translate 'bread' into Spanish.", "47 + 38", "서울은 어디에 있나요?", "Is Nairobi a country?",
           "Where is Shenzhen?", "Count from 1 to 12.", "34 x 21", "Who wrote Don Quixote?")
AGENT_SAMPLES = ("In which city is the Eiffel Tower? Then translate it into Korean.", "12% of 250", "Who won the World Cup in 2018?", "9**9**9**9",
                 "How many words are in 'the quick brown fox jumps over the lazy dog'?")
CITATION = """```bibtex
@misc{phi35labs,
  title = {Phi-3.5 Labs: a notebook course about small language models on MLX},
  author = {{The contributors of Phi-3.5 Labs}},
  year = {2026},
  note = {Bundled checkpoint %s}
}
```"""


def header(name: str, languages: tuple[str, ...] = LANGUAGES, pipeline: str = "text-generation") -> str:
    """The YAML block at the head of a card, with the keys that Hugging Face reads."""
    recipe = recipes()[name]
    base = [f"base_model: {recipe['start']}", "base_model_relation: finetune"] if "start" in recipe else []
    tags = ["mlx", recipe["architecture"], "education", "tiny", f"{BITS}-bit", *(["mixture-of-experts"] if recipe["architecture"] == "phimoe" else [])]
    return "\n".join(["---", "license: mit", "language:", *(f"- {code}" for code in languages), "library_name: mlx", f"pipeline_tag: {pipeline}", *base,
                      "inference: false", "tags:", *(f"- {tag}" for tag in tags), "---"])


def seeds(name: str, result: dict) -> str:
    """Which seeds chose weights or phrasings, and whether the card's own did."""
    chose = recipes()[name].get("chosen_by", [])
    if not chose:
        return f"Seed {result['seed']} chose nothing."
    also = " The figures below are of such a seed and therefore somewhat too good." if result["seed"] in chose else f" Seed {result['seed']} chose nothing."
    return f"Weights were compared, and failures looked at, on seeds {', '.join(map(str, chose))}.{also}"


def use(name: str, question: str) -> str:
    """How to load a checkpoint and ask it."""
    return f"""```python
from labs_helper import load

model = load("{name}")
print(model.ask("{question}"))
```"""


def asked_samples(name: str, checkpoints: Path = CHECKPOINTS) -> list[list[str]]:
    """What a checkpoint answers to SAMPLES and, with tools, to AGENT_SAMPLES: [[who, question, answer], ...]."""
    import labs_helper

    model = labs_helper.load(str(checkpoints / name))
    found = [["model", question, model.ask(question, max_tokens=200).text] for question in SAMPLES]
    if recipes()[name]["architecture"] == "phimoe":
        traces = [(question, solve(model, question, detailed=False)) for question in AGENT_SAMPLES]
        found += [["agent", question, trace.answer or f"(no answer: {trace.error.what})"] for question, trace in traces]
    return found


def dialogues(samples: list[list[str]]) -> str:
    """Samples as a Markdown table."""
    plain = [[part.replace("|", "\\|").replace("\n", " / ") for part in row] for row in samples]
    return "\n".join(["| asked | answered |", "| --- | --- |", *(f"| {'(agent) ' if who == 'agent' else ''}{question} | {answer} |" for who, question, answer in plain)])


def parameters(folder: Path) -> int:
    """Number of parameters of an unquantized folder, read from the safetensors header."""
    with open(folder / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")


def measure(name: str, seed: int, n: int, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> dict:
    """Measure the 4-bit checkpoint and its fp32 source on the same cases, and write evaluation.json beside the weights.

    Args:
        seed: of the held-out cases; n: cases a task ("facts": a task and language).
    """
    recipe, trained = recipes()[name], {}
    if "made" not in recipe:                # otherwise weights that came of more than one run; the recipe says of which
        log = [json.loads(line) for line in (runs / f"{name}.log.jsonl").read_text(encoding="utf-8").splitlines()]
        trained = {"steps": recipe["steps"], "tokens": sum(max(0, later["tokens"] - earlier["tokens"]) for earlier, later in zip(log, log[1:]))}
    result = {"seed": seed, "n": n, "parameters": parameters(runs / name), **trained,
              "4-bit": evaluate(str(checkpoints / name), seed, n)["tasks"], "fp32": evaluate(str(runs / name), seed, n)["tasks"]}
    result["samples"] = asked_samples(name, checkpoints)
    write_json(checkpoints / name / "evaluation.json", result)
    return result


def describe(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write a card anew from the figures that are there, with fresh samples."""
    file = checkpoints / name / "evaluation.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    result["samples"] = asked_samples(name, checkpoints)
    write_json(file, result)
    return write_card(name, checkpoints)


def megabytes(folder: Path) -> float:
    """Size of a checkpoint as it is loaded, without the card and its figures."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.name not in ("MODEL_CARD.md", "evaluation.json")) / 1e6


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
    os.replace(partial, folder / "MODEL_CARD.md")
    return folder / "MODEL_CARD.md"


def write_card(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write MODEL_CARD.md from evaluation.json, config.json and the recipe."""
    folder, recipe = checkpoints / name, recipes()[name]
    result = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    moe = config["model_type"] == "phimoe"
    family = "Phi-3.5-MoE-instruct" if moe else "Phi-3.5-mini-instruct"
    experts = f"| experts | {config['num_local_experts']} a layer, {config['num_experts_per_tok']} a token |\n" if moe else ""
    precision = "; router and head 8 bits" if moe else ""
    more = "\nsimple Python, plans that call tools as JSON and their repair, " if moe else ""
    shared = recipe.get("routing", {}).get("shared", [])
    sides = ("A loss on the routers kept every expert busy and rewarded experts for taking sides among languages, numbers, Python and "
             "plans, so that the course can show it: read their specialisation as encouraged, not as found.\n") if moe else ""
    if shared:
        sides += (f"In layer {', '.join(map(str, shared))} (the first is 0) it also kept second choices open to all topics: there a topic has one expert to "
                  "itself, elsewhere two.\n")
    start = (f"\nIt began as `{recipe['start']}`, which is trained in the same way: attention, embeddings and head as they were, and in every layer two "
             "experts a topic with the neurons that matter most for it (sparse upcycling, arXiv:2212.05055).\n") if "start" in recipe else ""
    no_code = "no Python beyond a few lines" if moe else "no code"
    read = recipe["made"].strip() if "made" in recipe else \
        f"{result['steps']:,} steps of up to {TOKENS_A_STEP:,} tokens, {result['tokens'] / 1e6:.0f} M tokens in all"
    shares = ", ".join(f"{LANGUAGE_NAMES[lang]} {share:.0%}" for lang, share in recipe["languages"].items())
    tools = "; as an agent, plan which tools of the course answer a question and say so where none does" if moe else ""
    text = f"""{header(name)}

# {name}

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

## Intended use

Learning how language models work, in the notebooks of this course: answer about a small world in five languages, do sums, write
lists and JSON{tools}. It is small enough to be loaded in a second on any computer, and to be taken apart.

## Out of scope

Everything else. It gives no advice, it is no source of facts, and it must not decide anything about people. Its text is not filtered,
because it can hardly say anything that its training text does not.

## How to use it

{use(name, "What is the capital of Kenya?")}

The folder is in the format of mlx-lm, which loads it as well: `mlx_lm.load("data/checkpoints/{name}")`.

## Training data

{read}, of generated conversations: {shares}.
They speak of {len(table("countries"))} countries, {len(table("cities"))} cities, {len(table("landmarks"))} landmarks and {sum(len(words(k)) for k in ("animal", "fruit", "thing", "colour", "adjective"))} everyday words
({len(ALL_FACTS)} facts a language; languages other than English see {recipe["known"]:.0%} of them here), sums, differences and products,
numbered lists, JSON objects, codes hidden in long texts, {more}names told in a chat, counting, short English stories, and
questions outside all this, to which the answer is that it does not know. The last part of the training saw the weights as
rounded to {BITS} bits. All of this text comes from the project's own tables and phrasings (`data/world`, `training/phrases`), under the
project's MIT licence; no other text, and nothing that a person wrote to a model, was used.
{sides}
## Evaluation

Held-out cases, seed {result["seed"]}: other phrasings than in training, other operand pairs, codes, ages, ranges and made-up names.
Facts are the same ones, asked in other words: nobody knows a capital without having been told. {seeds(name, result)}

{figures(name, result)}

## Sample dialogues

Asked when this card was written, at temperature 0, failures included.

{dialogues(result.get("samples", []))}

## Bias, risks and limits

Every low number above: ask such things and it will often be wrong. And everything else: it knows no person, no history, no news, {no_code} and no word beyond its list; it cannot reason, and outside
its small world it should say that it does not know, which it does not always do. Its stories are put together from a
few dozen pieces. The countries and cities are those that somebody chose, many of them capitals and places that tourists know, and a country has one language
and one currency here. Do not use it for anything but learning.

## Time and energy

{recipe.get("time", "Hours on two CPU cores; energy was not measured.").strip()}

## How to make it again

`python -m training make {name}` (see training/README.md): hours on two CPU cores, minutes on a GPU. It resumes after an interruption.

## Citation

{CITATION % name}
"""
    return put(folder, text)
