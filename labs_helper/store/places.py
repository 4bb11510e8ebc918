"""Where models are on this machine: bundled, in the models folder, or in the Hugging Face cache."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from labs_helper import catalog
from labs_helper.catalog import ModelCard
from labs_helper.common import settings
from labs_helper.errors import BadRequest, CheckpointRefused, ModelNotHere
from labs_helper.store import gguf
from labs_helper.store.checkpoint import is_complete, read_json


def models_folders() -> list[Path]:
    """The local folders in which real models are looked for, first hit wins.

    LABS_MODELS_DIR if it is set, else `models/` in the course and `~/.cache/phi35-labs`.

    Example:
        models_folders()[0]
    """
    named = settings.MODELS_DIR.get()
    if named is not None:
        return [named]
    return [catalog.course_folder() / "models", Path.home() / ".cache" / "phi35-labs"]


def locate(card: ModelCard) -> Path:
    """The folder of a model on this machine.

    card: a card of the catalog.
    Raises ModelNotHere if the model is not on this machine. Nothing is downloaded.

    Example:
        locate(catalog.find("instruct", "tiny")[0])
    """
    if card.path is not None:
        if not Path(card.path).is_dir():
            raise ModelNotHere(
                f"The folder of {card.name} is not there: {card.path}.",
                "Restore it with `git checkout -- data/checkpoints`, or build it with `make checkpoints`.",
            )
        return Path(card.path)
    for folder in models_folders():
        for name in (card.name, card.repository.split("/")[-1]):
            if (folder / name / (card.file or "config.json")).is_file():
                return folder / name
    cached = _in_hub_cache(card)
    if cached is not None:
        return cached
    bundled = [other.name for other in catalog.cards() if other.role == card.role and other.tier == "tiny"]
    instead = f', or go on with the bundled model: load("{bundled[0]}")' if bundled else ""
    raise ModelNotHere(
        f"{card.name} ({card.repository}) is not on this machine.",
        f"Get it with `labs models fetch {card.name}`, or from a stick with `labs models import PACK`{instead}.",
    )


def is_here(card: ModelCard) -> bool:
    """Whether a model is on this machine.

    Example:
        is_here(catalog.find("instruct", "real")[0])
    """
    try:
        locate(card)
    except ModelNotHere:
        return False
    return True


def _in_hub_cache(card: ModelCard) -> Path | None:
    """The newest complete snapshot in the Hugging Face cache, without going online."""
    # Imported here: huggingface_hub takes longer to import than everything else in this module together.
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(card.repository, card.file or "config.json")
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    return folder if card.file or is_complete(folder) else None


def real_card(name: str) -> ModelCard:
    """The card of a model that can be fetched: by its name, or the first real one of a role.

    Raises BadRequest for unknown names and for bundled models, which need no fetching.

    Example:
        real_card("instruct").name      # 'phi-3.5-mini-instruct-4bit'
    """
    for card in catalog.find(name):
        if card.tier == "real":
            return card
    raise BadRequest(
        f"{name} is part of the course: it is never fetched, imported or removed.",
        "Name a real model; `labs models list` shows them.",
    )


def card_for(path: str | Path) -> ModelCard:
    """A card for a checkpoint folder that is not in the catalog, filled from its config.json or GGUF file.

    Raises ModelNotHere if the folder is missing.

    Example:
        card_for("my-checkpoint").architecture
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise ModelNotHere(f"There is no folder {path}.", "Check the path; use an absolute one if in doubt.")
    path = path.resolve()
    for card in catalog.cards():
        if card.path is not None and Path(card.path).resolve() == path:
            return card
        if card.repository and any((folder / card.name).resolve() == path for folder in models_folders()):
            return replace(card, path=path)
    file = gguf_file(path)
    config = gguf.read(file).config() if file else read_json(path / "config.json")

    def number(key: str) -> int | None:
        return config[key] if isinstance(config.get(key), int) else None

    return ModelCard(
        name=path.name,
        role="custom",
        tier="custom",
        architecture=str(config.get("model_type")),
        context=number("max_position_embeddings"),
        bytes_on_disk=catalog.folder_bytes(path),
        source=f"the folder {path}",
        path=path,
        format="gguf" if file else "mlx",
        file=file.name if file else None,
    )


def gguf_file(path: str | Path) -> Path | None:
    """The GGUF file of a folder; None for a folder that MLX reads. Raises CheckpointRefused if there are several.

    Example:
        gguf_file("models/phi-3.5-mini-instruct-q4-gguf")
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return None
    files = sorted(path.glob("*.gguf"))
    named = [path / card.file for card in catalog.cards() if card.file and path / card.file in files]
    if len(files) > 1 and len(named) != 1:
        raise CheckpointRefused(f"There are {len(files)} GGUF files in {path}.", "Keep one of them in a folder.")
    return (named or files or [None])[0]


def looks_like_path(name: str) -> bool:
    """Whether a name means a folder and not a catalog entry.

    Example:
        looks_like_path("./my-checkpoint"), looks_like_path("instruct")      # (True, False)
    """
    if "\0" in name:
        raise BadRequest("A model name cannot hold a null character.", "Use a role such as 'instruct'.")
    return os.sep in name or name.startswith((".", "~")) or Path(name).is_dir()
