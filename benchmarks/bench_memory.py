"""The memory that the course computes before a load, against what MLX really uses, for the real models' shapes.

    python -m benchmarks memory [--shapes mini moe vision] [--layers 2] [--tokens 700] [--keep FOLDER]

Random weights of the true width (benchmarks/shapes.py) with few of the layers, written into a temporary folder and
removed afterwards. Each shape runs in a process of its own, through the course's engine: a prompt of `--tokens` tokens
and three more. Shown are estimate and peak for the whole, and for what is not weights.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def measure(path: str | Path, tokens: int) -> dict:
    """Estimate and measured peak of one request in this process, in bytes. Spare memory is not part of the estimate.

    Example:
        measure("shapes/mini", 700)["measured"]
    """
    from PIL import Image

    from labs_helper import store
    from labs_helper.capacity import estimate
    from labs_helper.engines.base import Request
    from labs_helper.engines.mlx_text import MLXText, import_mlx_lm
    from labs_helper.engines.mlx_vision import MLXVision

    import_mlx_lm()
    import mlx.core as mx

    sees = store.read_json(Path(path) / "config.json")["model_type"] == "phi3_v"
    engine = (MLXVision if sees else MLXText)(path, ships_code=True)
    tag, images = ("<|image_1|>\n", (Image.new("RGB", (336, 336), "red"),)) if sees else ("", ())

    def asked(words: int) -> Request:
        return Request(
            ({"role": "user", "content": tag + "1" * words},),
            images=images,
            num_crops=1 if sees else None,
            max_tokens=3,
        )

    engine.load_tokenizer()
    request = asked(max(1, tokens - len(engine.render(asked(1)))))
    on_cpu = mx.default_device().type == mx.DeviceType.cpu
    before = mx.get_active_memory()
    for _ in engine.stream(engine.prepare(request), lambda: False):
        pass
    total = engine.report.prompt_tokens + 3
    need = estimate.of_folder(path, total, on_cpu=on_cpu, views=1 if sees else 0)
    found = {
        "tokens": total,
        "weights": need.weights,
        "estimate": need.weights + need.cache + need.work,
        "measured": engine.report.peak_memory - before,
        "loaded": engine.weight_bytes,
        "table": engine.report.rope_table,
    }
    engine.close()
    return found


def peak() -> int:
    """The most memory that this process has held, in bytes.

    Linux counts what the parent held before it started this program into `ru_maxrss`, but not into VmHWM. Windows has
    no `ru_maxrss`.
    """
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB", status.read_text("utf-8"), re.M)[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def measure_onnx(path: str | Path, tokens: int, crops: int = 0) -> dict:
    """The same for a folder of ONNX Runtime: estimate, and how much the process grew. Call it in a process of its own.

    Args:
        path: the folder.
        tokens: of the prompt, about.
        crops: of a square picture; 0 shows none.

    Example:
        measure_onnx("shapes/vision-onnx", 700, crops=4)["measured"]
    """
    from PIL import Image

    from labs_helper.capacity import estimate, limits
    from labs_helper.engines.base import Request
    from labs_helper.engines.onnx_genai import OnnxGenAI
    from labs_helper.engines.onnx_sessions import import_runtime

    import_runtime()
    engine = OnnxGenAI(path, ships_code=True)
    tag, images = ("<|image_1|>\n", (Image.new("RGB", (672, 672), "red"),)) if crops else ("", ())

    def asked(words: int) -> Request:
        return Request(
            ({"role": "user", "content": tag + "1" * words},), images=images, num_crops=crops or None, max_tokens=3
        )

    engine.load_tokenizer()
    request = asked(max(1, tokens - len(engine.place(asked(1)).prompt)))
    views = sum(picture.layout.tiles + 1 for picture in engine.place(request).pictures)
    before = limits.used()
    for _ in engine.stream(engine.prepare(request), lambda: False):
        pass
    total = engine.report.prompt_tokens + 3
    need = estimate.of_folder(path, total, on_cpu=True, views=views)
    return {
        "tokens": total,
        "views": views,
        "weights": need.weights,
        "cache": need.cache,
        "work": need.work,
        "estimate": need.weights + need.cache + need.work,
        "measured": peak() - before,
    }


def main() -> None:
    """Make, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["mini", "vision", "moe"])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=700)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.tokens)))
        return
    from benchmarks.shapes import make

    rows = {}
    print(
        f"{'shape':<10}{'tokens':>8}{'weights, MB':>14}{'estimate':>10}{'measured':>10}{'ratio':>8}"
        f"{'without weights':>18}"
    )
    with tempfile.TemporaryDirectory(prefix="labs-shapes-") as scratch:
        for shape in options.shapes:
            path = make(Path(scratch) / shape, shape, options.layers)
            command = [sys.executable, __file__, "--one", str(path), "--tokens", str(options.tokens)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = rows[shape] = json.loads(done.stdout.splitlines()[-1])
            rest = (row["estimate"] - row["weights"]) / (row["measured"] - row["loaded"])
            print(
                f"{shape:<10}{row['tokens']:>8}{row['loaded'] / 1e6:>14.0f}{row['estimate'] / 1e6:>10.0f}"
                f"{row['measured'] / 1e6:>10.0f}{row['estimate'] / row['measured']:>8.3f}{rest:>18.3f}"
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
