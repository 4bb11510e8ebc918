"""How long one picture and four frames take, with and without a fast BLAS.

    python -m benchmarks vision [CHECKPOINT] [--runs 5] [--tokens 24] [--num-crops N] [--json FILE]

Each side runs in a process of its own: one as the labs run, on Linux one more with LABS_BLAS=0, which leaves MLX with
the reference BLAS of its wheel. Nothing is kept between two runs, neither the prompt cache nor the rows of a picture.
  first token   seconds from the question with its pictures to the first token: resizing, tower and prompt
  in all        seconds until the answer of `--tokens` tokens is complete (aim: 3 s for one picture, 10 s for four)
  peak memory   the most that MLX used, and the most that the whole process held, Python included (aim: below 1 GB)
Medians of the runs; stop tokens are switched off, so that every answer has the same length.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bench_memory import peak
from labs_helper import doctor
from labs_helper.common.units import size
from labs_helper.models.load import load
from labs_helper.models.model import Model

CASES = {"one picture": ("What is in this picture?", 1), "four frames": ("What happens in these frames?", 4)}
SIDE = 336  # pixels


def frames(count: int) -> list:
    """Pictures of a disc that moves from left to right."""
    from PIL import Image, ImageDraw

    made = []
    for i in range(count):
        image = Image.new("RGB", (SIDE, SIDE), "white")
        left = 20 + i * 60
        ImageDraw.Draw(image).ellipse((left, 120, left + 90, 210), fill=(200, 40, 40))
        made.append(image)
    return made


def measure(model: Model, question: str, pictures: int, options: argparse.Namespace) -> dict:
    """Medians over the runs for a question with so many pictures."""
    engine, answers = model.engine, []
    for run in range(options.runs + 1):
        engine.prompt_cache.clear()
        engine._rows = {}  # private: no caller but this one wants a picture to be looked at again
        answer = model.ask(question, images=frames(pictures), num_crops=options.num_crops, max_tokens=options.tokens)
        if run:  # the first round warms up
            answers.append(answer)
    return {
        "prompt_tokens": answers[0].prompt_tokens,
        "picture_tokens": list(answers[0].image_tokens),
        "generated_tokens": answers[0].generated_tokens,
        "seconds_to_first_token": statistics.median(answer.seconds_to_first_token for answer in answers),
        "seconds": statistics.median(answer.seconds for answer in answers),
        "seconds_best": min(answer.seconds for answer in answers),
        "peak_memory_mlx": max(answer.peak_memory for answer in answers),
    }


def one_side(options: argparse.Namespace) -> dict:
    """All cases in this process."""
    model = load(options.checkpoint)
    if not model.takes_images:
        raise SystemExit(f"{model.name} is a text model; give a checkpoint that sees.")
    model.ask("Hello", max_tokens=1)
    model.engine.stop_ids = frozenset()
    cases = {name: measure(model, *case, options) for name, case in CASES.items()}
    return {
        "checkpoint": model.name,
        "machine": doctor.versions(),
        "blas": doctor.blas_row().detail,
        "cases": cases,
        "bytes_of_the_weights": model.engine.weight_bytes,
        "peak_memory_process": peak(),
    }


def in_a_process(**environment: str) -> dict:
    """`one_side` in a fresh process with the same arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one-side"]
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure both sides and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", default="vision", help="a role, a catalog name or a folder")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=24, help="generated tokens in each run")
    parser.add_argument("--num-crops", type=int, help="tiles a picture is cut into at most; default: the checkpoint's")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one-side", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_side:
        print(json.dumps(one_side(options)))
        return
    sides = [in_a_process()]
    if sys.platform.startswith("linux"):
        sides.append(in_a_process(LABS_BLAS="0"))
    for side in sides:
        show(side)
    if options.json:
        options.json.write_text(json.dumps(sides, indent=1) + "\n", encoding="utf-8")


def show(side: dict) -> None:
    print(f"\n{side['checkpoint']}   {side['machine']}\nBLAS: {side['blas']}")
    print(f"{'':<14}{'prompt tokens':>14}{'first token, s':>16}{'in all, s':>11}{'best':>8}{'peak of MLX':>13}")
    for name, case in side["cases"].items():
        print(
            f"{name:<14}{case['prompt_tokens']:>14}{case['seconds_to_first_token']:>16.2f}{case['seconds']:>11.2f}"
            f"{case['seconds_best']:>8.2f}{size(case['peak_memory_mlx']):>13}"
        )
    print(f"weights {size(side['bytes_of_the_weights'])}, whole process at most {size(side['peak_memory_process'])}")


if __name__ == "__main__":
    main()
