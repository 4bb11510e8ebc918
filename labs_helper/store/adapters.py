"""Adapters as folders: where they are, and whether one may be used with a model.

An adapter has mlx-lm's own form, two files: `adapters.safetensors` and `adapter_config.json`. The second also holds the
model's fingerprint under the key "labs": two models may have the same shapes, and an adapter fits only one of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labs_helper import catalog
from labs_helper.common import files, platforms
from labs_helper.common.numbers import is_real, is_whole
from labs_helper.common.translate import _
from labs_helper.common.types import Config, Table
from labs_helper.errors import BadRequest, CheckpointRefused, ModelNotHere
from labs_helper.store import checkpoint, json_files, manifest, places

WEIGHTS, SETTINGS = "adapters.safetensors", "adapter_config.json"
_FILES = re.compile(rf"(\d+_)?{re.escape(WEIGHTS)}|{re.escape(SETTINGS)}|{re.escape(manifest.NAME)}|README\.md|LICENSE")
_TENSOR = re.compile(r"model\.layers\.(\d+)\.(\w+\.\w+)\.lora_([ab])")
MOST_BYTES = 2_000_000_000  # of an adapter; rank 64 in all layers of Phi-3.5-mini has 400 million
_MOST_RANK = 4096
_SAMPLE = 2**16  # bytes of a weight file that go into the fingerprint, at its start and in its middle


def folder(name: str) -> Path:
    """Where an adapter of this name is kept: `adapters/NAME` in the models folder.

    Raises:
        BadRequest: it is no plain name.

    Example:
        folder("school")      # models/adapters/school in the course folder
    """
    if not isinstance(name, str) or not manifest.is_plain(name):
        raise BadRequest(
            _("{name!r} cannot be the name of an adapter.").format(name=name),
            _("Use letters, digits, dots and hyphens, such as my-school."),
        )
    if name in {known for card in catalog.cards() for known in (card.name, card.role)}:
        raise BadRequest(_("{name} is the name of a model.").format(name=name), _("Give the adapter another one."))
    return places.models_folders()[0] / "adapters" / name


def is_adapter(listing: manifest.Manifest) -> bool:
    """Whether a pack holds an adapter and not a model.

    Example:
        is_adapter(manifest.Manifest.of(folder("school"), "school"))      # True
    """
    inside = {file.name for file in listing.files}
    return WEIGHTS in inside and SETTINGS in inside and "config.json" not in inside


def names() -> list[str]:
    """The adapters on this machine.

    Example:
        names()      # ["school"]
    """
    found = {path.parent.name for each in places.models_folders() for path in each.glob(f"adapters/*/{SETTINGS}")}
    return sorted(name for name in found if manifest.is_plain(name))


def locate(name: str | Path) -> Path:
    """The folder of an adapter, by its name or path.

    Raises:
        ModelNotHere: there is none.

    Example:
        locate("school")
    """
    text = str(name)
    candidates = [Path(text).expanduser()]
    if manifest.is_plain(text):
        candidates = [*(each / "adapters" / text for each in places.models_folders()), *candidates]
    for path in candidates:
        if (path / SETTINGS).is_file() or (path / WEIGHTS).is_file():
            return path
    raise ModelNotHere(
        _("There is no adapter {name}.").format(name=text),
        _("`labs models list` shows those that are here: {names}.").format(names=", ".join(names()) or _("none")),
    )


def fingerprint(model: Path) -> str:
    """A short name for the weights of a checkpoint folder: equal for copies, different for other weights.

    It reads the headers and two samples of each file, so that gigabytes need no second.

    Example:
        fingerprint(course_folder() / "data/checkpoints/instruct-tiny")
    """
    digest = hashlib.sha256()
    for file in sorted(model.glob("model*.safetensors")):
        with file.open("rb") as opened:
            digest.update(opened.read(8 + _SAMPLE))
            opened.seek(file.stat().st_size // 2)
            digest.update(opened.read(_SAMPLE))
    return digest.hexdigest()[:32]


def settings_for(model: Path, name: str, config: Config) -> str:
    """The text of adapter_config.json: mlx-lm's keys, and the model that the adapter belongs to.

    Example:
        settings_for(model_path, "instruct-tiny", adapter.config)
    """
    labs = {"base": name, "fingerprint": fingerprint(model)}
    return json.dumps({**config, "model": name, "labs": labs}, indent=1) + "\n"


def verify(path: Path, model: Path | None = None) -> Config:
    """Refuse an adapter folder that is broken, carries code, or belongs to another model.

    Args:
        path: the folder.
        model: the checkpoint folder that it is for; None checks what can be checked without.

    Returns:
        adapter_config.json.

    Raises:
        ModelNotHere: there is no such folder.
        CheckpointRefused: the adapter must not be used.

    Example:
        verify(locate("school"), model_path)["lora_parameters"]["rank"]      # 8
    """
    if not path.is_dir():
        raise ModelNotHere(_("There is no folder {path}.").format(path=path), _("Check the path of the adapter."))
    _refuse_files(path)
    settings = json_files.read_json(path / SETTINGS)
    rank, keys, blocks = _check_settings(path, settings)
    if not (path / WEIGHTS).is_file():
        raise _refused(path, _("{file} is missing").format(file=WEIGHTS))
    table = checkpoint.read_header(path / WEIGHTS)
    _check_tensors(path, table, rank, keys)
    if model is not None:
        _check_model(path, table, settings, model, blocks)
    return settings


def _refuse_files(path: Path) -> None:
    for file in sorted(path.iterdir()):
        if manifest.is_litter(file.name):
            continue
        if file.is_symlink() or not file.is_file():
            raise _refused(path, _("{name!r} in it is no plain file").format(name=file.name))
        if not _FILES.fullmatch(file.name):
            raise _refused(path, _("it holds {name!r}, and an adapter is data in two files").format(name=file.name))


def _check_settings(path: Path, settings: Config) -> tuple[int, tuple[str, ...] | None, int]:
    kind = settings.get("fine_tune_type", "lora")
    if kind != "lora":
        raise _refused(path, _("its kind is {kind!r}, and the labs use 'lora'").format(kind=kind))
    parameters = settings.get("lora_parameters")
    if not isinstance(parameters, dict):
        raise _refused(path, _("adapter_config.json has no 'lora_parameters'"))
    rank, scale, keys = parameters.get("rank"), parameters.get("scale"), parameters.get("keys")
    if not (is_whole(rank) and 1 <= rank <= _MOST_RANK):
        raise _refused(path, _("its rank is {rank!r}").format(rank=rank))
    if not (is_real(scale) and math.isfinite(scale)):
        raise _refused(path, _("its scale is {scale!r}").format(scale=scale))
    if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise _refused(path, _("its keys are no list of names"))
    blocks = settings.get("num_layers")
    if not (is_whole(blocks) and -1 <= blocks <= 10_000):
        raise _refused(path, _("its number of layers is {count!r}").format(count=blocks))
    return rank, None if keys is None else tuple(keys), blocks


def _check_tensors(path: Path, table: Table, rank: int, keys: tuple[str, ...] | None) -> None:
    if not table:
        raise _refused(path, _("it is empty"))
    for name, entry in table.items():
        found = _TENSOR.fullmatch(name)
        if found is None or (keys is not None and found[2] not in keys):
            raise _refused(path, _("{name!r} in it is no part of an adapter").format(name=name[:80]))
        if entry["dtype"] not in ("F32", "F16", "BF16"):
            raise _refused(path, _("{name} has the type {dtype}").format(name=name, dtype=entry["dtype"]))
        shape = entry["shape"]
        side = {"a": 1, "b": 0}[found[3]]
        if len(shape) != 2 or shape[side] != rank:
            raise _refused(
                path,
                _("{name} has the shape {shape}, the rank is {rank}").format(name=name, shape=shape, rank=rank),
            )
        other = name[:-1] + {"a": "b", "b": "a"}[found[3]]
        if other not in table:
            raise _refused(path, _("{name} is missing").format(name=other))


def _check_model(path: Path, table: Table, settings: Config, model: Path, blocks: int) -> None:
    config = json_files.read_json(model / "config.json")
    weights = checkpoint.weight_table(model)
    labs = settings.get("labs")
    base = str(labs.get("base")) if isinstance(labs, dict) else _("another model")
    for name, entry in table.items():
        layer = name.rsplit(".", 1)[0]
        wide = width(config, weights, layer)
        if wide is None:
            raise _foreign(path, model, base, _("there is no {layer}").format(layer=layer))
        side = 0 if name.endswith("a") else 1
        if entry["shape"][side] != wide[side]:
            raise _foreign(
                path,
                model,
                base,
                _("{name} has the shape {shape}, and the layer {inner} x {outer}").format(
                    name=name, shape=entry["shape"], inner=wide[0], outer=wide[1]
                ),
            )
    if blocks > config.get("num_hidden_layers", 0):
        raise _foreign(path, model, base, _("it has more layers"))
    if isinstance(labs, dict) and labs.get("fingerprint") not in (None, fingerprint(model)):
        raise _foreign(path, model, base, _("the weights are others"))


def check(name: str) -> str:
    """Read every byte of an adapter, compare the sums of its manifest if it has one, and say what was checked.

    Raises:
        ModelNotHere, CheckpointRefused: see `verify`.

    Example:
        check("school")
    """
    path = locate(name)
    settings = verify(path)
    base = (settings.get("labs") or {}).get("base") or settings.get("model") or _("an unnamed model")
    rank = settings["lora_parameters"]["rank"]
    listing = manifest.Manifest.read(path)
    if listing is None:
        return _("{name} is a whole adapter of rank {rank} for {base}. It was made here: no sums to compare.").format(
            name=name, rank=rank, base=base
        )
    listing.check(path)
    return _("{name} is a whole adapter of rank {rank} for {base}; the SHA-256 sums of its files are right.").format(
        name=name, rank=rank, base=base
    )


def remove(name: str) -> int:
    """Delete an adapter. Returns the bytes freed.

    Raises:
        ModelNotHere: there is none of that name in the models folder.

    Example:
        remove("school")
    """
    path = folder(name)
    if not path.is_dir():
        raise ModelNotHere(
            _("There is no adapter {name} in {folder}.").format(name=name, folder=path.parent),
            _("There is nothing to remove."),
        )
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    shutil.rmtree(path)
    return size


def base_of(name: str) -> str:
    """The name of the model that an adapter is for; empty if its settings do not say.

    Example:
        base_of("school")      # 'instruct-tiny'
    """
    settings = json_files.read_json(locate(name) / SETTINGS)
    labs = settings.get("labs")
    return str((labs if isinstance(labs, dict) else {}).get("base") or settings.get("model") or "")


def width(config: Mapping[str, Any], weights: Table, layer: str) -> tuple[int, int] | None:
    """How many numbers go into a linear layer and how many come out; None if the model has no such layer.

    Example:
        width(config, weights, "model.layers.0.self_attn.qkv_proj")      # (256, 768)
    """
    entry = weights.get(f"{layer}.weight")
    if entry is None or len(entry["shape"]) != 2:
        return None
    outer, inner = entry["shape"]
    scales = weights.get(f"{layer}.scales")
    if scales is not None:
        inner = scales["shape"][1] * (config.get("quantization") or {}).get("group_size", 64)
    return inner, outer


def _foreign(path: Path, model: Path, base: str, why: str) -> CheckpointRefused:
    return CheckpointRefused(
        _("The adapter {path} does not belong to {model}: {why}. It was made for {base}.").format(
            path=path, model=model.name, why=why, base=base
        ),
        _("Load the model that it was made for, or train it again for this one."),
    )


def _refused(path: Path, why: str) -> CheckpointRefused:
    return CheckpointRefused(
        _("The adapter in {path} is refused: {why}.").format(path=path, why=why),
        _("Ask for it again as a pack that `labs models export` wrote."),
    )


def write(target: Path, weights: Callable[[Path], object], settings: str) -> Path:
    """Write an adapter folder, whole or not at all. One of that name is replaced.

    Args:
        target: the folder.
        weights: writes the matrices into the file that it is given.
        settings: from `settings_for`.

    Raises:
        BadRequest: the disk does not take it; what was there stays.

    Example:
        write(folder("school"), lambda file: mx.save_safetensors(str(file), arrays), settings)
    """
    old = target.with_name(f".{target.name}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.collecting(target, resume=False) as part:
            weights(part / WEIGHTS)
            (part / SETTINGS).write_text(settings, encoding="utf-8")
            shutil.rmtree(old, ignore_errors=True)
            if target.is_dir():
                platforms.rename(target, old)
            files.finish(part, target)
    except (OSError, RuntimeError) as error:  # MLX has its own word for a full disk
        if old.is_dir() and not target.exists():
            platforms.rename(old, target)
        raise BadRequest(
            _("The adapter could not be written to {path} ({reason}).").format(
                path=target, reason=getattr(error, "strerror", None) or str(error).split("\n")[0]
            ),
            _("It is still in memory. Free some space and save it again, or name another folder."),
        ) from error
    except files.InUse:
        raise BadRequest(
            _("Another program writes {path} right now.").format(path=target), _("Wait until it is done.")
        ) from None
    shutil.rmtree(old, ignore_errors=True)
    return target
