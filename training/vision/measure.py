"""Measures the fp32 run of vision-tiny with torch on held-out pictures: how many answers does the grader find right?

    python -m training.vision.measure --seed 7 --n 50

Any seed: it decides the cases.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from training.config import RUNS, recipes
from training.team import Team
from training.tokenizer import Encoder
from training.vision.heldout import answer
from training.vision.model import Phi3V
from training.vision.parts import seeded
from training.vision.stages import features_of
from training.vision.tasks import NAME, TASKS, Album, draw_case, right
from training.vision.train import load_weights, new_model, prepare


def load(folder: Path) -> Phi3V:
    """The finished model of a run."""
    model = Phi3V(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    load_weights(model, folder)
    return model.eval()


def measure(model: Phi3V, encoder: Encoder, seed: int, n: int, tasks=tuple(TASKS), show: int = 0) -> dict[str, float]:
    """Accuracy by task.

    Args:
        show: print this many wrong answers of each task.
    """
    team, results = Team(), {}
    model.to(team.device)
    for task in tqdm(tasks, desc="measure", file=sys.stderr):
        album, good = Album("eval", seeded(seed, task)), 0
        shown = 0
        for _ in range(n):
            case = draw_case(album, task)
            said = answer(
                model, encoder, case.messages[0]["content"], features_of(model, case.details["pictures"], team)
            )
            ok = right(case, said)
            good += ok
            if not ok and shown < show:
                shown += 1
                print(
                    f"[{task}] {case.messages[0]['content']!r}\n"
                    f"   wanted {case.messages[1]['content']!r}\n   got    {said!r}",
                    file=sys.stderr,
                )
        results[task] = round(good / n, 4)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.vision.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name", nargs="?", default=NAME, choices=[n for n, r in recipes().items() if r["architecture"] == "phi3_v"]
    )
    parser.add_argument("--seed", type=int, default=2026, help="any whole number: decides the cases")
    parser.add_argument("--n", type=int, default=50, help="cases per task (default 50)")
    parser.add_argument(
        "--tasks", nargs="*", choices=list(TASKS), default=list(TASKS), metavar="TASK", help=", ".join(TASKS)
    )
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers of each task")
    parser.add_argument(
        "--stopped", action="store_true", help="measure a run that is not finished, from its newest state"
    )
    options = parser.parse_args()
    folder = RUNS / options.name
    model = stopped(options.name, RUNS) if options.stopped else load(folder)
    print(json.dumps(measure(model, Encoder(folder), options.seed, options.n, options.tasks, options.show), indent=1))


def stopped(name: str, runs: Path) -> Phi3V:
    """The model of a run as its tower's and decoder's states have it."""
    folder = runs / name
    if not (folder / "config.json").exists():
        prepare(name, folder)
    model = new_model(recipes()[name], folder)
    for stage, part, prefix in (
        ("tower", model.vision, "vision."),
        ("symbols", model.decoder, "decoder."),
        ("decoder", model, "all."),
        ("joint", model, "all."),
        ("finish", model, "all."),
    ):
        file = folder / f"{stage}.state.pt"
        if file.exists():
            state = torch.load(file, map_location="cpu", weights_only=True)
            part.load_state_dict({k.removeprefix(prefix): v for k, v in state["model"].items() if k.startswith(prefix)})
            print(f"{stage}: {state['step']} steps", file=sys.stderr)
    return model.eval()


if __name__ == "__main__":
    main()
