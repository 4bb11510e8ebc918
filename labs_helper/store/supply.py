"""Bring a model to this machine, keep it right, and take it away again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from labs_helper import catalog
from labs_helper.catalog import ModelCard
from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, CheckpointRefused, ModelNotHere
from labs_helper.store import adapters, checkpoint, hub, lan, manifest, onnx_folder, staging, transfer
from labs_helper.store.places import card_named, destination, locate, models_folders, possible_folders, real_card

if TYPE_CHECKING:
    from tqdm.auto import tqdm


def progress_bar(total: int, what: str, show: bool) -> tqdm[NoReturn]:
    """A progress bar in bytes, for a terminal or a notebook.

    Args:
        total: bytes at the end.
        what: the words before the bar.
        show: False makes one that shows nothing.

    Example:
        with progress_bar(2_150_000_000, "phi-3.5-mini-instruct-4bit", True) as bar: ...
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=not show, mininterval=0.5)


def fetch(name: str, source: str | None = None, progress: bool = True) -> Path:
    """Download a model, or go on with a download that stopped. Returns its folder.

    A model that is here already is left as it is. Nothing gets the model's name before all files are there and right:
    sizes, sums, headers of the weights, every shard of the index.

    Args:
        name: a catalog name, or a role for the first real model of that role.
        source: the address of a computer that runs `labs models serve`; None is the Hugging Face hub.
        progress: show a progress bar.

    Raises:
        BadRequest: there is no such model, or `source` is not an address.
        NotEnoughDisk: the model does not fit.
        DownloadFailed: the hub or the computer does not answer, or not with the model.
        CheckpointRefused: what came, or what is here, must not be used.

    Example:
        fetch("phi-3.5-mini-instruct-4bit")
        fetch("phi-3.5-mini-instruct-4bit", source="http://192.168.1.20:8787")
    """
    card = real_card(name)
    here = _already_here(card)
    if here is not None:
        return here
    plan = lan.plan(card.name, source) if source else hub.plan(card)
    with staging.disk_errors(card.name), staging.staging(card) as part:
        if destination(card).exists():  # another program was quicker
            return destination(card)
        staging.need_disk(part, plan.size - _bytes_in(part), card.name)
        with (
            transfer.client(plan.files[0].url, plan.headers, redirects=plan.may_lead_elsewhere) as http,
            progress_bar(plan.size, card.name, progress) as bar,
        ):
            # The small files first: a model that cannot be used is refused before its gigabytes are fetched.
            for remote in sorted(plan.files, key=lambda file: (manifest.is_weights(file.name), file.size)):
                if manifest.is_weights(remote.name):
                    _check_early(part, card, plan)
                transfer.download(http, remote, part, bar.update)
        listing = _manifest(part, card.name, plan)
        hub.check_sums(card, listing)
        return staging.install(part, card, listing)


def _check_early(part: Path, card: ModelCard, plan: hub.Plan) -> None:
    if card.format == "onnx":
        kind = onnx_folder.KINDS[onnx_folder.check_settings(part)["type"]]
        if kind != card.architecture:
            raise CheckpointRefused(
                _("{name} holds a {kind} and should hold a {wanted}.").format(
                    name=plan.repository or card.name, kind=kind, wanted=card.architecture
                ),
                _("The upload has changed. Take a copy from somebody who has the model."),
            )
    if card.format != "mlx":
        return
    checkpoint.check_settings(part, ships_code=card.ships_code)
    index = part / checkpoint.INDEX
    missing = set(checkpoint.shards(index)) - {file.name for file in plan.files} if index.is_file() else set()
    if missing:
        raise CheckpointRefused(
            _("{name} lacks weight files of its index: {files}.").format(
                name=plan.repository or card.name, files=", ".join(sorted(missing)[:3])
            ),
            _("The upload is not complete. Try again later, or take a copy from somebody who has the model."),
        )


def _already_here(card: ModelCard) -> Path | None:
    try:
        path = locate(card)
        checkpoint.verify(path, ships_code=card.ships_code)
    except ModelNotHere:
        folder = destination(card)
        if folder.exists():
            raise CheckpointRefused(
                _("{folder} exists, but is not a complete model.").format(folder=folder),
                _("Run `labs models remove {name}`, then try again.").format(name=card.name),
            ) from None
        return None
    except CheckpointRefused as error:
        raise CheckpointRefused(
            _("{name} is here but broken: {reason}").format(name=card.name, reason=error.what),
            _("Run `labs models remove {name}`, then fetch again.").format(name=card.name),
        ) from error
    return path


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _manifest(part: Path, name: str, plan: hub.Plan) -> manifest.Manifest:
    """The manifest of a finished download. The large files' sums were checked a moment ago."""
    files = []
    for remote in sorted(plan.files, key=lambda file: file.name):
        digest = remote.digest if remote.kind == "sha256" else manifest.sha256(part / remote.name)
        files.append(manifest.File(remote.name, remote.size, digest))
    return manifest.Manifest(name, tuple(files), plan.repository, plan.revision)


def check(name: str, progress: bool = True) -> str:
    """Read every byte of a model: compare the sums of its manifest, and check everything that `verify` checks.

    Args:
        name: a catalog name or role.
        progress: show a progress bar.

    Returns:
        A sentence that says what was checked.

    Raises:
        ModelNotHere: the model is not on this machine.
        CheckpointRefused: something is wrong with it.

    Example:
        check("instruct-tiny")
    """
    if _is_adapter(name):
        return adapters.check(name)
    card = card_named(name)
    path = locate(card)
    checkpoint.verify(path, ships_code=card.ships_code)
    listing = manifest.Manifest.read(path)
    if listing is None:
        return _("{name} is complete. It has no manifest, so its sums could not be compared ({path}).").format(
            name=card.name, path=path
        )
    with progress_bar(listing.size, card.name, progress) as bar:
        listing.check(path, bar.update)
    return _("{name} is complete, and the SHA-256 sums of its {count} files are right ({path}).").format(
        name=card.name, count=len(listing.files), path=path
    )


def remove(name: str) -> int:
    """Delete a model from the models folder, with what an unfinished download of it left. Returns the bytes freed.

    Bundled models stay, and so does what other programs keep in the Hugging Face cache.

    Args:
        name: a catalog name or role.

    Raises:
        BadRequest: the model is bundled, or belongs to another program.
        ModelNotHere: there is nothing to remove.

    Example:
        remove("phi-3.5-mini-instruct-4bit")
    """
    if _is_adapter(name):
        return adapters.remove(name)
    card = real_card(name)
    freed, removed = 0, False
    with staging.staging(card) as part:
        for folder in possible_folders(card):
            size = _remove_folder(folder)
            if size is not None:
                freed, removed = freed + size, True
        collected = _bytes_in(part)
        freed, removed = freed + collected, removed or collected > 0
        shutil.rmtree(part)
    if removed:
        return freed
    try:
        cached = locate(card)
    except ModelNotHere:
        raise ModelNotHere(
            _("{name} is not in {folder}.").format(name=card.name, folder=models_folders()[0]),
            _("There is nothing to remove."),
        ) from None
    raise BadRequest(
        _("{name} was fetched by another program and is in the Hugging Face cache ({cached}).").format(
            name=card.name, cached=cached
        ),
        _("Remove it with `hf cache rm model/{repository}`.").format(repository=card.repository),
    )


def _is_adapter(name: str) -> bool:
    """Whether a name means an adapter: one is here, and no model of the catalog is called so."""
    known = {known for card in catalog.cards() for known in (card.name, card.role)}
    return name not in known and name in adapters.names()


def _remove_folder(folder: Path) -> int | None:
    """Delete a model's folder. Returns its bytes, 0 for a link, None if there was nothing."""
    if folder.is_symlink():
        folder.unlink()
        return 0
    # The name goes first, in one step: whatever happens then, no half of a model can be found.
    going = folder.with_name(f".{folder.name}.removed")
    if folder.is_dir():
        if going.exists():
            shutil.rmtree(going)
        platforms.rename(folder, going)
    if not going.is_dir():
        return None
    size = _bytes_in(going)
    shutil.rmtree(going)
    return size
