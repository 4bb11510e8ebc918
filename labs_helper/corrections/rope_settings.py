"""Rotary position settings that transformers 5 writes, in the keys that mlx-lm reads.

What: transformers 5 saves everything about rotary positions under `rope_parameters`. mlx-lm 0.32.2 reads only
    `rope_scaling`, `rope_theta` and `partial_rotary_factor`. Without them it computes plain RoPE with base 10000, and
    says nothing. It also leaves out a kind of scaling that it does not know ("yarn", an older name of the same tables),
    and a scale of the attention that the settings name.
Where: mlx_lm/models/phi3.py and phimoe.py, `ModelArgs`; ml-explore/mlx-lm#953 (closed). What the keys mean:
    transformers 5.23, modeling_rope_utils.py and models/phi3/configuration_phi3.py.
Rule: what mlx-lm can compute is written in its keys; what it cannot is refused. Nothing is left out in silence.
"""

from __future__ import annotations

import math

from labs_helper.errors import CheckpointRefused

_KNOWN = {
    "type",
    "rope_type",
    "rope_theta",
    "partial_rotary_factor",
    "short_factor",
    "long_factor",
    "factor",
    "attention_factor",
    "original_max_position_embeddings",
}
_SCALES = {"short_mscale", "long_mscale"}  # phimoe names a scale of queries and keys for each table
# mlx-lm takes both names; mlx_vlm.load() stumbles over "longrope" where it reads the tokenizer of phi3_v.
_NAMES = {"phi3": "longrope", "phimoe": "longrope", "phi3_v": "su"}


def classic(config: dict) -> dict:
    """The same configuration with `rope_scaling`, `rope_theta` and the like in place of `rope_parameters`.

    config: a parsed config.json, of transformers 4 or 5; it is not changed.
    Raises CheckpointRefused if mlx-lm could not compute what the settings say, or if they contradict each other.

    Example:
        classic({"model_type": "phi3", "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, **sizes})
    """
    kind = config.get("model_type")
    if kind not in _NAMES:
        return dict(config)  # whether it is a model of the course is for the store to say
    old, new = (_settings(config, key) for key in ("rope_scaling", "rope_parameters"))
    made = {key: value for key, value in config.items() if key not in ("rope_scaling", "rope_parameters")}
    names = {_name(kind, where[key]) for where in (old, new) for key in ("type", "rope_type") if key in where}
    settings = {key: _one(key, old, new) for key in (old.keys() | new.keys()) - {"type", "rope_type"}}
    if unknown := sorted(settings.keys() - _KNOWN - (_SCALES if kind == "phimoe" else set())):
        raise _refusal(f"the setting {unknown[0]!r}, which mlx-lm does not read")
    if len(names) > 1:
        raise _refusal(f"several kinds at once: {', '.join(sorted(names))}")
    made["rope_theta"] = _one("rope_theta", settings, made, 10000.0)
    part = _one("partial_rotary_factor", settings, made, 1.0)
    if kind == "phi3":
        made["partial_rotary_factor"] = part
    elif part != 1:
        raise _refusal(f"a partial_rotary_factor of {part!r}, which mlx-lm does not read for {kind}")
    if "longrope" not in names:  # "default", or nothing at all
        made["rope_scaling"] = None
        return made
    if not settings.keys() >= {"short_factor", "long_factor"}:
        raise _refusal("no short_factor and long_factor")
    original = _one("original_max_position_embeddings", settings, made, 4096 if kind != "phimoe" else None)
    if original is None:
        raise _refusal("no original_max_position_embeddings, so it is unknown where the tables change")
    if (
        kind == "phimoe"
        and original == made.get("max_position_embeddings")
        and (settings["short_factor"] != settings["long_factor"])
    ):
        # What transformers 5.23 writes where the length stood beside rope_scaling and not inside: it is lost there.
        raise _refusal("an original_max_position_embeddings that is the whole context, so the tables never change")
    made["original_max_position_embeddings"] = original
    made["rope_scaling"] = {"type": _NAMES[kind], **{key: settings[key] for key in ("short_factor", "long_factor")}}
    if kind == "phimoe":
        if not settings.keys() >= _SCALES:
            raise _refusal("no short_mscale and long_mscale, which mlx-lm needs for phimoe")
        made["rope_scaling"] |= {key: settings[key] for key in sorted(_SCALES)}
    else:
        _check_scale(settings, made.get("max_position_embeddings", 131072), original)
    return made


def _settings(config: dict, key: str) -> dict:
    found = config.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
        raise _refusal(f"{key!r} in a form that mlx-lm does not read (one set of settings for all layers is needed)")
    return {name: value for name, value in found.items() if value is not None}


def _name(kind: str, name: object) -> str:
    # Older names of "longrope"; transformers reads "yarn" so for phi3 alone.
    if name == "su" or (name == "yarn" and kind != "phimoe"):
        name = "longrope"
    if name not in ("default", "longrope"):
        raise _refusal(f"the kind {name!r}, which mlx-lm would leave out")
    return name


def _one(key: str, first: dict, second: dict, default=None):
    """The value of a setting that may stand in two places, but not with two values."""
    found = [where[key] for where in (first, second) if where.get(key) is not None]
    if len(found) == 2 and found[0] != found[1]:
        raise _refusal(f"two values of {key!r}: {str(found[0])[:40]} and {str(found[1])[:40]}")
    return found[0] if found else default


def _check_scale(settings: dict, longest: int, original: int) -> None:
    """mlx-lm computes the scale of queries and keys from the two lengths: sqrt(1 + ln(longest / original) /
    ln(original)), as LongRoPE does (arXiv:2402.13753). A file that names another one would be misread.
    """
    factor = longest / original
    usual = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    for key, right in (("factor", factor), ("attention_factor", usual)):
        value = settings.get(key, right)
        if not isinstance(value, (int, float)) or not math.isclose(value, right, rel_tol=1e-3):
            raise _refusal(f"a {key!r} of {value!r}, where mlx-lm computes {right:.4g}")


def _refusal(what: str) -> CheckpointRefused:
    return CheckpointRefused(
        f"The rotary position settings of config.json have {what}.",
        "Take another copy of the model: answers would be wrong without any sign of it.",
    )
