"""Folders of ONNX Runtime GenAI with the real models' shapes and random weights: for speed and memory.

The graphs are ours (training/onnx_graphs.py), with the operators of the published text graph. How the published tower
is fused is not known. The tokenizer is that of a bundled model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.shapes import configuration
from labs_helper import catalog
from training import onnx_graphs as graphs
from training.config import write_json
from training.to_onnx import STEM, genai_config, processor_config, save

CHECKPOINTS = catalog.course_folder() / "data" / "checkpoints"
CROPS = 4
_TOKENIZER = {
    "mini": ("instruct-tiny", ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")),
    "vision": ("vision-tiny", ("tokenizer.json", "tokenizer_config.json")),
}


def make_onnx(
    folder: str | Path, shape: str, layers: int | None = None, seed: int = 0, like: Path | None = None, **changes
) -> Path:
    """Write a folder of a shape and return it.

    Args:
        folder: the folder to make.
        shape: "mini", which reads, or "vision", which sees; its tower has all layers.
        layers: so many of the decoder's 32; None writes all.
        seed: of the weights.
        like: a folder of the same shape, whose embedding and tower this one shares on the disk.
        changes: other values of config.json, for a shape that is narrower.

    Example:
        make_onnx("shapes/mini-onnx", "mini", layers=2)
    """
    folder, rng = Path(folder), np.random.default_rng(seed)
    config = configuration(shape, layers, **changes) | {"pad_token_id": 32000}
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]

    def weight(name: str) -> np.ndarray:
        if name == "model.embed_tokens.weight":
            return rng.standard_normal((vocabulary, hidden), dtype=np.float32) * 0.02
        return np.ones(hidden, np.float32)

    folder.mkdir(parents=True)
    matrix = _matrices(config, rng)
    if shape == "mini":
        save(graphs.text(config, weight, matrix, from_ids=True), folder, "model")
    else:
        tower = {"num_attention_heads": 16, **config["vision_config"]}
        save(graphs.text(config, weight, matrix), folder, f"{STEM}-text")
        if like is None:
            save(graphs.embedding(weight("model.embed_tokens.weight")), folder, f"{STEM}-embedding")
            save(graphs.vision(tower, hidden, _tower(tower, hidden, rng), bits=4), folder, f"{STEM}-vision")
        for file in () if like is None else (*like.glob("*-embedding.*"), *like.glob("*-vision.*")):
            os.link(file, folder / file.name)
        write_json(folder / "processor_config.json", processor_config(CROPS))
    write_json(folder / "genai_config.json", genai_config(config, [32000, 32007]))
    source, names = _TOKENIZER[shape]
    for name in names:
        shutil.copy(CHECKPOINTS / source / name, folder / name)
    return folder


def _matrices(config: dict, rng: np.random.Generator) -> Callable[[str], graphs.Packed]:
    """Random matrices of the decoder by name: 4 bits in groups of 32, as the published model of the catalog."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "qkv_proj": (3 * hidden, hidden),
        "o_proj": (hidden, hidden),
        "gate_up_proj": (2 * wide, hidden),
        "down_proj": (hidden, wide),
        "lm_head": (config["vocab_size"], hidden),
    }

    def matrix(name: str) -> graphs.Packed:
        rows, columns = shapes[name.rpartition(".")[2]]
        groups = columns // graphs.GROUP
        numbers = rng.integers(0, 256, (rows, groups, graphs.GROUP // 2), dtype=np.uint8)
        scales = np.full((rows, groups), 0.002, np.float32)
        return graphs.Packed(numbers, scales, np.full((rows, (groups + 1) // 2), 0x88, np.uint8))

    return matrix


def _tower(tower: dict, hidden: int, rng: np.random.Generator) -> Callable[[str], np.ndarray]:
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
