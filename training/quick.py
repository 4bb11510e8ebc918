"""A quick look at a text model, also one that is still training: which tasks it would answer, token by token.

    python -m training.quick moe-tiny --seed 7 --each 10 training/runs/moe-tiny.state.pt
    python -m training.quick moe-tiny --seed 7 --rounded data/checkpoints/moe-tiny:0.3 training/runs/moe-tiny:0.7

For each held-out case, the share of cases in which every token of the reference answer is the likeliest one after the
tokens before it. That takes one pass for each case, with torch; training/evaluate.py lets the model write, and grades
what it says. Several weights are looked at as their mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training.cases import Case
from training.config import recipes
from training.quantization import start_rounding
from training.tasks import MOE_TASKS, MORE_TASKS, NEXT_TASKS, TASKS, USUAL_ANSWER, stream
from training.tokenizer import Encoder
from training.train import new_model
from training.weights import folder_of, give, mean, read
from training.world import LANGUAGES

# The same cases as "plan", or so long that they take most of the time.
LEFT_OUT = ("plan valid", "plan valid (constrained)", "needle")
WHOLE = ("agent", "refused")  # kinds of cases in which every turn of the model counts, not the last alone


def look(name: str, parts: dict[Path, float], seed: int, each: int, tasks=None, rounded: bool = False) -> dict:
    """The share of right cases for each task: {task: share}.

    Args:
        name: a recipe of a text model.
        parts: runs, published checkpoints or saved states, with their shares, 1 in all.
        each: cases a task and language.
        tasks: some of those that the model can do; None means all but `LEFT_OUT`.
        rounded: as with 4 bits.
    """
    folder, recipe = folder_of(next(iter(parts))), recipes()[name]
    model = new_model(folder, 1, recipe.get("routing"))
    give(model, mean([read(part) for part in parts], list(parts.values())))
    if rounded:
        start_rounding(model)
    model.eval()
    experts = "routing" in recipe
    if experts:
        model.settle()
    known = {**TASKS, **MORE_TASKS, **({**MOE_TASKS, **NEXT_TASKS} if experts else {})}
    encoder, original = Encoder(folder), recipe["model"]["original_max_position_embeddings"]
    found = {}
    for task in tasks or [task for task in known if task not in LEFT_OUT]:
        streams = {language: stream(task, language, seed, name) for language in LANGUAGES}
        cases = [known[task](streams[language], language) for language in LANGUAGES for _ in range(each)]
        found[task] = sum(likeliest(model, encoder, case, original) for case in cases) / len(cases)
    return found


@torch.no_grad()
def likeliest(model, encoder: Encoder, case: Case, original: int) -> bool:
    """Whether every token of the answer is the likeliest one."""
    ids, mask = encoder.conversation(case.messages)
    written = torch.tensor(mask) > 0
    if case.kind not in WHOLE:
        asked = (~written).nonzero().max()
        written[:asked] = False
    # The long table is chosen for prompt and room together.
    beyond = original if len(ids) + USUAL_ANSWER > original else 0
    positions = torch.arange(len(ids))[None] + beyond
    guessed = model(input_ids=torch.tensor([ids]), position_ids=positions, use_cache=False).logits[0, :-1].argmax(-1)
    return bool((guessed == torch.tensor(ids[1:]))[written[1:]].all())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.quick", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[name for name in recipes() if recipes()[name]["architecture"] != "phi3_v"])
    parser.add_argument("weights", nargs="+", metavar="PATH[:SHARE]", help="a run, a checkpoint or a saved state")
    parser.add_argument("--seed", type=int, required=True, help="any whole number: decides the cases")
    parser.add_argument("--each", type=int, default=10, help="cases a task and language; default 10")
    parser.add_argument("--tasks", nargs="*", help="default: all but the slow ones")
    parser.add_argument("--rounded", action="store_true", help="as with 4 bits")
    options = parser.parse_args()
    parts = {}
    for text in options.weights:
        path, _, share = text.rpartition(":") if ":" in text else (text, "", "1")
        parts[Path(path)] = float(share)
    torch.set_num_threads(1)
    for task, share in look(options.name, parts, options.seed, options.each, options.tasks, options.rounded).items():
        print(f"{task:16} {share:.3f}  of {options.each * len(LANGUAGES)}", flush=True)


if __name__ == "__main__":
    main()
