"""Which model answers for a role on this machine, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labs_helper import catalog, store
from labs_helper.capacity import estimate, limits
from labs_helper.catalog import ModelCard, endpoints
from labs_helper.common import platforms
from labs_helper.common.units import size
from labs_helper.errors import BadRequest, LabError

ENDPOINT = "endpoint"  # a tier and a role beside those of the catalog: a server that LABS_ENDPOINT names


@dataclass(frozen=True)
class Choice:
    """The model that answers for a role: its card, its folder, and the reason."""

    card: ModelCard
    path: Path | None  # None for an endpoint
    reason: str


def choose(name: str, tier: str | None = None) -> Choice:
    """Which model answers for a role or name on this machine.

    name: a role, a catalog name, the path of a checkpoint folder, or "endpoint".
    tier: "auto", "tiny", "real" or "endpoint"; None takes LABS_MODELS, whose default is "auto". Auto takes the real
        model if it is already here, fits in the free memory and something runs it well, MLX on a GPU or llama.cpp;
        else the bundled one. An endpoint is taken only where it is asked for: questions leave the machine then.
    Raises BadRequest for unknown names and tiers, ModelNotHere if the model is not on this machine.

    Example:
        choose("instruct").reason
    """
    if not isinstance(name, (str, os.PathLike)) or not str(name).strip():
        raise BadRequest(f"{name!r} is not the name of a model.", "Use a role such as 'instruct'.")
    name, asked = os.fspath(name), tier
    tier = tier or os.environ.get("LABS_MODELS") or "auto"
    if tier not in ("auto", *catalog.TIERS, ENDPOINT):
        where = "" if asked else " (from LABS_MODELS)"
        every = ", ".join((*catalog.TIERS, ENDPOINT))
        raise BadRequest(f"There is no tier {tier!r}{where}.", f"Use one of: auto, {every}.")
    if name == ENDPOINT:
        return _endpoint("you asked for it")
    if store.looks_like_path(name):
        card = store.card_for(name)
        return Choice(card, Path(card.path), "you gave its folder")
    found = catalog.find(name)
    if name == found[0].name:
        if found[0].not_yet:
            raise BadRequest(
                f"This version cannot run {name}: {found[0].not_yet}.",
                f'Take another model of the role: load("{found[0].role}").',
            )
        return Choice(found[0], store.locate(found[0]), "you asked for it by name")
    if tier == ENDPOINT:
        return _endpoint(f"the tier {tier!r} was asked for")
    found = [card for card in found if not card.not_yet]
    tiny = next((card for card in found if card.tier == "tiny"), None)
    real = [card for card in found if card.tier == "real"]
    if tier == "auto":
        return _choose_auto(tiny, real)
    if not (real if tier == "real" else tiny):
        raise BadRequest(f"There is no {tier} model for {name!r}.", f"There is: {found[0].tier}.")
    card = tiny if tier == "tiny" else _best_real(real)
    return Choice(card, store.locate(card), f"the tier {tier!r} was asked for")


def _endpoint(reason: str) -> Choice:
    place = endpoints.from_environment()
    card = ModelCard(name=place.name, role=ENDPOINT, tier=ENDPOINT, format=ENDPOINT, source=place.url)
    return Choice(card, None, f"{reason}; LABS_ENDPOINT leads to {place.host}")


def _best_real(real: list[ModelCard]) -> ModelCard:
    """The first real model that is here, one that runs well before one that only runs; else the first of all."""
    here = [card for card in real if store.is_here(card)]
    return next((card for card in here if not _slow(card)), (here or real)[0])


def _slow(card: ModelCard) -> str:
    """Why a real model would run badly or not at all on this machine, whatever its size; empty if it runs well."""
    if card.format == "gguf":
        if not platforms.has_llama_cpp():
            return "the GGUF model is here, but llama.cpp is not installed: pip install 'labs-helper[x86]'"
    elif not platforms.has_apple_gpu():
        return (
            "the real model is here, but without a GPU that MLX can use one token takes seconds; "
            'load(..., tier="real") takes it all the same'
        )
    return ""


def _choose_auto(tiny: ModelCard | None, real: list[ModelCard]) -> Choice:
    reasons = {}
    for card in real:  # in the order of preference
        choice, reasons[card.name] = _try_real(card)
        if choice is not None:
            return choice
    if tiny is None:
        return Choice(real[0], store.locate(real[0]), "it is the only one for this role")
    here = [card.name for card in real if store.is_here(card)]
    why = reasons[here[0] if here else real[0].name] if real else "it is the only one for this role"
    return Choice(tiny, store.locate(tiny), why)


def _try_real(card: ModelCard) -> tuple[Choice | None, str]:
    """Whether this real model can answer here, and if not, why."""
    try:
        path = store.locate(card)
        store.verify(path, ships_code=card.ships_code)
    except LabError as error:
        return None, f"the real model cannot be used here: {error.what}"
    if slow := _slow(card):
        return None, slow
    needed, free = estimate.of_folder(path, on_cpu=False).total, limits.free()
    if needed > free:
        return None, f"the real model needs {size(needed)} of memory and {size(free)} are free"
    how = " and llama.cpp runs it" if card.format == "gguf" else ""
    return Choice(card, path, f"it is on this machine and fits in the free memory{how}"), ""
