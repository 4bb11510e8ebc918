"""How the real model of a role would come to this machine, in one sentence."""

from __future__ import annotations

from labs_helper import catalog, store
from labs_helper.capacity import estimate
from labs_helper.catalog import ModelCard
from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.common.units import size


def is_computed_otherwise(card: ModelCard) -> bool:
    """Whether the engine of this model computes another function of its weights: llama.cpp does, for phimoe.

    Example:
        is_computed_otherwise(catalog.find("phi-3.5-moe-instruct-q4-gguf")[0])      # True
    """
    return card.format == "gguf" and card.architecture == "phimoe"


def route(role: str, *, experts: bool = False) -> str:
    """The one command that would bring a role's real model here, with its download and the memory that it needs.

    Args:
        role: such as "vision".
        experts: whether the lab asks which experts were chosen; only MLX reports them.

    Returns:
        A sentence; empty where the model is here already, or none is known.

    Example:
        route("vision")
    """
    fast = platforms.has_mlx_gpu()
    real = [card for card in catalog.for_this_machine(catalog.find(role, "real")) if not card.not_yet]
    if experts:
        real = [card for card in real if card.format == "mlx"]
        if not fast:
            return _("Its real model runs on a Mac with Apple silicon or an NVIDIA card: only MLX reports experts.")
    if not real or any(store.is_here(card) for card in real):
        return ""
    card = real[0]
    if card.format == "gguf" and platforms.lacks_avx2():
        return _("Its real model needs a processor with AVX2, or a server on another computer (LABS_ENDPOINT).")
    need = estimate.of_card(card, on_cpu=not fast)
    sentence = _("The real model for this machine: labs models fetch {name} (download {download}, memory {memory}).")
    told = sentence.format(
        name=card.name, download=size(card.bytes_on_disk), memory=_("unknown") if need is None else size(need.total)
    )
    if is_computed_otherwise(card):
        told += " " + _(
            "llama.cpp computes it with another norm and another mixture of experts than it was trained with "
            "(docs/known-issues.md)."
        )
    if not platforms.has_engine_for(card.format):
        told += " " + _("What runs it is missing: pip install 'labs-helper[x86]'.")
    return told
