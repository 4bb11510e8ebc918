"""Refuse a model or a request that does not fit in memory, before anything is loaded, and say what would fit."""

from __future__ import annotations

from pathlib import Path

from labs_helper import catalog, store
from labs_helper.capacity import estimate, limits
from labs_helper.catalog import ModelCard
from labs_helper.common import platforms
from labs_helper.common.units import size
from labs_helper.errors import NotEnoughMemory


def require_memory(needed: int, what: str) -> None:
    """Raise NotEnoughMemory if `needed` bytes do not fit in the memory that is free now.

    what: what the memory is for, for the message. `require` says more, and should be used where a model is loaded.

    Example:
        require_memory(2_500_000_000, "phi-3.5-mini-instruct-4bit")
    """
    free = limits.free()
    if needed + estimate.SPARE > free:
        raise NotEnoughMemory(
            f"{what} needs about {size(needed)} of memory and {size(max(0, free - estimate.SPARE))} are free.",
            "Close other programs, release models you no longer use (model.release()), ask for fewer tokens, "
            'or take the bundled model: load(..., tier="tiny").',
        )


def require(path: str | Path, tokens: int, *, views: int = 0) -> estimate.Need:
    """Raise NotEnoughMemory if the model in a folder does not fit with a request of this length.

    path: a checkpoint folder. tokens: prompt and answer together. views: see `estimate.need`.
    Returns the need. The refusal names a model that fits, and the setting that would make this one fit.

    Example:
        require("models/phi-3.5-mini-instruct-4bit", 4096)
    """
    on_cpu, room = not platforms.has_apple_gpu(), limits.free()
    need = estimate.of_folder(path, tokens, on_cpu=on_cpu, views=views)
    if need.total <= room:
        return need
    fewer = estimate.longest_of_folder(path, room, on_cpu=on_cpu, views=views)
    advice = []
    if fewer:
        advice.append(f"At most {fewer:,} tokens fit now: shorten the prompt or lower max_tokens.")
    card = store.card_for(path)
    advice.append(_model_that_fits(card, tokens, on_cpu, room, need.total))
    advice.append(_setting_that_helps(limits.tightest(), need.total))
    advice.append("Other models give their memory back with model.release().")
    raise NotEnoughMemory(
        f"{card.name} needs {need}. {size(room)} are free.", " ".join(text for text in advice if text)
    )


def _model_that_fits(card: ModelCard, tokens: int, on_cpu: bool, room: int, most: int) -> str:
    """A sentence with the first model of the same role that needs less and fits; empty if there is none."""
    for other in catalog.cards():
        if other.role != card.role or other.name == card.name or other.not_yet:
            continue
        if other.format == "gguf" and not platforms.has_llama_cpp():
            continue
        here = store.is_here(other)
        within = min(tokens, other.context or tokens)
        need = (
            estimate.of_folder(store.locate(other), within, on_cpu=on_cpu)
            if here
            else estimate.of_card(other, within, on_cpu=on_cpu)
        )
        if need is not None and need.total <= min(room, most - 1):
            first = "" if here else f" (first: labs models fetch {other.name})"
            return f'load("{other.name}") needs {size(need.total)} and fits{first}.'
    return ""


def _setting_that_helps(limit: limits.Limit, needed: int) -> str:
    if limit.kind == "LABS_MEMORY_GB":
        return f"LABS_MEMORY_GB is set; unset it, or set it to at least {needed / 1e9:.1f}."
    if limit.kind == "container":
        return (
            f"The container's limit is in the way: give it {size(needed - limit.left)} more (docker run --memory, "
            "Docker Desktop's settings, or a larger Codespaces machine)."
        )
    if limit.kind == "gpu":
        megabytes = -(-(limit.total + needed - limit.left) // 2**20)
        if megabytes * 2**20 > limits.total() - 4 * 2**30:
            return "This Mac has too little memory for it."
        return f"macOS keeps the rest from the GPU: `sudo sysctl iogpu.wired_limit_mb={megabytes}` lifts that."
    return "" if needed > limits.total() else "Close other programs: the machine itself has enough."
