"""The real models' shapes on this machine's GPU, or on its CPU: speed, memory, and the share of the memory's bandwidth.

    python -m benchmarks gpu [--shape mini moe] [--layers N] [--tokens 64] [--runs 3] [--json FILE]

Weights are random, at 4 bits, and are written to a temporary folder first (2 GB for mini, 24 GB for moe). Each token
reads every weight but the table of embeddings, of which it reads one row, and two of sixteen experts. The share is what
a token reads, times tokens a second, over the bytes a second that MLX copies here.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import shapes
from labs_helper import doctor, store
from labs_helper.common.units import size

QUESTION = "Where is Changsha?"
EXPERTS = (2, 16)  # used by a token, of all


def bytes_a_token(folder: Path) -> int:
    """Bytes of weights that a token reads.

    Example:
        bytes_a_token(Path("mini")) / 1e9      # 2.1
    """
    total = 0.0
    for name, entry in store.weight_table(folder).items():
        count = math.prod(entry["shape"]) * store.DTYPE_BYTES[entry["dtype"]]
        if "embed_tokens" in name:
            continue
        total += count * EXPERTS[0] / EXPERTS[1] if ".experts." in name or "switch_mlp" in name else count
    return round(total)


def bandwidth(megabytes: int = 1024, runs: int = 9) -> float:
    """Bytes a second that MLX moves when it copies: each byte is read and written."""
    import mlx.core as mx

    array = mx.zeros((megabytes * 2**18,), dtype=mx.float32)
    mx.eval(array)
    seconds = []
    for _run in range(runs):
        began = time.perf_counter()
        mx.eval(array + 1)
        seconds.append(time.perf_counter() - began)
    return 2 * array.nbytes / min(seconds)


def measure(shape: str, layers: int | None, tokens: int, runs: int) -> dict:
    """One shape: made, loaded, asked."""
    import mlx.core as mx

    from labs_helper.models.load import load

    with tempfile.TemporaryDirectory(prefix="labs-gpu-") as scratch:
        folder = shapes.make(Path(scratch) / shape, shape, layers)
        read = bytes_a_token(folder)
        mx.reset_peak_memory()
        began = time.perf_counter()
        model = load(str(folder))
        model.ask(QUESTION, max_tokens=2, temperature=0)
        first = time.perf_counter() - began
        model.engine.stop_ids = frozenset()
        speeds = []
        for _run in range(runs):
            answer = model.ask(QUESTION, max_tokens=tokens, temperature=0)
            speeds.append((answer.generated_tokens - 1) / (answer.seconds - answer.seconds_to_first_token))
        peak = mx.get_peak_memory()
        model.release()
    speed = statistics.median(speeds)
    return {"tokens/s": speed, "peak": peak, "read": read, "load": first, "bytes/s": read * speed}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", nargs="+", choices=("mini", "moe"), default=["mini", "moe"])
    parser.add_argument("--layers", type=int, help="fewer than all, to try this out")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1024, help="of the array that is copied")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import mlx.core as mx

    print(doctor.versions(), f"| MLX on {mx.default_device()}")
    for row in doctor.nvidia_rows():
        print(f"{row.name}: {row.detail}. {row.advice}")
    copied = bandwidth(options.megabytes)
    print(f"copying: {copied / 1e9:.0f} GB/s")
    results = {}
    for shape in options.shape:
        results[shape] = measured = measure(shape, options.layers, options.tokens, options.runs)
        print(
            f"{shape:<6}{measured['tokens/s']:8.1f} tokens/s   {size(measured['read'])} read a token, "
            f"{measured['bytes/s'] / copied:.0%} of copying   peak {size(measured['peak'])}   "
            f"{measured['load']:.0f} s to the first answer",
            flush=True,
        )
    if options.json:
        report = {"machine": doctor.versions(), "copied": copied, "layers": options.layers, "shapes": results}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
