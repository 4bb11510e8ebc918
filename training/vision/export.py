"""Turns the trained fp32 folder into a checkpoint for mlx-vlm's phi3_v, with a language part of 4 bits."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from training.config import CHECKPOINTS, RUNS, generation_config, write_json
from training.export import token_ids
from training.quantization import BITS, GROUP
from training.vision.model import MEAN, STD

LIMIT = 8_000_000  # bytes of a bundled checkpoint
PREPROCESSOR = {
    "image_processor_type": "Phi3VImageProcessor",
    "processor_class": "Phi3VProcessor",
    "num_crops": 1,
    "num_img_tokens": 144,
    "image_mean": list(MEAN),
    "image_std": list(STD),
    "do_convert_rgb": True,
}
VISION = "model.vision_embed_tokens."


def expected_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Every name and shape of an unquantized phi3_v checkpoint, from its config.json alone."""
    hidden, inner, vision = config["hidden_size"], config["intermediate_size"], config["vision_config"]
    head = hidden // config["num_attention_heads"]
    width, deep = vision["hidden_size"], vision["intermediate_size"]
    shapes = {
        "lm_head.weight": (config["vocab_size"], hidden),
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for i in range(config["num_hidden_layers"]):
        shapes |= {
            f"model.layers.{i}.{name}.weight": shape
            for name, shape in {
                "self_attn.qkv_proj": (hidden + 2 * config["num_key_value_heads"] * head, hidden),
                "self_attn.o_proj": (hidden, hidden),
                "mlp.gate_up_proj": (2 * inner, hidden),
                "mlp.down_proj": (hidden, inner),
                "input_layernorm": (hidden,),
                "post_attention_layernorm": (hidden,),
            }.items()
        }
    shapes |= {
        VISION + name: shape
        for name, shape in {
            "glb_GN": (1, 1, 4 * width),
            "sub_GN": (1, 1, 1, 4 * width),
            "img_projection.0.weight": (hidden, 4 * width),
            "img_projection.0.bias": (hidden,),
            "img_projection.2.weight": (hidden, hidden),
            "img_projection.2.bias": (hidden,),
        }.items()
    }
    tower = VISION + "img_processor.vision_model."
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    shapes |= {
        tower + "embeddings.class_embedding": (width,),
        tower + "embeddings.position_embedding.weight": (patches + 1, width),
        tower + "embeddings.patch_embedding.weight": (
            width,
            vision["num_channels"],
            vision["patch_size"],
            vision["patch_size"],
        ),
    }
    layer = {
        "mlp.fc1.weight": (deep, width),
        "mlp.fc1.bias": (deep,),
        "mlp.fc2.weight": (width, deep),
        "mlp.fc2.bias": (width,),
    }
    layer |= {f"self_attn.{p}_proj.weight": (width, width) for p in ("q", "k", "v", "out")}
    layer |= {f"self_attn.{p}_proj.bias": (width,) for p in ("q", "k", "v", "out")}
    norms = [f"encoder.layers.{i}.layer_norm{n}" for i in range(vision["num_hidden_layers"]) for n in (1, 2)]
    for norm in ("pre_layrnorm", "post_layernorm", *norms):
        shapes |= {f"{tower}{norm}.weight": (width,), f"{tower}{norm}.bias": (width,)}
    for i in range(vision["num_hidden_layers"]):
        shapes |= {f"{tower}encoder.layers.{i}.{name}": shape for name, shape in layer.items()}
    return shapes


def quantized(name: str, shape: tuple[int, ...]) -> bool:
    """Matrices of the language part are; what sees stays fp32."""
    return len(shape) == 2 and not name.startswith(VISION)


def as_stored(weights: dict, plain: bool) -> dict:
    """Weights as the checkpoint holds them: what is `quantized` in three arrays each, the rest fp32."""
    import mlx.core as mx

    made: dict[str, mx.array] = {}
    for key, value in weights.items():
        value = value.astype(mx.float32)
        if quantized(key, value.shape) and not plain:
            base, parts = key.removesuffix("weight"), mx.quantize(value, group_size=GROUP, bits=BITS)
            made |= {base + part: array for part, array in zip(("weight", "scales", "biases"), parts)}
        else:
            made[key] = value
    return made


def export(name: str, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS, plain: bool = False) -> Path:
    """Write `runs/name` into `checkpoints/name` (replaced whole; a MODEL_CARD.md there is kept).

    Args:
        plain: leave all weights fp32, to measure what quantization costs. Too large to be bundled.

    Language weights get 4 bits in groups of 32 with fp32 scales. The patch embedding keeps torch's layout, which
    mlx-vlm recognises. What is written is read again and compared with the names and shapes that config.json asks for.
    """
    import mlx.core as mx

    source, target = runs / name, checkpoints / name
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    weights = mx.load(str(source / "model.safetensors"))
    found, expected = {k: tuple(v.shape) for k, v in weights.items()}, expected_shapes(config)
    if found != expected:
        raise ValueError(
            f"{source} does not fit its config.json: {sorted(set(found.items()) ^ set(expected.items()))[:6]}"
        )
    made = as_stored(weights, plain)
    config["rope_scaling"]["type"] = "su"  # longrope's older name: mlx-vlm's loader of tokenizers refuses the new one
    if not plain:
        config["quantization"] = config["quantization_config"] = {"group_size": GROUP, "bits": BITS}
    checkpoints.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=checkpoints, prefix=".partial-") as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        mx.save_safetensors(str(folder / "model.safetensors"), made, metadata={"format": "mlx"})
        write_json(folder / "config.json", config)
        write_json(folder / "generation_config.json", generation_config(token_ids(source)))
        write_json(folder / "preprocessor_config.json", PREPROCESSOR)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / file, folder)
        for file in (target / "MODEL_CARD.md", target / "evaluation.json"):
            if file.exists():
                shutil.copy(file, folder)
        size = sum(file.stat().st_size for file in folder.iterdir())
        if size > LIMIT and not plain:
            raise ValueError(f"{name} has {size:,} bytes, more than {LIMIT:,}")
        if target.exists():
            target.rename(Path(scratch) / "old")
        folder.rename(target)
    return target
