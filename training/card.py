"""Writes MODEL_CARD.md of a bundled text model, as cards are on Hugging Face; every figure in it is measured.

`evaluation.json` beside the weights has the figures, `training/published` how the weights came to be, and this module
the words around them. training/vision/card.py does the same for models that see.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

from labs_helper.agent import solve
from training.config import BITS, CHECKPOINTS, GROUP, RUNS, TOKENS_A_STEP, recipes, write_json
from training.evaluate import as_people_ask, evaluate
from training.facts import ALL_FACTS
from training.grading import as_table
from training.history import again, fill, history
from training.world import LANGUAGE_NAMES, LANGUAGES, table, words

WHAT = {
    "instruct-tiny": "It plays the part of Phi-3.5-mini-instruct where the real one is not available.",
    "instruct-previous-tiny": "It plays the part of Phi-3-mini: the recipe of `instruct-tiny`, trained almost only on "
    "English, so that the course can show what more languages in the training text change.",
    "moe-tiny": "It plays the part of Phi-3.5-MoE-instruct: 16 experts a layer, and a router that picks two of them "
    "for each token.",
}
# What a card shows as dialogues, asked when it is written: some that it should manage, and some of which it should say
# that it does not know.
SAMPLES = (
    "What is the capital of Kenya?", "中国的首都是哪里？", "Translate 'bread' into Spanish.", "47 + 38",
    "서울은 어디에 있나요?", "Is Nairobi a country?", "Where is Shenzhen?", "Count from 1 to 12.", "34 x 21",
    "Who wrote Don Quixote?",
)  # fmt: skip
AGENT_SAMPLES = (
    "In which city is the Eiffel Tower? Then translate it into Korean.", "12% of 250",
    "Who won the World Cup in 2018?", "9**9**9**9",
    "How many words are in 'the quick brown fox jumps over the lazy dog'?",
)  # fmt: skip
CITATION = """```bibtex
@misc{{phi35labs,
  title = {{Phi-3.5 Labs: a notebook course about small language models on MLX}},
  author = {{{{The contributors of Phi-3.5 Labs}}}},
  year = {{2026}},
  note = {{Bundled checkpoint {name}}}
}}
```"""
TAKES = "hours on two CPU cores, minutes on a GPU with `--profile gpu`"
NOT_LOADED = ("MODEL_CARD.md", "evaluation.json")


# -- figures -----------------------------------------------------------------------------------------------


def measure(name: str, seed: int, n: int, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> dict:
    """Measure a checkpoint, and ask it what the card shows; write evaluation.json beside the weights.

    Where the run is at hand, its fp32 weights are measured on the same cases. Otherwise the last comparison stays: its
    cases and its seed are named with it.

    Args:
        seed: of the held-out cases.
        n: cases a task ("facts": a task and language).
    """
    folder, source = checkpoints / name, runs / name
    four = evaluate(str(folder), seed, n)["tasks"]
    result = {"seed": seed, "n": n, **counted(name, source, checkpoints), "4-bit": four}
    if (source / "model.safetensors").is_file():
        fp32 = evaluate(str(source), seed, n)["tasks"]
        result["rounding"] = {"seed": seed, "n": n, "4-bit": all_languages(four), "fp32": all_languages(fp32)}
    else:
        result["rounding"] = read_figures(name, checkpoints)["rounding"]
    result["people"] = as_people_ask(str(folder))["tasks"]
    result["samples"] = asked_samples(name, checkpoints)
    write_json(folder / "evaluation.json", result)
    return result


def counted(name: str, source: Path, checkpoints: Path) -> dict[str, int]:
    """The parameters of a model, and the steps and tokens of its training where one run made it."""
    if not (source / "model.safetensors").is_file():
        earlier = read_figures(name, checkpoints)
        return {key: earlier[key] for key in ("parameters", "steps", "tokens") if key in earlier}
    found = {"parameters": parameters(source)}
    if history(name, checkpoints) is None:  # weights of several runs have no single log
        log = [json.loads(line) for line in source.with_name(f"{name}.log.jsonl").read_text("utf-8").splitlines()]
        read = sum(max(0, later["tokens"] - earlier["tokens"]) for earlier, later in itertools.pairwise(log))
        found |= {"steps": recipes()[name]["steps"], "tokens": read}
    return found


def parameters(folder: Path) -> int:
    """Number of parameters of an unquantized folder, read from the safetensors header."""
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")


def all_languages(tasks: dict) -> dict[str, dict]:
    """The figures of tasks without their languages."""
    return {task: {"accuracy": cells["all"]["accuracy"], "n": cells["all"]["n"]} for task, cells in tasks.items()}


def asked_samples(name: str, checkpoints: Path = CHECKPOINTS) -> list[list[str]]:
    """What a checkpoint answers to SAMPLES and, as an agent, to AGENT_SAMPLES: [[who, question, answer], ...]."""
    import labs_helper

    model = labs_helper.load(str(checkpoints / name))
    found = [["model", question, model.ask(question, max_tokens=200).text] for question in SAMPLES]
    if recipes()[name]["architecture"] == "phimoe":
        traces = [(question, solve(model, question, detailed=False)) for question in AGENT_SAMPLES]
        found += [["agent", question, trace.answer or f"(no answer: {trace.error.what})"] for question, trace in traces]
    return found


def read_figures(name: str, checkpoints: Path = CHECKPOINTS) -> dict:
    """evaluation.json of a checkpoint."""
    return json.loads((checkpoints / name / "evaluation.json").read_text(encoding="utf-8"))


def describe(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write a card anew from the figures that are there, with fresh samples."""
    result = read_figures(name, checkpoints)
    result["samples"] = asked_samples(name, checkpoints)
    write_json(checkpoints / name / "evaluation.json", result)
    return write_card(name, checkpoints)


# -- parts of every card -----------------------------------------------------------------------------------


def header(name: str, languages: tuple[str, ...] = LANGUAGES, pipeline: str = "text-generation") -> str:
    """The YAML block at the head of a card, with the keys that Hugging Face reads."""
    recipe = recipes()[name]
    base = [f"base_model: {recipe['start']}", "base_model_relation: finetune"] if "start" in recipe else []
    more = ["mixture-of-experts"] if recipe["architecture"] == "phimoe" else []
    tags = ["mlx", recipe["architecture"], "education", "tiny", f"{BITS}-bit", *more]
    lines = [
        "license: mit",
        "language:",
        *(f"- {code}" for code in languages),
        "library_name: mlx",
        f"pipeline_tag: {pipeline}",
        *base,
        "inference: false",
        "tags:",
        *(f"- {tag}" for tag in tags),
    ]
    return "\n".join(["---", *lines, "---"])


def seeds(name: str, result: dict) -> str:
    """Which seeds chose weights or phrasings, and whether the card's own did."""
    chose, own = recipes()[name].get("chosen_by", []), result["seed"]
    if not chose:
        return f"Seed {own} chose nothing."
    told = f"Weights were compared, and failures looked at, on seeds {', '.join(map(str, chose))}."
    if own in chose:
        return f"{told} The figures are of such a seed and therefore somewhat too good."
    return f"{told} Seed {own} chose nothing."


def use(name: str, question: str, picture: str = "") -> str:
    """How to load a checkpoint and ask it."""
    more = f', images=["{picture}"]' if picture else ""
    return f"""```python
from labs_helper import load

model = load("{name}")
print(model.ask("{question}"{more}))
```"""


def dialogues(samples: list[list[str]]) -> str:
    """Samples as a Markdown table."""
    plain = [[part.replace("|", "\\|").replace("\n", " / ") for part in row] for row in samples]
    rows = [f"| {'(agent) ' * (who == 'agent')}{question} | {answer} |" for who, question, answer in plain]
    return "\n".join(["| asked | answered |", "| --- | --- |", *rows])


def figures(name: str, result: dict) -> str:
    """The accuracies of a card, how to measure them again, people's questions, and what 4 bits lost."""
    parts = [as_table({"tasks": result["4-bit"]}), repeated(name, result["n"])]
    if "people" in result:
        parts += [people(name), as_table({"tasks": result["people"]})]
    return "\n\n".join([*parts, rounding(result["rounding"])])


def repeated(name: str, n: int) -> str:
    """The command that measures again."""
    command = f"python -m training.evaluate data/checkpoints/{name} --seed ANY --n {n} --json"
    return f"Repeat it with `{command}`."


def people(name: str) -> str:
    """What stands above the table of people's questions."""
    return fill(
        "Questions as people type them (casual, with typos, polite, in mixed languages), written apart from the "
        "training's phrasings; they chose nothing. Repeat it with "
        f"`python -m training.evaluate data/checkpoints/{name} --people`."
    )


def rounding(compared: dict) -> str:
    """What the weights lost by rounding, on one set of cases."""
    four, source = compared["4-bit"], compared["fp32"]
    lost = {task: source[task]["accuracy"] - cell["accuracy"] for task, cell in four.items()}
    worst = max(lost, key=lost.get)
    said = fill(
        f"Before rounding to {BITS} bits, on the same cases (seed {compared['seed']}, {compared['n']} a task): most is "
        f"lost by {worst}, {max(lost[worst], 0):.3f}."
    )
    rows = [
        f"| {task} | {source[task]['accuracy']:.3f} | {cell['accuracy']:.3f} | {cell['n']} |"
        for task, cell in four.items()
    ]
    return "\n".join([said, "", f"| task | fp32 | {BITS} bits | n |", "| --- | ---: | ---: | ---: |", *rows])


def took(recipe: dict) -> str:
    """How long the training took."""
    return fill(recipe.get("time", "Hours on two CPU cores; energy was not measured."))


def megabytes(folder: Path) -> float:
    """Size of a checkpoint as it is loaded, without the card and its figures."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.name not in NOT_LOADED) / 1e6


def put(folder: Path, parts: list[str]) -> Path:
    """Write MODEL_CARD.md, whole or not at all."""
    partial = folder / "MODEL_CARD.partial"
    partial.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    partial.replace(folder / "MODEL_CARD.md")
    return folder / "MODEL_CARD.md"


# -- the card of a text model ------------------------------------------------------------------------------


def write_card(name: str, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write MODEL_CARD.md from evaluation.json, config.json and the recipe."""
    folder, recipe, result = checkpoints / name, recipes()[name], read_figures(name, checkpoints)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    moe = config["model_type"] == "phimoe"
    parts = [
        header(name),
        f"# {name}",
        introduction(name, config),
        sizes(folder, config, result["parameters"]),
        f"## Intended use\n\n{intended(moe)}",
        f"## Out of scope\n\n{OUT_OF_SCOPE}",
        f"## How to use it\n\n{use(name, 'What is the capital of Kenya?')}",
        fill(
            f'The folder is in the format of mlx-lm, which loads it as well: `mlx_lm.load("data/checkpoints/{name}")`.'
        ),
        f"## Training data\n\n{training_data(recipe, result, moe)}",
        f"## Evaluation\n\n{held_out_cases(name, result)}",
        figures(name, result),
        "## Sample dialogues\n\nAsked when this card was written, at temperature 0, failures included.",
        dialogues(result["samples"]),
        f"## Bias, risks and limits\n\n{limits(moe)}",
        f"## Time and energy\n\n{took(recipe)}",
        f"## How to make it again\n\n{again(name, TAKES, checkpoints)}",
        f"## Citation\n\n{CITATION.format(name=name)}",
    ]
    return put(folder, parts)


OUT_OF_SCOPE = fill(
    "Everything else. It gives no advice, it is no source of facts, and it must not decide anything about people. Its "
    "text is not filtered, because it can hardly say anything that its training text does not."
)


def introduction(name: str, config: dict) -> str:
    """What the model is, and what it is not."""
    recipe = recipes()[name]
    family = "Phi-3.5-MoE-instruct" if config["model_type"] == "phimoe" else "Phi-3.5-mini-instruct"
    text = fill(
        f"A small `{config['model_type']}` model that Phi-3.5 Labs trained itself, on text that the project generates. "
        f"**These are not Microsoft's weights**, and nothing here says anything about the quality of Phi-3.5. "
        f"{WHAT[name]} The architecture, the chat format, the special tokens and the LongRoPE keys are those of "
        f"{family}; only the sizes differ."
    )
    if "start" not in recipe:
        return text
    began = fill(
        f"It began as `{recipe['start']}`, which is trained in the same way: attention, embeddings and head as they "
        "were, and in every layer two experts a topic with the neurons that matter most for it (sparse upcycling, "
        "arXiv:2212.05055)."
    )
    return f"{text}\n\n{began}"


def sizes(folder: Path, config: dict, count: int) -> str:
    """The table of sizes."""
    shape = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
    context, short = config["max_position_embeddings"], config["original_max_position_embeddings"]
    experts, precision = "", ""
    if config["model_type"] == "phimoe":
        experts = f"| experts | {config['num_local_experts']} a layer, {config['num_experts_per_tok']} a token |\n"
        precision = "; router and head 8 bits"
    return f"""| | |
| --- | --- |
| parameters | {count / 1e6:.2f} M |
| layers / width / MLP / heads | {" / ".join(str(config[key]) for key in shape)} |
{experts}| vocabulary | {config["vocab_size"]} (byte-fallback BPE) |
| context | {context} tokens; the short RoPE table up to {short} |
| weights | {BITS} bits in groups of {GROUP}{precision}, scales and norms fp32 |
| on disk | {megabytes(folder):.1f} MB |
| licence | MIT |"""


def intended(moe: bool) -> str:
    """What the model is for."""
    tools = "; as an agent, plan which tools of the course answer a question" if moe else ""
    return fill(
        "Learning how language models work, in the notebooks of this course: answer about a small world in five "
        f"languages, do sums, write lists and JSON{tools}. It is small enough to be loaded in a second on any "
        "computer, and to be taken apart."
    )


def training_data(recipe: dict, result: dict, moe: bool) -> str:
    """What the model read."""
    kinds = ("animal", "fruit", "thing", "colour", "adjective")
    shares = ", ".join(f"{LANGUAGE_NAMES[lang]} {share:.0%}" for lang, share in recipe["languages"].items())
    read = "Generated conversations"
    if "steps" in result:
        amount = f"{result['steps']:,} steps of up to {TOKENS_A_STEP:,} tokens, {result['tokens'] / 1e6:.0f} M tokens"
        read = f"{amount} in all, of generated conversations"
    more = "simple Python, plans that call tools as JSON and their repair, " if moe else recipe.get("besides", "")
    text = fill(
        f"{read}: {shares}. They speak of {len(table('countries'))} countries, {len(table('cities'))} cities, "
        f"{len(table('landmarks'))} landmarks and {sum(len(words(kind)) for kind in kinds)} everyday words "
        f"({len(ALL_FACTS)} facts a language; languages other than English see {recipe['known']:.0%} of them here), "
        "sums, differences and products, numbered lists, JSON objects, codes hidden in long texts, "
        f"{more}names told in a chat, counting, short English stories, and questions outside all this, to which the "
        f"answer is that it does not know. The last part of the training saw the weights as rounded to {BITS} bits."
    )
    source = fill(
        "All of this text comes from the project's own tables and phrasings (`data/world`, `training/phrases`), under "
        "the project's MIT licence. No other text was used, and nothing that a person wrote to a model."
    )
    return "\n\n".join([text, source, *([experts(recipe)] if moe else [])])


def experts(recipe: dict) -> str:
    """How the routers were trained."""
    text = (
        "A loss on the routers kept every expert busy and rewarded experts for taking sides among languages, numbers, "
        "Python and plans, so that the course can show it: read their specialisation as encouraged, not as found."
    )
    if shared := recipe["routing"].get("shared", []):
        text += (
            f" In layer {', '.join(map(str, shared))} (the first is 0) it also kept second choices open to all topics: "
            "there a topic has one expert to itself, elsewhere two."
        )
    return fill(text)


def held_out_cases(name: str, result: dict) -> str:
    """What the model was measured on."""
    untaught = [task for task in recipes()[name].get("untaught", ()) if task in result["4-bit"]]
    taught = f" These tasks came later than the training of these weights: {', '.join(untaught)}." if untaught else ""
    return fill(
        f"Held-out cases, seed {result['seed']}, {result['n']} a task over all languages (facts: in each language): "
        "other phrasings than in training, other operand pairs, codes, ages, ranges and made-up names. Facts are the "
        "same ones, asked in other words: nobody knows a capital without having been told. "
        f"{seeds(name, result)}{taught}"
    )


def limits(moe: bool) -> str:
    """What is to be expected of the model, and what is not."""
    code = "no Python beyond a few lines" if moe else "no code"
    agent = (
        " As an agent it answers always, also where no tool fits: a made-up number is then its answer." if moe else ""
    )
    return fill(
        "Every low number above: ask such things and it will often be wrong. And everything else: it knows no person, "
        f"no history, no current events, {code} and no word beyond its list. It cannot reason, and outside its small "
        f"world it should say that it does not know, which it does not always do.{agent} Its stories are put together "
        "from a few dozen pieces. The countries and cities are those that somebody chose, many of them capitals and "
        "places that tourists know, and a country has one language and one currency here. Do not use it for anything "
        "but learning."
    )
