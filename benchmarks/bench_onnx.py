"""Phi-3.5-vision's true widths in ONNX Runtime, with random weights: speed of text, and seconds to see a picture.

    python -m benchmarks onnx [--layers 4] [--crops 1 4 16]

The tower is whole (24 layers). The decoder has a few layers, and what 32 would take is computed from it: the head and
the embedding once, a layer 32 times. The graphs are ours (training/onnx_graphs.py), with the operators of the published
text graph; how the published tower is fused is not known, so the seconds of a view are those of ours.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from labs_helper import catalog
from labs_helper.engines.onnx_sessions import Sessions
from labs_helper.pictures.images import TILE, layout
from labs_helper.store import onnx_folder
from training import onnx_graphs as graphs
from training.config import write_json
from training.to_onnx import STEM, genai_config, processor_config, save

CHUNK, TOKENS, WHOLE = 256, 10, 32
TINY = catalog.course_folder() / "data/checkpoints/vision-tiny"


def configuration(layers: int) -> dict:
    """config.json of the real shapes, with few layers."""
    shapes = dict(catalog.find("phi-3.5-vision-instruct-onnx")[0].config or {})
    half = shapes["hidden_size"] // shapes["num_attention_heads"] // 2
    short, long = ([1.0] * half, [2.0] * half)
    return {
        **shapes,
        "num_hidden_layers": layers,
        "rms_norm_eps": 1e-5,
        "original_max_position_embeddings": 4096,
        "rope_scaling": {"short_factor": short, "long_factor": long},
        "bos_token_id": 1,
        "pad_token_id": 32000,
    }


def write(folder: Path, layers: int) -> None:
    """A folder of ONNX Runtime GenAI with random weights."""
    rng, config = np.random.default_rng(0), configuration(layers)
    hidden, wide, vocabulary = (config[key] for key in ("hidden_size", "intermediate_size", "vocab_size"))
    shapes = {
        "qkv_proj": (3 * hidden, hidden),
        "o_proj": (hidden, hidden),
        "gate_up_proj": (2 * wide, hidden),
        "down_proj": (hidden, wide),
        "lm_head": (vocabulary, hidden),
    }

    def matrix(name: str) -> graphs.Packed:
        rows, columns = shapes[name.rpartition(".")[2]]
        groups = columns // graphs.GROUP
        numbers = rng.integers(0, 256, (rows, groups, graphs.GROUP // 2), dtype=np.uint8)
        scales = np.full((rows, groups), 0.002, np.float32)
        return graphs.Packed(numbers, scales, np.full((rows, (groups + 1) // 2), 0x88, np.uint8))

    def weight(name: str) -> np.ndarray:
        if name == "model.embed_tokens.weight":
            return rng.standard_normal((vocabulary, hidden), dtype=np.float32) * 0.02
        return np.ones(hidden, np.float32)

    tower = {"num_attention_heads": 16, **config["vision_config"]}
    folder.mkdir(parents=True)
    save(graphs.text(config, weight, matrix), folder, f"{STEM}-text")
    save(graphs.embedding(weight("model.embed_tokens.weight")), folder, f"{STEM}-embedding")
    save(graphs.vision(tower, hidden, tower_weights(tower, hidden, rng), bits=4), folder, f"{STEM}-vision")
    write_json(folder / "genai_config.json", genai_config(config, [32007]))
    write_json(folder / "processor_config.json", processor_config(4))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder / name)


def tower_weights(tower: dict, hidden: int, rng: np.random.Generator):
    """Random weights of the tower by name."""
    width, wide = tower["hidden_size"], tower["intermediate_size"]
    shapes = {
        "patch_embedding.weight": (width, 3, 14, 14),
        "position_embedding.weight": (577, width),
        "_proj.weight": (width, width),
        "fc1.weight": (wide, width),
        "fc2.weight": (width, wide),
        "fc1.bias": (wide,),
        "img_projection.0.weight": (hidden, 4 * width),
        "img_projection.2.weight": (hidden, hidden),
        "img_projection.0.bias": (hidden,),
        "img_projection.2.bias": (hidden,),
        "_GN": (4 * width,),
    }

    def weight(name: str) -> np.ndarray:
        shape = next((shape for end, shape in shapes.items() if name.endswith(end)), (width,))
        return rng.standard_normal(shape, dtype=np.float32) * 0.02

    return weight


def timed(work) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def text_seconds(sessions: Sessions) -> tuple[float, float]:
    """Seconds for a chunk of a prompt, and for a token of an answer."""
    cache = sessions.new_cache()
    rows, one = sessions.rows([5] * CHUNK), sessions.rows([7])
    sessions.scores(rows, cache, 0, 0)
    chunk = timed(lambda: sessions.scores(rows, cache, CHUNK, 0))
    token = timed(lambda: [sessions.scores(one, cache, 2 * CHUNK + n, 0) for n in range(TOKENS)]) / TOKENS
    return chunk, token


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks onnx", description=__doc__)
    parser.add_argument("--layers", type=int, default=4, help="of the decoder; at least 2")
    parser.add_argument("--crops", type=int, nargs="*", default=[1, 4, 16])
    options = parser.parse_args()
    found: dict[int, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for layers in (1, options.layers):
            folder = Path(scratch) / str(layers)
            write(folder, layers)
            sessions = Sessions(onnx_folder.read(folder))
            found[layers] = text_seconds(sessions)
            print(f"{layers} layer(s), measured: {CHUNK} tokens of a prompt in {found[layers][0]:.2f} s,",
                  f"a token of an answer in {found[layers][1] * 1000:.0f} ms")  # fmt: skip
        each = [(b - a) / (options.layers - 1) for a, b in zip(found[1], found[options.layers], strict=True)]
        chunk, token = (first + (WHOLE - 1) * more for first, more in zip(found[1], each, strict=True))
        print(f"{WHOLE} layers, computed: {CHUNK} tokens in {chunk:.1f} s, {1 / token:.1f} tokens a second")
        pixels = np.random.default_rng(1).standard_normal((1, 3, TILE, TILE), dtype=np.float32)
        for crops in options.crops:
            plan = layout(1000, 1000, crops)
            views = np.repeat(pixels, plan.tiles + 1, axis=0)
            seconds = timed(lambda v=views, p=plan: sessions.picture_rows(v, p.rows, p.columns, TILE, lambda: False))
            first = seconds + plan.tokens / CHUNK * chunk
            print(f"num_crops={crops}: {len(views)} views seen in {seconds:.1f} s (measured); {plan.tokens} tokens,",
                  f"so the first token of the answer comes after about {first:.0f} s (computed)")  # fmt: skip


if __name__ == "__main__":
    main()
