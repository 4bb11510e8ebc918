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
from typing import Any

from labs_helper.common.translate import _
from labs_helper.common.types import Config
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


def classic(config: Config) -> Config:
    """The same configuration with `rope_scaling`, `rope_theta` and the like in place of `rope_parameters`.

    Args:
        config: a parsed config.json, of transformers 4 or 5; it is not changed.

    Raises:
        CheckpointRefused: mlx-lm could not compute what the settings say, or they contradict each other.

    Example:
        classic({"model_type": "phi3", "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, **sizes})
    """
    model_type = config.get("model_type")
    if model_type not in _NAMES:
        return dict(config)  # the store says whether it is a model of the course
    kinds, settings = _merged(config, model_type)
    result = {key: value for key, value in config.items() if key not in ("rope_scaling", "rope_parameters")}
    result["rope_theta"] = _one("rope_theta", settings, result, 10000.0)
    rotated = _one("partial_rotary_factor", settings, result, 1.0)
    if model_type == "phi3":
        result["partial_rotary_factor"] = rotated
    elif rotated != 1:
        raise _refusal(
            _("mlx-lm does not read a partial_rotary_factor ({factor}) for {model_type}").format(
                factor=repr(rotated), model_type=model_type
            )
        )
    if "longrope" not in kinds:  # "default", or nothing at all
        result["rope_scaling"] = None
        return result
    return result | _longrope(settings, result, model_type)


def _merged(config: Config, model_type: str) -> tuple[set[str], Config]:
    """The kinds that `rope_scaling` and `rope_parameters` name, and all other settings of the two."""
    old, new = (_settings(config, key) for key in ("rope_scaling", "rope_parameters"))
    kinds = {_kind(model_type, group[key]) for group in (old, new) for key in ("type", "rope_type") if key in group}
    settings = {key: _one(key, old, new) for key in (old.keys() | new.keys()) - {"type", "rope_type"}}
    if unknown := sorted(settings.keys() - _KNOWN - (_SCALES if model_type == "phimoe" else set())):
        raise _refusal(_("mlx-lm does not read the setting {name}").format(name=repr(unknown[0])))
    if len(kinds) > 1:
        raise _refusal(_("they name several kinds at once: {kinds}").format(kinds=", ".join(sorted(kinds))))
    return kinds, settings


def _longrope(settings: Config, config: Config, model_type: str) -> Config:
    """`rope_scaling` and the length where the tables change, for LongRoPE."""
    if not settings.keys() >= {"short_factor", "long_factor"}:
        raise _refusal(_("there is no short_factor and no long_factor"))
    original = _one("original_max_position_embeddings", settings, config, 4096 if model_type != "phimoe" else None)
    if original is None:
        raise _refusal(_("without original_max_position_embeddings it is unknown where the tables change"))
    scaling = {"type": _NAMES[model_type]} | {key: settings[key] for key in ("short_factor", "long_factor")}
    if model_type == "phimoe":
        if original == config.get("max_position_embeddings") and settings["short_factor"] != settings["long_factor"]:
            # What transformers 5.23 writes where the length stood beside rope_scaling and not inside: it is lost there.
            raise _refusal(_("original_max_position_embeddings is the whole context, so the tables never change"))
        if not settings.keys() >= _SCALES:
            raise _refusal(_("there is no short_mscale and no long_mscale, which mlx-lm needs for phimoe"))
        scaling |= {key: settings[key] for key in sorted(_SCALES)}
    else:
        _check_scale(settings, config.get("max_position_embeddings", 131072), original)
    return {"original_max_position_embeddings": original, "rope_scaling": scaling}


def _settings(config: Config, key: str) -> Config:
    group = config.get(key)
    if group is None:
        return {}
    if not isinstance(group, dict) or any(isinstance(value, dict) for value in group.values()):
        raise _refusal(
            _("{key} is in a form that mlx-lm does not read (one set of settings for all layers is needed)").format(
                key=repr(key)
            )
        )
    return {name: value for name, value in group.items() if value is not None}


def _kind(model_type: str, name: object) -> str:
    # Older names of "longrope"; transformers reads "yarn" so for phi3 alone.
    if name == "su" or (name == "yarn" and model_type != "phimoe"):
        return "longrope"
    if not isinstance(name, str) or name not in ("default", "longrope"):
        raise _refusal(_("mlx-lm would leave out the kind {kind}").format(kind=repr(name)))
    return name


def _one(key: str, first: Config, second: Config, default: Any = None) -> Any:
    """The value of a setting that two groups may hold, but not with two values."""
    values = [group[key] for group in (first, second) if group.get(key) is not None]
    if len(values) == 2 and values[0] != values[1]:
        raise _refusal(
            _("they give two values of {key}: {first} and {second}").format(
                key=repr(key), first=str(values[0])[:40], second=str(values[1])[:40]
            )
        )
    return values[0] if values else default


def _check_scale(settings: Config, longest: int, original: int) -> None:
    """Refuse a scale of queries and keys that mlx-lm would misread.

    It computes the scale from the two lengths: sqrt(1 + ln(longest / original) / ln(original)), as LongRoPE does
    (arXiv:2402.13753).
    """
    factor = longest / original
    usual = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    for key, right in (("factor", factor), ("attention_factor", usual)):
        value = settings.get(key, right)
        if not isinstance(value, (int, float)) or not math.isclose(value, right, rel_tol=1e-3):
            raise _refusal(
                _("{key} is {value}, where mlx-lm computes {right:.4g}").format(
                    key=repr(key), value=repr(value), right=right
                )
            )


def _refusal(reason: str) -> CheckpointRefused:
    return CheckpointRefused(
        _("The rotary position settings of config.json cannot be used: {reason}.").format(reason=reason),
        _("Use another copy of the model: this one would give wrong answers without any sign of it."),
    )
