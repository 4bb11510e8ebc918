"""Refuse a model or a request that does not fit in memory, before anything is loaded, and say what would fit."""

from __future__ import annotations

from pathlib import Path

from labs_helper import catalog, store
from labs_helper.capacity import estimate, limits
from labs_helper.catalog import ModelCard
from labs_helper.common import platforms, settings
from labs_helper.common.translate import _
from labs_helper.common.units import size
from labs_helper.errors import NotEnoughMemory


def require_memory(needed: int, what: str) -> None:
    """Refuse if `needed` bytes do not fit in the memory that is free now.

    `require` says more, and should be used where a model is loaded.

    Args:
        needed: bytes.
        what: what the memory is for, for the message.

    Raises:
        NotEnoughMemory: they do not fit.

    Example:
        require_memory(2_500_000_000, "phi-3.5-mini-instruct-4bit")
    """
    free = limits.free()
    if needed + estimate.SPARE > free:
        raise NotEnoughMemory(
            _("{what} needs about {needed} of memory and {free} are free.").format(
                what=what, needed=size(needed), free=size(max(0, free - estimate.SPARE))
            ),
            _(
                "Close other programs, release models you no longer use (model.release()), ask for fewer tokens, "
                'or take the bundled model: load(..., tier="tiny").'
            ),
        )


def require(path: str | Path, tokens: int, *, views: int = 0) -> estimate.Need:
    """Refuse if the model in a folder does not fit with a request of this length.

    Args:
        path: a checkpoint folder.
        tokens: prompt and answer together.
        views: of the request's pictures; see `estimate.need`.

    Raises:
        NotEnoughMemory: it does not fit. The message names a model that does, and the setting that would make this
            one fit.

    Example:
        require("models/phi-3.5-mini-instruct-4bit", 4096)
    """
    on_cpu, room = not platforms.has_mlx_gpu(), limits.free()
    need = estimate.of_folder(path, tokens, on_cpu=on_cpu, views=views)
    if need.total <= room:
        return need
    card = store.card_for(path)
    advice = [
        _fewer_tokens(estimate.longest_of_folder(path, room, on_cpu=on_cpu, views=views)),
        _smaller_pictures(path, tokens, on_cpu, room) if views else "",
        _model_that_fits(card, tokens, views, on_cpu, room, need.total),
        _setting_that_helps(limits.tightest(), need.total),
        _("To free the memory of other models, call model.release() on them."),
    ]
    raise NotEnoughMemory(
        _("{name} needs {need}. {free} are free.").format(name=card.name, need=need, free=size(room)),
        " ".join(text for text in advice if text),
    )


def _fewer_tokens(fit: int) -> str:
    if not fit:
        return ""
    return _("At most {count:,} tokens fit now: shorten the prompt or lower max_tokens.").format(count=fit)


def _smaller_pictures(path: str | Path, tokens: int, on_cpu: bool, room: int) -> str:
    """What helps where the request would fit with a single view."""
    if estimate.of_folder(path, tokens, on_cpu=on_cpu, views=1).total > room:
        return ""
    return _("It would fit with fewer picture tokens: show fewer pictures or use a smaller num_crops.")


def _model_that_fits(card: ModelCard, tokens: int, views: int, on_cpu: bool, room: int, most: int) -> str:
    """A sentence with the first model of the same role that needs less and fits; empty if there is none."""
    for other in catalog.for_this_machine(catalog.cards()):
        if other.role != card.role or other.name == card.name or other.not_yet:
            continue
        if not platforms.has_engine_for(other.format):
            continue
        here = store.is_here(other)
        within = min(tokens, other.context or tokens)
        need = (
            estimate.of_folder(store.locate(other), within, on_cpu=on_cpu, views=views)
            if here
            else estimate.of_card(other, within, on_cpu=on_cpu, views=views)
        )
        if need is not None and need.total <= min(room, most - 1):
            sentence = (
                _('load("{name}") needs {size} and fits.')
                if here
                else _('load("{name}") needs {size} and fits (first: labs models fetch {name}).')
            )
            return sentence.format(name=other.name, size=size(need.total))
    return ""


def _setting_that_helps(limit: limits.Limit, needed: int) -> str:
    if limit.kind == "setting":
        return _("{setting} is set; unset it, or set it to at least {gigabytes:.1f}.").format(
            setting=settings.MEMORY_GB.name, gigabytes=needed / 1e9
        )
    if limit.kind == "container":
        return _(
            "The container's limit is too low: raise it by {size} (docker run --memory, Docker Desktop's settings, "
            "or a larger Codespaces machine)."
        ).format(size=size(needed - limit.left))
    if limit.kind == "card":
        return _("The card has {size} in all; its other programs and models hold the rest.").format(
            size=size(limit.total)
        )
    if limit.kind == "gpu":
        megabytes = -(-(limit.total + needed - limit.left) // 2**20)
        if megabytes * 2**20 > limits.total() - 4 * 2**30:
            return _("This Mac has too little memory for it.")
        return _(
            "macOS keeps the rest from the GPU: `sudo sysctl iogpu.wired_limit_mb={megabytes}` changes that."
        ).format(megabytes=megabytes)
    return "" if needed > limits.total() else _("Close other programs: the machine itself has enough.")
