"""Phi-3.5-vision's true widths in ONNX Runtime, with random weights: seconds until it has seen a picture, and speed.

    python -m benchmarks onnx [--crops 1 4 16] [--json FILE]

The tower is whole. The decoder has 1 and 3 layers, from which what 32 take is computed: head and embedding once, a
layer 32 times. The prompt has the length that the picture gives it. The graphs are ours (benchmarks/onnx_shapes.py).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.onnx_shapes import make_onnx
from benchmarks.progress import say
from labs_helper.engines.onnx_genai import CHUNK
from labs_helper.engines.onnx_sessions import Cache, Sessions
from labs_helper.pictures.images import TILE, layout
from labs_helper.store import onnx_folder

CROPS, FEW, MORE, WHOLE = (1, 4, 16), 1, 3, 32
QUESTION, TOKENS = 20, 8  # tokens of a question and of an answer


def folders(parent: Path) -> Path:
    """Make the two folders, "3" and "1", and return what holds them."""
    whole = make_onnx(parent / str(MORE), "vision", MORE)
    make_onnx(parent / str(FEW), "vision", FEW, like=whole)
    return parent


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def read(sessions: Sessions, cache: Cache, count: int) -> None:
    """Read a prompt of so many tokens, chunk by chunk as the engine does."""
    rows = sessions.rows([5] * count)
    for begin in range(0, count, CHUNK):
        sessions.scores(rows[:, begin : begin + CHUNK], cache, begin, 0)


def runs(tokens: int) -> int:
    """How often something is measured: what takes a minute, once."""
    return 1 if tokens > 1000 else 2


def text_seconds(sessions: Sessions, prompts: Sequence[int]) -> list[float]:
    """Seconds for a token of an answer after the shortest prompt, then for reading each prompt: best of some runs."""
    cache = sessions.new_cache()
    cache.grow(max(prompts) + TOKENS, 0)
    one = sessions.rows([7])
    read(sessions, cache, CHUNK)  # the first run makes room
    found = [min(timed(lambda n=count: read(sessions, cache, n)) for _ in range(runs(count))) for count in prompts]
    spoken = [timed(lambda n=n: sessions.scores(one, cache, min(prompts) + n, 0)) for n in range(TOKENS)]
    return [min(spoken), *found]


def measure(parent: Path, crops: Sequence[int]) -> dict:
    """Measure in the folders that `folders` has made.

    Returns:
        "token", seconds for one; "pictures", for each number of crops its views and tokens, the seconds to see it
        (measured, each run), and those to read the prompt: measured with each number of layers, and computed.
    """
    plans = [layout(1000, 1000, number) for number in crops]
    prompts = [plan.tokens + QUESTION for plan in plans]
    few, more, seen = [], [], []
    for layers, into in ((FEW, few), (MORE, more)):
        sessions = Sessions(onnx_folder.read(parent / str(layers)))
        into += text_seconds(sessions, prompts)
        say(f"  {layers} layer(s) read")
    pixels = np.random.default_rng(1).standard_normal((1, 3, TILE, TILE), dtype=np.float32)
    for plan in plans:
        views = np.repeat(pixels, plan.tiles + 1, axis=0)
        seen.append(
            [
                timed(lambda v=views, p=plan: sessions.picture_rows(v, p.rows, p.columns, TILE, lambda: False))
                for _ in range(runs(plan.tokens))
            ]
        )
        say(f"  {plan.tiles + 1} views seen")
    each = [(long - short) / (MORE - FEW) for short, long in zip(few, more, strict=True)]
    whole = [short + (WHOLE - FEW) * more_ for short, more_ in zip(few, each, strict=True)]
    pictures = [
        {
            "crops": number,
            "views": plan.tiles + 1,
            "tokens": prompt,
            "see": see,
            "read_few": few[n + 1],
            "read_more": more[n + 1],
            "read": whole[n + 1],
        }
        for n, (number, plan, prompt, see) in enumerate(zip(crops, plans, prompts, seen, strict=True))
    ]
    return {"token": whole[0], "token_few": few[0], "token_more": more[0], "pictures": pictures}


def show(report: dict) -> None:
    """Print the tables."""
    print(
        f"\nPhi-3.5-vision's shape in ONNX Runtime, random weights; {FEW} and {MORE} layers measured, {WHOLE} computed"
    )
    few, more = (1000 * report[key] for key in ("token_few", "token_more"))
    print(f"a token of an answer: {few:.0f} and {more:.0f} ms measured; computed {1 / report['token']:.1f} tokens/s")
    print(f"{'num_crops':>9}{'views':>7}{'s to see them':>16}{'tokens':>8}{'read, computed':>16}{'first token, s':>16}")
    for one in report["pictures"]:
        see = f"{min(one['see']):.1f} to {max(one['see']):.1f}"
        first = min(one["see"]) + one["read"]
        print(f"{one['crops']:>9}{one['views']:>7}{see:>16}{one['tokens']:>8}{one['read']:>16.1f}{first:>16.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks onnx", description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, nargs="+", default=CROPS)
    parser.add_argument("--folder", help="where the temporary files go (default: the system's place for them)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labs-onnx-", dir=options.folder) as scratch:
        report = measure(folders(Path(scratch)), options.crops)
    show(report)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
