"""The real models' true shapes with random 4-bit weights: what each way to run them on this machine's CPU gives.

    python -m benchmarks real [--layers 32] [--tokens 16] [--runs 3] [--torch PYTHON] [--folder DIR] [--json FILE]

First all files are made: 8 GB in a temporary folder, removed at the end, or in a folder that --keep names. The
largest of the processes, transformers, needs 9 GB of memory. Each side runs in a process of its own, at most --limit
seconds:
  llama.cpp     through labs_helper and through llama.cpp's own loop on the same open model, runs taken in turn
  ONNX Runtime  through labs_helper, and through the loop of ONNX Runtime GenAI
  MLX           its CPU backend through labs_helper; weights stay packed, as fp32 they would not fit
  transformers  bfloat16 weights in PyTorch
  vision        ONNX Runtime with Phi-3.5-vision's tower and few layers of text, as `python -m benchmarks onnx`
  bandwidth     reading a large array with as many threads as there are cores: what a token costs at least
PyTorch and ONNX Runtime GenAI are not part of the course: --torch names a Python that has them.
Speeds are those of the tokens after the first; best of the runs, since whatever else a machine does slows a run down.
Beside the best stands the worst, and at the end the load of the machine: what a reader needs to trust the table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.progress import say

ROOT = Path(sys.path[0])  # the course, from the line above
QUESTION = "Count from 1 to 40."
FEW = 5  # tokens where each takes seconds
TABLE, LAYER = 32064 * 3072, 4 * 3072**2 + 3 * 3072 * 8192  # numbers in a table of words, and in a layer
ROWS = (
    ("llama.cpp through labs_helper", "llama", "ours"),
    ("llama.cpp's own loop", "llama", "plain"),
    ("ONNX Runtime through labs_helper", "onnx", "speeds"),
    ("ONNX Runtime GenAI's own loop", "genai", "speeds"),
    ("MLX on the CPU, 4 bits", "mlx", "speeds"),
    ("transformers, bfloat16", "transformers", "speeds"),
)
APART = {"transformers": "torch, transformers", "genai": "onnxruntime_genai"}  # what no part of the course needs
AIMS = (
    ("labs_helper over llama.cpp's own loop (aim: 0.95 or more)", "ours", "plain"),
    ("llama.cpp over MLX on the CPU (aim: 20 or more)", "ours", "mlx"),
    ("llama.cpp over transformers (aim: 3 or more)", "ours", "transformers"),
    ("llama.cpp over ONNX Runtime", "ours", "onnx"),
    ("ONNX Runtime through labs_helper over GenAI's own loop", "onnx", "genai"),
)


def speed(marks: list[float]) -> float:
    """Tokens per second from the times at which tokens came; the first one belongs to the prompt."""
    return (len(marks) - 1) / (marks[-1] - marks[0])


def run_engine(engine, tokens: int) -> list[float]:
    """When each token of an answer came through an engine of the course, in seconds."""
    from labs_helper.engines.base import Request

    request = Request(({"role": "user", "content": QUESTION},), max_tokens=tokens)
    return [time.perf_counter() for _ in engine.stream(engine.prepare(request), lambda: False)]


def llama(options: argparse.Namespace) -> dict:
    """Through the course, and through llama.cpp's own loop, in turn."""
    from labs_helper.engines.base import Request
    from labs_helper.engines.llama_cpp import LlamaCpp

    engine = LlamaCpp(options.model)
    run_engine(engine, 4)  # opens the file
    engine.stop_ids = frozenset()
    prompt = engine.render(Request(({"role": "user", "content": QUESTION},), max_tokens=options.tokens))
    wish = {
        "prompt": list(prompt.ids),
        "max_tokens": options.tokens,
        "stream": True,
        "cache_prompt": True,
        "temperature": 0.0,
        "ignore_eos": True,
    }
    ours, plain = [], []
    for _ in range(options.runs):
        marks: list[float] = []

        def heard(chunk: dict, marks=marks) -> bool:
            if (chunk.get("choices") or [{}])[0].get("text") is not None:
                marks.append(time.perf_counter())
            return False

        engine._server.handle_completions(wish, heard)  # private: the very model that the course has opened
        plain.append(speed(marks[: options.tokens]))
        ours.append(speed(run_engine(engine, options.tokens)))
    size = engine.weight_bytes
    engine.close()
    return {"ours": ours, "plain": plain, "bytes": size}


def onnx(options: argparse.Namespace) -> dict:
    """ONNX Runtime through the course."""
    from labs_helper.engines.onnx_genai import OnnxGenAI

    engine = OnnxGenAI(options.model)
    run_engine(engine, 4)  # opens the file
    engine.stop_ids = frozenset()
    speeds = [speed(run_engine(engine, options.tokens)) for _ in range(options.runs)]
    size = engine.weight_bytes
    engine.close()
    return {"speeds": speeds, "bytes": size, "unread": TABLE * 4}  # the table of embeddings is in fp32


def genai(options: argparse.Namespace) -> dict:
    """The same folder in the loop of ONNX Runtime GenAI. Runs in a Python that has it, without the course."""
    import onnxruntime_genai as og

    og.disable_telemetry_events()
    model = og.Model(str(options.model))
    speeds = []
    for _ in range(options.runs):
        wish = og.GeneratorParams(model)
        wish.set_search_options(max_length=options.tokens + 32, min_length=options.tokens + 31, do_sample=False)
        generator = og.Generator(model, wish)
        generator.append_tokens(list(range(1, 17)))
        marks = []
        for _token in range(options.tokens):
            generator.generate_next_token()
            generator.get_next_tokens()
            marks.append(time.perf_counter())
        speeds.append(speed(marks))
    size = sum(file.stat().st_size for file in Path(options.model).glob("*.onnx*"))
    return {"speeds": speeds, "bytes": size, "unread": TABLE * 4, "version": og.__version__}


def mlx(options: argparse.Namespace) -> dict:
    """MLX's CPU backend through the course, with the weights as they are in the file."""
    os.environ["LABS_DEQUANTIZE"] = "0"
    from labs_helper.engines.mlx_text import MLXText

    engine = MLXText(options.model)
    engine.load(64)
    engine.stop_ids = frozenset()
    marks = run_engine(engine, FEW)
    size = engine.weight_bytes
    engine.close()
    return {"speeds": [speed(marks)], "bytes": size}


def vision(options: argparse.Namespace) -> dict:
    """Seconds to the first token for pictures, in ONNX Runtime."""
    from benchmarks import bench_onnx

    return bench_onnx.measure(Path(options.model), bench_onnx.CROPS)


def transformers(options: argparse.Namespace) -> dict:
    """Phi3ForCausalLM in bfloat16. Runs in a Python that has PyTorch, and needs nothing of the course."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM
    from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

    values = json.loads((Path(options.model) / "config.json").read_text("utf-8"))
    kept = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "original_max_position_embeddings",
        "rope_scaling",
    )
    config = Phi3Config(**{key: values[key] for key in kept}, pad_token_id=0, attn_implementation="sdpa")
    with torch.device("meta"):
        model = Phi3ForCausalLM(config).to(torch.bfloat16)
    model.to_empty(device="cpu").eval()
    model.model.rotary_emb = Phi3RotaryEmbedding(config)  # its table was computed on no device
    pattern = torch.randn(1_000_003, dtype=torch.float32).mul_(0.02).to(torch.bfloat16)
    with torch.no_grad():
        for weight in model.parameters():
            flat = weight.view(-1)
            flat.copy_(pattern.repeat(-(-flat.numel() // pattern.numel()))[: flat.numel()])
        marks, ids, past = [], torch.arange(1, 17)[None], None
        for _ in range(min(options.tokens, 2 * FEW)):
            out = model(ids, past_key_values=past, use_cache=True, logits_to_keep=1)
            ids, past = out.logits[:, -1:].argmax(-1), out.past_key_values
            marks.append(time.perf_counter())
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return {"speeds": [speed(marks)], "bytes": size, "threads": torch.get_num_threads(), "torch": torch.__version__}


def bandwidth(gigabytes: float = 1.0, runs: int = 7) -> float:
    """Bytes a second that all cores together read from memory. Each sums its part of an array beyond all caches."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = np.array_split(np.ones(int(gigabytes * 1e9 / 8)), cores)
    best = float("inf")
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(runs):
            start = time.perf_counter()
            list(pool.map(np.sum, parts))  # numpy lets go of Python's lock while it sums
            best = min(best, time.perf_counter() - start)
    return sum(part.nbytes for part in parts) / best


SIDES = {"llama": llama, "onnx": onnx, "genai": genai, "mlx": mlx, "transformers": transformers, "vision": vision}


def in_a_process(side: str, model: Path, options: argparse.Namespace, python: str = sys.executable) -> dict | None:
    """One side in a process of its own. None if it could not run; a line says why."""
    wish = {"--side": side, "--model": model, "--tokens": options.tokens, "--runs": options.runs}
    command = [python, __file__, *(str(part) for pair in wish.items() for part in pair)]
    start = time.perf_counter()
    try:
        # PyTorch's Python has packages of its own: nothing of this one should come in between.
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        say(f"{side}: ended after {options.limit} seconds, and is left out")
        return None
    if done.returncode:
        sys.exit(f"The side {side} ended with code {done.returncode}.")
    say(f"{side}: {time.perf_counter() - start:.0f} s")
    return json.loads(done.stdout.splitlines()[-1])


def python_with(packages: str, named: str | None) -> str | None:
    """The first Python that has packages: the one named, this one, that of `make checkpoints`; None if none has."""
    for python in filter(None, (named, sys.executable, str(ROOT / ".venv-training/bin/python"))):
        try:
            found = subprocess.run([python, "-c", f"import {packages}"], capture_output=True, timeout=120)
        except OSError:
            continue
        if found.returncode == 0:
            return python
    return None


def files(scratch: Path, layers: int) -> dict[str, Path]:
    """Make what the sides read and is not there yet, all of it before anything is measured."""
    from benchmarks import bench_onnx, onnx_shapes, shapes

    made = {}
    for name, work in {
        "llama": lambda folder: shapes.make_gguf(folder, layers),
        "onnx": lambda folder: onnx_shapes.make_onnx(folder, "mini", layers),
        "mlx": lambda folder: shapes.make(folder, "mini", layers),
        "vision": bench_onnx.folders,
    }.items():
        start = time.perf_counter()
        made[name] = scratch / name
        if made[name].is_dir():
            continue
        work(made[name])
        say(f"files for {name}: {time.perf_counter() - start:.0f} s")
    return made | {"genai": made["onnx"], "transformers": made["mlx"]}


def main() -> None:
    """Make the files, measure every side, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks real", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=16, help="of each answer, where a token takes no second")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=240, metavar="SECONDS", help="for one side")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python with torch, transformers and onnxruntime-genai")
    parser.add_argument("--folder", help="where the temporary files go (default: the system's place for them)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the files here once, and leave them here")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](options)))
        return
    from labs_helper import doctor

    pythons = {side: python_with(packages, options.torch) for side, packages in APART.items()}
    with tempfile.TemporaryDirectory(prefix="labs-real-", dir=options.folder) as scratch:
        made = files(options.keep or Path(scratch), options.layers)
        os.sync()  # what is still to be written would be written while the first side runs
        report = {"layers": options.layers, "machine": doctor.versions(), "bandwidth": bandwidth()}
        report["load"] = [os.getloadavg()[0]]
        for side in SIDES:
            python = pythons.get(side, sys.executable)
            report[side] = in_a_process(side, made[side], options, python) if python else None
            report["load"].append(os.getloadavg()[0])
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def show(report: dict) -> None:
    """Print the tables, and the figures that the course aims at."""
    wide, layers = report["bandwidth"], report["layers"]
    print(f"Phi-3.5-mini's shape, {layers} of 32 layers, random weights   {report['machine']}")
    load = f"{min(report['load']):.1f} to {max(report['load']):.1f}"
    print(f"memory read at {wide / 1e9:.1f} GB/s; load of the machine {load}")
    print(f"{'':<34}{'tokens/s':>10}{'worst':>8}{'GB a token':>12}{'share of bandwidth':>20}")
    best = {}
    for name, side, key in ROWS:
        found = report[side]
        if found is None:
            print(f"{name:<34}{'left out':>10}")
            continue
        speeds = found[key]
        best[key if side == "llama" else side] = max(speeds)
        # Of the table of embeddings a token reads one row.
        read = found["bytes"] - found.get("unread", found["bytes"] * TABLE / (2 * TABLE + layers * LAYER))
        share = max(speeds) * read / wide
        print(f"{name:<34}{max(speeds):>10.2f}{min(speeds):>8.2f}{read / 1e9:>12.2f}{share:>20.2f}")
    for text, over, under in AIMS:
        if over in best and under in best:
            print(f"{text:<60}{best[over] / best[under]:.2f}")
    for side, packages in APART.items():
        if report[side] is None:
            print(f"{side} was left out: it took too long, or no Python has {packages}. Name one with --torch.")
    if report["vision"] is not None:
        from benchmarks import bench_onnx

        bench_onnx.show(report["vision"])


if __name__ == "__main__":
    main()
