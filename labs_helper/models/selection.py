"""Which model answers for a role on this machine, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labs_helper import catalog, store
from labs_helper.capacity import estimate, limits
from labs_helper.catalog import ModelCard, endpoints
from labs_helper.catalog.endpoints import Endpoint
from labs_helper.common import platforms, settings
from labs_helper.common.translate import _
from labs_helper.common.units import size
from labs_helper.errors import BadRequest, LabError
from labs_helper.models.route import is_computed_otherwise

ENDPOINT = "endpoint"  # a tier and a role beside those of the catalog: a server that LABS_ENDPOINT names


@dataclass(frozen=True)
class Choice:
    """The model that answers for a role.

    Attributes:
        card: what the catalog knows about it.
        path: its folder; None for a model on a server.
        reason: why it was chosen, as the end of a sentence.
        endpoint: the server, for a model on one.
    """

    card: ModelCard
    path: Path | None
    reason: str
    endpoint: Endpoint | None = None


def choose(name: str | os.PathLike[str], tier: str | None = None) -> Choice:
    """Which model answers for a role or name on this machine.

    Args:
        name: a role, a catalog name, the path of a checkpoint folder or GGUF file, or "endpoint".
        tier: "auto", "tiny", "real" or "endpoint"; None takes LABS_MODELS, whose default is "auto". Auto takes the
            real model if it is already here, fits in the free memory and something runs it well, MLX on a GPU,
            llama.cpp or ONNX Runtime; else the bundled one. An endpoint is used only if it is asked for: questions
            leave the machine.

    Raises:
        BadRequest: unknown name or tier.
        ModelNotHere: the model is not on this machine.

    Example:
        choose("instruct").reason
    """
    if not isinstance(name, (str, os.PathLike)) or not str(name).strip():
        raise BadRequest(
            _("{name!r} is not the name of a model.").format(name=name), _("Use a role such as 'instruct'.")
        )
    name, tier = os.fspath(name), _checked_tier(tier)
    if name == ENDPOINT:
        return _endpoint(_("you asked for it"))
    if store.looks_like_path(name):
        return Choice(store.card_for(name), store.model_path(name), _("you named its path"))
    cards = catalog.find(name)
    if name == cards[0].name:
        return _by_name(cards[0])
    asked = _("the tier {tier!r} was asked for").format(tier=tier)
    if tier == ENDPOINT:
        return _endpoint(asked)
    cards = [card for card in cards if not card.not_yet]
    tiny = next((card for card in cards if card.tier == "tiny"), None)
    real = catalog.for_this_machine(card for card in cards if card.tier == "real")
    if tier == "auto":
        return _choose_auto(tiny, real)
    best = tiny if tier == "tiny" else _best_real(real)
    if best is None:
        raise BadRequest(
            _("There is no {tier} model for {name!r}.").format(tier=tier, name=name),
            _("Use the tier {tier!r}, which has one.").format(tier=cards[0].tier),
        )
    return Choice(best, store.locate(best), asked)


def _checked_tier(tier: str | None) -> str:
    known = ("auto", *catalog.TIERS, ENDPOINT)
    chosen = tier or settings.MODELS.get()
    if chosen not in known:
        if tier:
            what = _("There is no tier {tier!r}.").format(tier=chosen)
        else:
            what = _("{variable} is {tier!r}, which is not a tier.").format(variable=settings.MODELS.name, tier=chosen)
        raise BadRequest(what, _("Use one of: {tiers}.").format(tiers=", ".join(known)))
    return chosen


def _by_name(card: ModelCard) -> Choice:
    if card.not_yet:
        raise BadRequest(
            _("This version cannot run {name}: {reason}.").format(name=card.name, reason=card.not_yet),
            _('Use another model of the role: load("{role}").').format(role=card.role),
        )
    return Choice(card, store.locate(card), _("you asked for it by name"))


def _endpoint(reason: str) -> Choice:
    server = endpoints.from_environment()
    card = ModelCard(name=server.name, role=ENDPOINT, tier=ENDPOINT, format=ENDPOINT, source=server.url)
    where = _("{reason}; {variable} names {host}").format(
        reason=reason, variable=settings.ENDPOINT.name, host=server.host
    )
    return Choice(card, None, where, server)


def _best_real(real: list[ModelCard]) -> ModelCard | None:
    """The first real model that is here, one that runs well before one that only runs; else the first of all."""
    here = [card for card in real if store.is_here(card)]
    return next((card for card in here if not _obstacle(card)), next(iter(here or real), None))


def _obstacle(card: ModelCard) -> str:
    """Why a real model would run badly or not at all on this machine, whatever its size; empty if it runs well."""
    if card.format == "gguf":
        if not platforms.has_llama_cpp():
            return _("the GGUF model is here, but llama.cpp is not installed: pip install 'labs-helper[x86]'")
        if platforms.lacks_avx2():
            return _("the GGUF model is here, but llama.cpp's package needs a processor with AVX2")
    elif card.format == "onnx":
        if not platforms.has_onnx_runtime():
            return _("the ONNX model is here, but ONNX Runtime is not installed: pip install 'labs-helper[x86]'")
    elif not platforms.has_mlx_gpu():
        return _(
            "the real model is here, but without a GPU that MLX can use one token takes seconds; "
            'load(..., tier="real") uses it anyway'
        )
    return ""


def _choose_auto(tiny: ModelCard | None, real: list[ModelCard]) -> Choice:
    reasons: dict[str, str] = {}
    for card in real:  # in the order of preference
        choice, reasons[card.name] = _try_real(card)
        if choice is not None:
            return choice
    only = _("it is the only one for this role")
    if tiny is None:
        return Choice(real[0], store.locate(real[0]), only)
    # The reason of a model that is here says more than that of one that is not.
    told = next((card for card in real if store.is_here(card)), next(iter(real), None))
    return Choice(tiny, store.locate(tiny), only if told is None else reasons[told.name])


def _try_real(card: ModelCard) -> tuple[Choice | None, str]:
    """Whether this real model can answer here, and if not, why."""
    try:
        path = store.locate(card)
        store.verify(path, ships_code=card.ships_code)
    except LabError as error:
        # The end of a sentence: the caller writes the full stop.
        return None, _("the real model cannot be used here: {reason}").format(reason=error.what.rstrip(" ."))
    if obstacle := _obstacle(card):
        return None, obstacle
    needed, free = estimate.of_folder(path, on_cpu=False).total, limits.free()
    if needed > free:
        return None, _("the real model needs {needed} of memory and {free} are free").format(
            needed=size(needed), free=size(free)
        )
    if is_computed_otherwise(card):
        reason = _(
            "it is on this machine, fits in the free memory, and llama.cpp runs it, with another norm and another "
            "mixture of experts than it was trained with (docs/known-issues.md)"
        )
        return Choice(card, path, reason), ""
    if card.format == "gguf":
        return Choice(card, path, _("it is on this machine, fits in the free memory, and llama.cpp runs it")), ""
    if card.format == "onnx":
        return Choice(card, path, _("it is on this machine, fits in the free memory, and ONNX Runtime runs it")), ""
    return Choice(card, path, _("it is on this machine and fits in the free memory")), ""
