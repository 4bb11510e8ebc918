"""Checkpoints with the real models' shapes and tensor names, and random weights: for speed, memory and loading.

    python -m benchmarks.shapes mini FOLDER --layers 2 [--layout old]

They load in the same way as the real ones, with every correction. Real are the configuration (from
labs_helper/catalog/models.toml), the names and shapes of the tensors, 4-bit weights with 16-bit scales in groups of
64, a vocabulary that is longer than the tokenizer, and the files of the two layouts. Not real are the weights,
LongRoPE's factors (smooth ones of the same range, see training.config.rope_factors) and the tokenizer, which is that
of instruct-tiny.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from labs_helper import catalog
from labs_helper.engines.mlx_text import import_mlx_lm

SHAPES = {
    "mini": "phi-3.5-mini-instruct-4bit",
    "vision": "phi-3.5-vision-instruct-4bit",
    "moe": "phi-3.5-moe-instruct-4bit",
}
TINY = catalog.course_folder() / "data/checkpoints/instruct-tiny"


def configuration(shape: str, layers: int | None = None, **changes) -> dict:
    """config.json of a shape, with all layers or only so many.

    changes: other values, for a shape that is narrower.

    Example:
        configuration("mini", layers=2)["hidden_size"]      # 3072
    """
    from training.config import rope_factors

    card = catalog.find(SHAPES[shape])[0]
    config = {key: value for key, value in card.config.items() if key != "quantization"} | changes
    config["num_hidden_layers"] = layers or config["num_hidden_layers"]
    head = config["hidden_size"] // config["num_attention_heads"]
    short, long = rope_factors(head, config["max_position_embeddings"] / 4096)
    scaling = {"type": "su" if shape == "vision" else "longrope", "short_factor": short, "long_factor": long}
    if shape == "moe":
        scaling |= {"short_mscale": 1.19, "long_mscale": 1.19, "original_max_position_embeddings": 4096}
        config |= {"num_experts_per_tok": 2, "router_jitter_noise": 0.01, "attention_bias": True, "lm_head_bias": True}
    return config | {
        "architectures": ["PhiMoEForCausalLM" if shape == "moe" else "Phi3ForCausalLM"],
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": scaling,
        "original_max_position_embeddings": 4096,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 32000,
    }


def make(
    folder: str | Path, shape: str, layers: int | None = None, layout: str = "new", seed: int = 0, **changes
) -> Path:
    """Write a checkpoint of a shape and return its folder.

    shape: "mini", "vision" or "moe".
    layers: so many of the 32; None writes all.
    layout: "new" as mlx-lm writes today, "old" as in 2024: no generation_config.json, the template inside
        tokenizer_config.json, an `auto_map` and the Python files that it names (they are never run).
    changes: see `configuration`.

    Example:
        make("shapes/mini", "mini", layers=2)
    """
    import_mlx_lm()
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten
    from mlx_lm.utils import _get_classes, save_model

    from labs_helper.engines.mlx_vision import model_classes

    folder = Path(folder)
    folder.mkdir(parents=True)
    config = configuration(shape, layers, **changes)
    Model, Args = model_classes() if shape == "vision" else _get_classes(config)
    model = Model(Args.from_dict(config))
    nn.quantize(
        model,
        group_size=64,
        bits=4,
        class_predicate=lambda path, module: hasattr(module, "to_quantized") and module.weight.shape[-1] % 64 == 0,
    )
    mx.random.seed(seed)
    parameters = dict(tree_flatten(model.parameters()))
    for name, value in parameters.items():
        parameters[name] = _random(name, value, parameters)
    model.load_weights(list(parameters.items()))
    del parameters, value
    save_model(folder, model, donate_model=True)
    config["quantization"] = {"group_size": 64, "bits": 4}
    _write_files(folder, config, layout)
    return folder


def make_gguf(folder: str | Path, layers: int | None = None, seed: int = 0) -> Path:
    """Write the shape "mini" as one GGUF file of random weights and return its folder.

    Every matrix is Q4_K: 4.5 bits a weight, the larger part of the published Q4_K_M files. A block holds 256 weights
    scale * (q - 7.5) with q random in 0..15 (ggml-common.h in llama.cpp, block_q4_K).

    Example:
        make_gguf("shapes/mini-gguf", layers=2)
    """
    import gguf
    import numpy as np

    from labs_helper.serving.gguf_model import names, settings, vocabulary

    folder = Path(folder)
    folder.mkdir(parents=True)
    config, rng = configuration("mini", layers), np.random.default_rng(seed)
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    writer = gguf.GGUFWriter(str(folder / "mini.gguf"), "phi3")
    writer.add_name("random phi-3")
    settings(writer, config)
    vocabulary(writer, TINY, config)
    shapes = {
        "token_embd": (config["vocab_size"], hidden),
        "output": (config["vocab_size"], hidden),
        "attn_qkv": (3 * hidden, hidden),
        "attn_output": (hidden, hidden),
        "ffn_up": (2 * wide, hidden),
        "ffn_down": (hidden, wide),
    }
    for name in names(config["num_hidden_layers"]).values():
        kind = name.split(".")[-1]
        if kind.endswith("_norm"):
            writer.add_tensor(f"{name}.weight", np.ones(hidden, np.float32))
            continue
        rows, width = shapes[kind]
        blocks = np.empty((rows, width // 256, 144), np.uint8)
        scale = 1 / (15 * 4.61 * (1 if kind == "token_embd" else width**0.5))
        blocks[..., :4] = np.array([scale, 7.5 * scale], np.float16).view(np.uint8)
        blocks[..., 4:12], blocks[..., 12:16] = 15, 255  # all sixteen scales and offsets of a block are 15
        blocks[..., 16:] = rng.integers(0, 256, (rows, width // 256, 128), np.uint8)
        writer.add_tensor(f"{name}.weight", blocks.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    for table in ("short", "long"):
        writer.add_tensor(
            f"rope_factors_{table}.weight", np.array(config["rope_scaling"][f"{table}_factor"], np.float32)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for name in ("tokenizer.json", "chat_template.jinja"):
        shutil.copy(TINY / name, folder)
    return folder


def _random(name: str, value, parameters: dict):
    """One tensor whose layer keeps the size of what goes through it. Lazy: it takes memory when it is written."""
    import mlx.core as mx

    if value.dtype == mx.uint32:
        return mx.random.randint(-(2**31), 2**31 - 1, value.shape, mx.int32).view(mx.uint32)
    base, _, kind = name.rpartition(".")
    if kind in ("scales", "biases") and f"{base}.scales" in parameters:
        # A weight is scale * q + bias with q uniform in 0..15, whose deviation is 4.61.
        width = value.shape[-1] * 64
        scale = 1 / (4.61 * (1 if "embed_tokens" in name else width**0.5))
        return mx.full(value.shape, scale if kind == "scales" else -7.5 * scale, dtype=mx.float16)
    if "norm" in name and kind == "weight":
        return mx.ones(value.shape, dtype=mx.float16)
    if kind == "bias":
        return mx.zeros(value.shape, dtype=mx.float16)
    return (0.02 * mx.random.normal(value.shape)).astype(mx.float16)


def _write_files(folder: Path, config: dict, layout: str) -> None:
    tokenizer = json.loads((TINY / "tokenizer_config.json").read_text("utf-8"))
    shutil.copy(TINY / "tokenizer.json", folder)
    if layout == "old":
        module = config["model_type"]
        config["auto_map"] = {"AutoConfig": f"configuration_{module}.Config"}
        (folder / f"configuration_{module}.py").write_text("raise SystemExit('code of a checkpoint was run')\n")
        tokenizer["chat_template"] = (TINY / "chat_template.jinja").read_text("utf-8")
    else:
        config["quantization_config"] = config["quantization"]
        shutil.copy(TINY / "chat_template.jinja", folder)
        shutil.copy(TINY / "generation_config.json", folder)
    if config["model_type"] == "phi3_v":
        settings = {"num_crops": 4, "num_img_tokens": 144, "image_processor_type": "Phi3VImageProcessor"}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("folder")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--layout", choices=("new", "old"), default="new")
    options = parser.parse_args()
    print(make(options.folder, options.shape, options.layers, options.layout))


if __name__ == "__main__":
    main()
