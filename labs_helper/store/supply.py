"""Bring a model to this machine, keep it right, and take it away again."""

from __future__ import annotations

import shutil
from pathlib import Path

from labs_helper import catalog
from labs_helper.catalog import ModelCard
from labs_helper.errors import BadRequest, CheckpointRefused, ModelNotHere
from labs_helper.store import checkpoint, hub, lan, manifest, staging, transfer
from labs_helper.store.places import locate, models_folders, real_card


def progress_bar(total: int, what: str, show: bool):
    """A progress bar in bytes, for a terminal or a notebook.

    Example:
        with progress_bar(2_150_000_000, "phi-3.5-mini-instruct-4bit", True) as bar: ...
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=not show, mininterval=0.5)


def fetch(name: str, source: str | None = None, progress: bool = True) -> Path:
    """Download a model, or go on with a download that stopped. Returns its folder.

    name: a catalog name, or a role for the first real model of that role.
    source: the address of a computer that runs `labs models serve`; None is the Hugging Face hub.
    progress: show a progress bar.
    A model that is here already is left as it is. Nothing is there under its name before all files are there and
    right: sizes, sums, headers of the weights, every shard of the index.
    Raises BadRequest, NotEnoughDisk, DownloadFailed or CheckpointRefused.

    Example:
        fetch("phi-3.5-mini-instruct-4bit")
        fetch("phi-3.5-mini-instruct-4bit", source="http://192.168.1.20:8787")
    """
    card = real_card(name)
    here = _already_here(card)
    if here is not None:
        return here
    plan = lan.plan(card.name, source) if source else hub.plan(card)
    with staging.disk_errors(card.name), staging.staging(card.name) as folder:
        if staging.final_place(card.name).exists():  # another program was quicker
            return staging.final_place(card.name)
        staging.need_disk(folder, plan.bytes - _collected(folder), card.name)
        with transfer.client(plan.headers) as http, progress_bar(plan.bytes, card.name, progress) as bar:
            # The small files first: a model that cannot be used is refused before its gigabytes are fetched.
            for remote in sorted(plan.files, key=lambda file: (_is_weights(file.name), file.size)):
                if _is_weights(remote.name):
                    _check_early(folder, card, plan)
                transfer.download(http, remote, folder, bar.update)
        made = _manifest(folder, card.name, plan)
        return staging.install(folder, card, made)


def _is_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".gguf"))


def _check_early(folder: Path, card: ModelCard, plan: hub.Plan) -> None:
    if card.format != "mlx":
        return
    checkpoint.check_settings(folder, ships_code=card.ships_code)
    index = folder / checkpoint.INDEX
    missing = set(checkpoint.shards(index)) - {file.name for file in plan.files} if index.is_file() else set()
    if missing:
        raise CheckpointRefused(
            f"{plan.repository or card.name} lacks weight files of its index: {', '.join(sorted(missing)[:3])}.",
            "The upload is not complete. Try again later, or take a copy from somebody who has the model.",
        )


def _already_here(card: ModelCard) -> Path | None:
    try:
        path = locate(card)
        checkpoint.verify(path, ships_code=card.ships_code)
    except ModelNotHere:
        place = staging.final_place(card.name)
        if place.exists():
            raise CheckpointRefused(
                f"{place} is there, and is not a whole model.", f"Run `labs models remove {card.name}`, then try again."
            ) from None
        return None
    except CheckpointRefused as error:
        raise CheckpointRefused(
            f"{card.name} is here, and broken: {error.what}", f"Run `labs models remove {card.name}`, then fetch again."
        ) from error
    return path


def _collected(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _manifest(folder: Path, name: str, plan: hub.Plan) -> manifest.Manifest:
    """The manifest of a finished download. The large files' sums were checked a moment ago."""
    files = []
    for remote in sorted(plan.files, key=lambda file: file.name):
        digest = remote.digest if remote.kind == "sha256" else manifest.sha256(folder / remote.name)
        files.append(manifest.File(remote.name, remote.size, digest))
    return manifest.Manifest(name, tuple(files), plan.repository, plan.revision)


def check(name: str, progress: bool = True) -> str:
    """Look at every byte of a model: the sums of its manifest, and everything `verify` looks at.

    name: a catalog name or role.
    Returns a sentence that says what was checked. Raises ModelNotHere or CheckpointRefused.

    Example:
        check("instruct-tiny")
    """
    card = catalog.find(name)[0] if name in {card.name for card in catalog.cards()} else real_card(name)
    path = locate(card)
    checkpoint.verify(path, ships_code=card.ships_code)
    made = manifest.Manifest.read(path)
    if made is None:
        return f"{card.name} is complete. It has no manifest, so its sums could not be compared ({path})."
    with progress_bar(made.bytes, card.name, progress) as bar:
        made.check(path, bar.update)
    return f"{card.name} is complete, and the SHA-256 sums of its {len(made.files)} files are right ({path})."


def remove(name: str) -> int:
    """Delete a model from the models folder, with what an unfinished download of it left. Returns the bytes freed.

    name: a catalog name or role. Bundled models stay, and so does what other programs keep in the Hugging Face cache.
    Raises BadRequest or ModelNotHere.

    Example:
        remove("phi-3.5-mini-instruct-4bit")
    """
    card = real_card(name)
    freed, found = 0, False
    with staging.staging(card.name) as part:
        # The name goes first, in one step: whatever happens then, no half of a model can be found.
        for folder in models_folders():
            for each in {card.name, card.repository.split("/")[-1]}:
                place, going = folder / each, folder / f".{each}.removed"
                if place.is_symlink():
                    place.unlink()
                    found = True
                elif place.is_dir():
                    if going.exists():
                        shutil.rmtree(going)
                    place.rename(going)
                if going.is_dir():
                    freed, found = freed + _collected(going), True
                    shutil.rmtree(going)
        collected = _collected(part)
        freed, found = freed + collected, found or collected > 0
        shutil.rmtree(part)
    if found:
        return freed
    try:
        cached = locate(card)
    except ModelNotHere:
        raise ModelNotHere(f"{card.name} is not in {models_folders()[0]}.", "There is nothing to remove.") from None
    raise BadRequest(
        f"{card.name} was fetched by another program and lies in the Hugging Face cache ({cached}).",
        f"Remove it with `hf cache rm model/{card.repository}`.",
    )
