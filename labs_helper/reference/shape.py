"""The numbers that a model is built from, read from its config.json."""

from __future__ import annotations

import math
from dataclasses import dataclass

from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.errors import CheckpointRefused


@dataclass(frozen=True)
class Positions:
    """LongRoPE: two tables of factors, and what queries and keys are multiplied with.

    Attributes:
        base: of the wavelengths.
        original: up to this length, in tokens, the short table holds.
        short, long: a factor for each pair of numbers in a head; plain RoPE has only ones.
        short_scale, long_scale: of queries and keys, so that attention stays sharp in long texts.
    """

    base: float
    original: int
    short: tuple[float, ...]
    long: tuple[float, ...]
    short_scale: float
    long_scale: float

    def is_long(self, total: int) -> bool:
        """Whether a request of this length, prompt and answer together, takes the long table."""
        return total > self.original


@dataclass(frozen=True)
class Shape:
    """The sizes of a model.

    Attributes:
        kind: "phi3", "phi3_v" or "phimoe".
        layers, width: how many layers, and how many numbers stand for a token between them.
        heads, kv_heads: of queries; of keys and values, which neighbouring heads may share.
        head: numbers of a head.
        inner: the width inside an MLP or an expert.
        experts, chosen, jitter: of a phimoe: how many there are, how many each token takes, SparseMixer's band.
    """

    kind: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    vocabulary: int
    context: int
    eps: float
    positions: Positions
    experts: int = 0
    chosen: int = 0
    jitter: float = 0.0


def shape_of(config: Config) -> Shape:
    """The sizes in a config.json that `labs_helper.store.verify` has checked.

    Raises:
        CheckpointRefused: the reference does not compute this kind of model.

    Example:
        shape_of(config).layers      # 4
    """
    heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
    if config.get("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointRefused(
            _("This model turns only a part of each head, which the reference does not compute."),
            _("Use a model of the Phi-3.5 family."),
        )
    experts = int(config.get("num_local_experts") or 0)
    return Shape(
        kind=config["model_type"],
        layers=int(config["num_hidden_layers"]),
        width=width,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head=width // heads,
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        context=int(config.get("max_position_embeddings") or 4096),
        eps=float(config.get("rms_norm_eps") or 1e-5),
        positions=_positions(config, width // heads),
        experts=experts,
        chosen=int(config.get("num_experts_per_tok") or 2) if experts else 0,
        jitter=float(config.get("router_jitter_noise") or 0.0),
    )


def _positions(config: Config, head: int) -> Positions:
    base, scaling = float(config.get("rope_theta") or 10000.0), config.get("rope_scaling") or {}
    original = int(config.get("original_max_position_embeddings") or 4096)
    if "short_factor" not in scaling:
        ones = (1.0,) * (head // 2)
        return Positions(base, original, ones, ones, 1.0, 1.0)
    # The longer the text, the more tokens share the attention. LongRoPE sharpens it (arXiv:2402.13753, section 3.3).
    stretch = int(config.get("max_position_embeddings") or 4096) / original
    usual = 1.0 if stretch <= 1 else math.sqrt(1 + math.log(stretch) / math.log(original))
    return Positions(
        base,
        original,
        tuple(scaling["short_factor"]),
        tuple(scaling["long_factor"]),
        float(scaling.get("short_mscale") or usual),
        float(scaling.get("long_mscale") or usual),
    )
