"""Where models are on this machine: bundled, in the models folder, or in the Hugging Face cache."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from labs_helper import catalog
from labs_helper.catalog import ModelCard
from labs_helper.common import settings
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, CheckpointRefused, ModelNotHere
from labs_helper.store import gguf, onnx_folder
from labs_helper.store.checkpoint import is_complete
from labs_helper.store.json_files import read_json


def models_folders() -> list[Path]:
    """The local folders in which real models are looked for; the first that holds a model wins.

    LABS_MODELS_DIR if it is set, else `models/` in the course and `~/.cache/phi35-labs`.

    Example:
        models_folders()[0]
    """
    named = settings.MODELS_DIR.get()
    if named is not None:
        return [named]
    return [catalog.course_folder() / "models", Path.home() / ".cache" / "phi35-labs"]


def destination(card: ModelCard) -> Path:
    """The folder that a real model gets when it is fetched or imported.

    Example:
        destination(real_card("instruct"))      # models/phi-3.5-mini-instruct-4bit in the course folder
    """
    return models_folders()[0] / card.name


def possible_folders(card: ModelCard) -> list[Path]:
    """The local folders that may hold a real model, under its own name or its repository's; the first is preferred.

    Example:
        possible_folders(real_card("instruct"))[0] == destination(real_card("instruct"))      # True
    """
    names = [card.name, card.repository.split("/")[-1]] if card.repository else [card.name]
    return [folder / name for folder in models_folders() for name in dict.fromkeys(names)]


def locate(card: ModelCard) -> Path:
    """The folder of a model on this machine. Nothing is downloaded.

    Args:
        card: a card of the catalog.

    Raises:
        ModelNotHere: the model is not on this machine.

    Example:
        locate(catalog.find("instruct", "tiny")[0])
    """
    if card.path is not None:
        if not card.path.is_dir():
            if (catalog.course_folder() / ".git").exists():  # a file in a work tree of `git worktree`
                do = _("Restore it with `git checkout -- data/checkpoints`, or build it with `make checkpoints`.")
            else:  # the learners' zip, or an installed package without the course around it
                do = _("Get the whole course again; if it is in another folder, name that in {variable}.").format(
                    variable=settings.HOME.name
                )
            raise ModelNotHere(
                _("The folder of {name} is not there: {path}.").format(name=card.name, path=card.path), do
            )
        return card.path
    for folder in possible_folders(card):
        if (folder / card.main_file).is_file():
            return folder
    cached = _in_hub_cache(card)
    if cached is not None:
        return cached
    bundled = [other.name for other in catalog.cards() if other.role == card.role and other.tier == "tiny"]
    do = _("Get it with `labs models fetch {name}`, or from a stick with `labs models import PACK`.")
    if bundled:
        do = _(
            "Get it with `labs models fetch {name}`, or from a stick with `labs models import PACK`, or go on with "
            'the bundled model: load("{bundled}").'
        )
    raise ModelNotHere(
        _("{name} ({repository}) is not on this machine.").format(name=card.name, repository=card.repository),
        do.format(name=card.name, bundled=", ".join(bundled[:1])),
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

    if card.repository is None:
        return None
    inside = f"{card.folder}/" if card.folder else ""
    cached = try_to_load_from_cache(card.repository, inside + card.main_file)
    if not isinstance(cached, str):
        return None
    folder = Path(cached).parent
    if card.format == "onnx":
        return folder if onnx_folder.is_complete(folder) else None
    return folder if card.file or is_complete(folder) else None


def real_card(name: str) -> ModelCard:
    """The card of a model that can be fetched: by its name, or the real one of a role that suits this machine.

    Raises:
        BadRequest: there is no such model, or it is bundled and needs no fetching.

    Example:
        real_card("instruct").name      # 'phi-3.5-mini-instruct-4bit' on a Mac
    """
    for card in catalog.for_this_machine(catalog.find(name)):
        if card.tier == "real":
            return card
    raise BadRequest(
        _("{name} is part of the course: it is never fetched, exported, imported or removed.").format(name=name),
        _("Name a real model; `labs models list` shows them."),
    )


def card_named(name: str) -> ModelCard:
    """The card of any model by its name, or of the first real model of a role.

    Raises:
        BadRequest: there is no such model.

    Example:
        card_named("instruct-tiny").tier, card_named("instruct").tier      # ('tiny', 'real')
    """
    card = catalog.find(name)[0]
    return card if card.name == name else real_card(name)


def model_path(path: str | Path) -> Path:
    """Where a model is that somebody names by its path: a folder, or a GGUF file among several in its folder.

    The only GGUF file of a folder is the model of that folder, whichever of the two is named.

    Raises:
        ModelNotHere: nothing is there.
        CheckpointRefused: it is a file of another kind, or a part of a split model.

    Example:
        model_path("~/Downloads/Phi-3.5-mini-instruct-Q4_K_M.gguf")
    """
    path = Path(path).expanduser().resolve()
    if path.is_dir():
        return path
    if not path.is_file():
        raise ModelNotHere(
            _("There is no folder or file {path}.").format(path=path),
            _("Check the path; use an absolute one if in doubt."),
        )
    if not _is_gguf(path):
        raise CheckpointRefused(
            _("{path} is one file of a checkpoint.").format(path=path),
            _("Name the folder that holds it: {folder}.").format(folder=path.parent),
        )
    gguf.refuse_part(path)
    alone = not (path.parent / "config.json").is_file() and list(path.parent.glob("*.gguf")) == [path]
    return path.parent if alone else path


def _is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf" and path.is_file()


def card_for(path: str | Path) -> ModelCard:
    """A card for a checkpoint folder or GGUF file: the catalog's own, or one made from config.json or the file.

    Raises:
        ModelNotHere: there is no such folder.
        CheckpointRefused: neither file can be read.

    Example:
        card_for("my-checkpoint").architecture
    """
    path = model_path(path)
    for card in catalog.cards():
        if card.path is not None and card.path.resolve() == path:
            return card
        if card.path is None and any(folder.resolve() == path for folder in possible_folders(card)):
            return replace(card, path=path)
    file = gguf_file(path)
    onnx = file is None and onnx_folder.is_one(path)
    if onnx:
        config = onnx_folder.read(path).config()
    else:
        config = gguf.read(file).config() if file else read_json(path / "config.json")

    def number(key: str) -> int | None:
        return config[key] if isinstance(config.get(key), int) else None

    return ModelCard(
        name=path.name,
        role="custom",
        tier="custom",
        architecture=str(config.get("model_type")),
        context=number("max_position_embeddings"),
        bytes_on_disk=file.stat().st_size if file else catalog.folder_bytes(path),
        source=(_("the file {path}") if path.is_file() else _("the folder {path}")).format(path=path),
        path=path,
        format="gguf" if file else "onnx" if onnx else "mlx",
        file=file.name if file else None,
    )


def gguf_file(path: str | Path) -> Path | None:
    """The GGUF file of a folder, or the file itself if it is one; None for a folder that MLX reads.

    Raises:
        CheckpointRefused: there are several, or it is a part of a split model.

    Example:
        gguf_file("models/phi-3.5-mini-instruct-q4-gguf")
    """
    path = Path(path)
    if _is_gguf(path):
        gguf.refuse_part(path)
        return path
    if (path / "config.json").is_file() or onnx_folder.is_one(path):
        return None
    files = sorted(path.glob("*.gguf"))
    named = [path / card.file for card in catalog.cards() if card.file and path / card.file in files]
    if len(files) > 1 and len(named) != 1:
        for file in files:
            gguf.refuse_part(file)
        raise CheckpointRefused(
            _("There are {count} GGUF files in {path}.").format(count=len(files), path=path),
            _("Name the file that you want: load({file!r}).").format(file=str(files[0])),
        )
    chosen = next(iter(named or files), None)
    if chosen is not None:
        gguf.refuse_part(chosen)
    return chosen


def looks_like_path(name: str) -> bool:
    """Whether a name means a folder or GGUF file and not an entry of the catalog.

    Raises:
        BadRequest: it cannot be a name at all.

    Example:
        looks_like_path("./my-checkpoint"), looks_like_path("instruct")      # (True, False)
    """
    if "\0" in name:
        raise BadRequest(_("A model name cannot hold a null character."), _("Use a role such as 'instruct'."))
    return (
        any(sign in name for sign in (os.sep, os.altsep) if sign)
        or name.startswith((".", "~"))
        or Path(name).is_dir()
        or _is_gguf(Path(name))
    )
