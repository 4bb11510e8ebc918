"""Phi-3.5-mini's true shape with random 4-bit weights: what each way to run it on this machine's CPU gives.

    python -m benchmarks real [--layers 32] [--tokens 32] [--runs 3] [--torch PYTHON] [--folder DIR] [--json FILE]

Files go into a temporary folder and are removed afterwards: 2.2 GB at a time with all 32 layers. The largest of the
processes, transformers, needs 9 GB of memory. Each side runs in a process of its own:
  llama.cpp     through labs_helper and through llama.cpp's own loop on the same open model, runs taken in turn
  MLX           its CPU backend through labs_helper; weights stay packed, as fp32 they would not fit
  transformers  bfloat16 weights in PyTorch. PyTorch is not part of the course: --torch names a Python that has it
  bandwidth     reading a large array with as many threads as there are cores: what a token costs at least
Speeds are those of the tokens after the first; best of the runs, since whatever else a machine does slows a run down.
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
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

QUESTION = "Count from 1 to 40."


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


def mlx(options: argparse.Namespace) -> dict:
    """MLX's CPU backend through the course, with the weights as they are in the file."""
    os.environ["LABS_DEQUANTIZE"] = "0"
    from labs_helper.engines.mlx_text import MLXText

    engine = MLXText(options.model)
    engine.load(64)
    engine.stop_ids = frozenset()
    marks = run_engine(engine, 4)
    size = engine.weight_bytes
    engine.close()
    return {"speeds": [speed(marks)], "bytes": size}


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
        for _ in range(min(options.tokens, 9)):
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


SIDES = {"llama": llama, "mlx": mlx, "transformers": transformers}


def in_a_process(side: str, model: Path, options: argparse.Namespace, python: str) -> dict:
    """One side in a process of its own."""
    command = [
        python,
        __file__,
        "--side",
        side,
        "--model",
        str(model),
        "--tokens",
        str(options.tokens),
        "--runs",
        str(options.runs),
    ]
    # PyTorch's Python has packages of its own: nothing of this one should come in between.
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"The side {side} ended with code {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def with_torch(named: str | None) -> str | None:
    """A Python that has PyTorch: the one named, or that of `make checkpoints`; None if there is none."""
    python = named or str(ROOT / ".venv-training/bin/python")
    try:
        found = subprocess.run([python, "-c", "import torch, transformers"], capture_output=True, timeout=120)
    except OSError:
        return None
    return python if found.returncode == 0 else None


def main() -> None:
    """Make the files, measure every side, print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="of each answer through llama.cpp")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--torch", metavar="PYTHON", help="a Python with torch and transformers")
    parser.add_argument("--folder", help="where the temporary files go (default: the system's place for them)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](options)))
        return
    from benchmarks.shapes import make, make_gguf
    from labs_helper import doctor

    torch = with_torch(options.torch)
    table, layer = 32064 * 3072, 4 * 3072**2 + 3 * 3072 * 8192
    read = 1 - table / (2 * table + options.layers * layer)  # a token reads one row of the table of embeddings
    report = {"layers": options.layers, "read": read, "machine": doctor.versions(), "bandwidth": bandwidth()}
    with tempfile.TemporaryDirectory(prefix="labs-real-", dir=options.folder) as scratch:
        gguf = make_gguf(Path(scratch) / "gguf", options.layers)
        report["llama"] = in_a_process("llama", gguf, options, sys.executable)
        for file in gguf.iterdir():
            file.unlink()  # make room for the next
        folder = make(Path(scratch) / "mlx", "mini", options.layers)
        report["mlx"] = in_a_process("mlx", folder, options, sys.executable)
        report["transformers"] = in_a_process("transformers", folder, options, torch) if torch else None
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def show(report: dict) -> None:
    """Print the table and the four figures that the course aims at."""
    ours, plain = (max(report["llama"][key]) for key in ("ours", "plain"))
    mlx_speed, other = max(report["mlx"]["speeds"]), report["transformers"]
    wide = report["bandwidth"]
    rows = [
        ("llama.cpp through labs_helper", ours, report["llama"]["bytes"]),
        ("llama.cpp's own loop", plain, report["llama"]["bytes"]),
        ("MLX on the CPU, 4 bits", mlx_speed, report["mlx"]["bytes"]),
    ]
    if other:
        rows.append(("transformers, bfloat16", max(other["speeds"]), other["bytes"]))
    print(f"Phi-3.5-mini's shape, {report['layers']} of 32 layers, random weights   {report['machine']}")
    print(f"memory read at {wide / 1e9:.1f} GB/s")
    print(f"{'':<32}{'tokens/s':>10}{'weights, GB':>14}{'share of bandwidth':>20}")
    for name, value, size in rows:
        print(f"{name:<32}{value:>10.2f}{size / 1e9:>14.2f}{value * size * report['read'] / wide:>20.2f}")
    print(f"labs_helper over llama.cpp's own loop (aim: 0.95 or more)   {ours / plain:.3f}")
    print(f"llama.cpp over MLX on the CPU (aim: 20 or more)             {ours / mlx_speed:.1f}")
    if other:
        print(f"llama.cpp over transformers (aim: 3 or more)                {ours / max(other['speeds']):.1f}")
    else:
        print("transformers was left out: no Python with PyTorch was found. Name one with --torch.")


if __name__ == "__main__":
    main()
