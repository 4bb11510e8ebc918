"""From a model or a folder to its reference, and what the reference cannot do, as sentences."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper import store
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, CheckpointRefused
from labs_helper.reference.model import Reference
from labs_helper.reference.shape import shape_of
from labs_helper.reference.weights import read_weights

if TYPE_CHECKING:
    from labs_helper.models.model import Model


def read(model: Model | str | Path) -> Reference:
    """A checkpoint as a model in NumPy. A checkpoint that was read before is not read again.

    Args:
        model: from `load`, or a checkpoint folder.

    Raises:
        BadRequest: the model is on a server, or it has an adapter.
        CheckpointRefused: its weights are in a form that the reference does not read.
        NotEnoughMemory: it is too large for NumPy; the message says what it would cost.
        ModelNotHere: there is no such folder.

    Example:
        read(load("instruct", tier="tiny")).run([1, 2, 3]).logits.shape      # (3, 2560)
    """
    path = Path(model) if isinstance(model, (str, Path)) else _folder_of(model)
    config = store.verify(path)
    if not config:
        raise CheckpointRefused(
            _("{name} is a GGUF file, which the reference does not read.").format(name=path.name),
            _("Use an MLX checkpoint of the same model."),
        )
    files = sorted(path.glob("*.safetensors"))
    return _read(path.resolve(), json.dumps(config), tuple(file.stat().st_mtime_ns for file in files))


def _folder_of(model: Model) -> Path:
    if model.path is None:
        raise BadRequest(
            _("{name} is on a server, which shows no one what happens inside.").format(name=model.name),
            _('Use a model on this machine: load("instruct", tier="tiny").'),
        )
    if model.adapter:
        raise BadRequest(
            _("{name} answers with an adapter, which the reference does not read.").format(name=model.name),
            _("Fold the adapter into the weights first (lab 05), or use the model without it."),
        )
    return model.path


@lru_cache(maxsize=4)
def _read(path: Path, settings: str, changed: tuple[int, ...]) -> Reference:
    """`settings` is config.json as it was verified; `changed` lets a file that was written again be read again."""
    config = json.loads(settings)
    return Reference(shape_of(config), read_weights(path, config), path, config)
