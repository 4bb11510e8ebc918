"""Reads recipes.toml and writes the checkpoint's config.json with the keys that every runtime understands."""

from __future__ import annotations

import json
import math
import tomllib
from functools import cache
from pathlib import Path

from training.tokenizer import STOP_TOKENS

ROOT = Path(__file__).parent
RUNS = ROOT / "runs"
CHECKPOINTS = ROOT.parent / "data" / "checkpoints"
PROFILES = ("gpu",)  # tables of a recipe that hold only where a person asks for them
ROPE_THETA = 10_000.0
BITS, GROUP = 4, 32  # of the published weights
TOKENS_A_STEP = 4096  # of text models, over all processes
ARCHITECTURES = {"phi3": "Phi3ForCausalLM", "phi3_v": "Phi3VForCausalLM", "phimoe": "PhimoeForCausalLM"}


@cache
def recipes() -> dict[str, dict]:
    """Every recipe, with `same_as` resolved."""
    found = tomllib.loads((ROOT / "recipes.toml").read_text(encoding="utf-8"))
    for recipe in found.values():
        if same := recipe["model"].pop("same_as", None):
            recipe["model"] = {**found[same]["model"], **recipe["model"]}
    return found


def recipe_of(name: str, profile: str | None = None) -> dict:
    """A recipe, with what one of its profiles says otherwise.

    Args:
        profile: such as "gpu". A table of that name, in the recipe or in a table of it, replaces what is beside it.

    Raises:
        ValueError: neither the recipe nor any table of it has such a profile.
    """
    recipe = recipes()[name]
    if profile and profile not in profiles(name):
        raise ValueError(
            f"{name} has no profile {profile!r} in recipes.toml. It has: {', '.join(profiles(name)) or 'none'}."
        )
    return _with_profile(recipe, profile)


def profiles(name: str) -> tuple[str, ...]:
    """The profiles of a recipe.

    >>> profiles("moe-tiny")
    ('gpu',)
    """
    tables = [recipes()[name], *(value for value in recipes()[name].values() if isinstance(value, dict))]
    return tuple(profile for profile in PROFILES if any(profile in table for table in tables))


def _with_profile(table: dict, profile: str | None) -> dict:
    plain = {key: value for key, value in table.items() if key not in PROFILES}
    plain = {key: _with_profile(value, profile) if isinstance(value, dict) else value for key, value in plain.items()}
    return plain | table.get(profile, {})


def rope_factors(head_dim: int, stretch: float) -> tuple[list[float], list[float]]:
    """Short and long LongRoPE factors, one a pair of dimensions.

    LongRoPE (Ding et al. 2024, arXiv:2402.13753) searches them; Phi-3.5-mini's long factors rise to 64.8, its short
    ones stay below 2.9. Ours rise smoothly: the fastest-turning pairs keep their angle, the slowest are stretched by
    the whole length ratio, as NTK-by-parts interpolation does.

    Args:
        head_dim: size of one attention head.
        stretch: max_position_embeddings / original_max_position_embeddings.
    """
    pairs = head_dim // 2
    place = [i / (pairs - 1) for i in range(pairs)]
    return [round(1 + 0.25 * p**2, 4) for p in place], [round(1 + (stretch - 1) * p**1.5, 4) for p in place]


def model_config(name: str, token_ids: dict[str, int]) -> dict:
    """config.json of a checkpoint, with the classic `rope_scaling` keys.

    transformers 5 saves `rope_parameters` instead, which mlx-lm does not read; it would fall back to plain RoPE.
    """
    model = dict(recipes()[name]["model"])
    head_dim = model["hidden_size"] // model["num_attention_heads"]
    architecture, original = recipes()[name]["architecture"], model["original_max_position_embeddings"]
    stretch = model["max_position_embeddings"] / original
    short, long = rope_factors(head_dim, stretch)
    more, scales = {}, {}
    if architecture == "phimoe":
        # Phi-3.5-MoE names the scale of queries and keys for each table; phi3 computes the same formula itself.
        scale = math.sqrt(1 + math.log(stretch) / math.log(original))
        scales = {"short_mscale": scale, "long_mscale": scale, "original_max_position_embeddings": original}
        more = {"attention_bias": True, "lm_head_bias": True, "input_jitter_noise": 0.0}
    return {
        "architectures": [ARCHITECTURES[architecture]],
        "model_type": architecture,
        **model,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": ROPE_THETA,
        "rope_scaling": {"type": "longrope", "short_factor": short, "long_factor": long, **scales},
        "partial_rotary_factor": 1.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "bos_token_id": token_ids["<s>"],
        "eos_token_id": token_ids["<|endoftext|>"],
        "pad_token_id": token_ids["<|endoftext|>"],
        "torch_dtype": "float32",
        **more,
    }


def write_json(path: Path, value: dict) -> None:
    """Write JSON under a temporary name, then rename."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def generation_config(token_ids: dict[str, int]) -> dict:
    """generation_config.json with all three stop ids: older copies of the real model lack them and do not stop."""
    return {
        "bos_token_id": token_ids["<s>"],
        "eos_token_id": [token_ids[t] for t in STOP_TOKENS],
        "pad_token_id": token_ids["<|endoftext|>"],
    }
