"""The models of the course: one `ModelCard` for each entry of models.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from labs_helper.catalog.folder import course_folder
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

TIERS = ("tiny", "real")


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model before it is loaded. `None` means that no source gives the figure.

    context is in tokens, sizes in bytes. `path` is the folder of a bundled checkpoint;
    a real model has a `repository` instead and `labs_helper.store.locate` finds its folder.
    format: "mlx" (a folder that mlx-lm or mlx-vlm reads), "gguf" (one `file` for llama.cpp) or "endpoint" (a server).
    sha256: of `file`, where a source gives it; else None.
    not_yet: why no engine of this version can run it; empty if one can.
    config: the keys of config.json that decide the memory, so that it can be computed before a download.
    """

    name: str
    role: str
    tier: str
    repository: str | None = None
    architecture: str | None = None
    context: int | None = None
    licence: str | None = None
    bytes_on_disk: int | None = None
    source: str = ""
    path: Path | None = None
    ships_code: bool = False
    format: str = "mlx"
    file: str | None = None
    sha256: str | None = None
    not_yet: str = ""
    config: dict[str, Any] | None = field(default=None, hash=False)


def folder_bytes(path: Path) -> int | None:
    """Size of the weight files in a checkpoint folder, in bytes; None if there are none.

    Example:
        folder_bytes(course_folder() / "data/checkpoints/instruct-tiny")
    """
    files = [*path.glob("*.safetensors"), *path.glob("*.gguf")]
    sizes = [file.stat().st_size for file in files if file.is_file()]
    return sum(sizes) if sizes else None


def cards() -> list[ModelCard]:
    """All models of the course, in the order of models.toml.

    Example:
        [card.name for card in cards() if card.tier == "tiny"]
    """
    return list(_cards(course_folder()))


@cache
def _cards(course: Path) -> tuple[ModelCard, ...]:
    catalog = tomllib.loads((Path(__file__).parent / "models.toml").read_text(encoding="utf-8"))
    found = []
    for entry in catalog["model"]:
        if "shape" in entry:
            entry["config"] = {**catalog["shape"][entry.pop("shape")], **entry.get("config", {})}
            entry["config"].pop("source", None)
        if "path" in entry:
            entry["path"] = course / entry["path"]
            entry["bytes_on_disk"] = folder_bytes(entry["path"])
        found.append(ModelCard(**entry))
    return tuple(found)


def find(name: str, tier: str | None = None) -> list[ModelCard]:
    """The cards that answer to a role ("instruct") or a name ("instruct-tiny").

    name: a role or a catalog name.
    tier: "tiny", "real" or None for both.
    Raises BadRequest for a name or tier that does not exist; the message lists those that do.

    Example:
        find("instruct", tier="tiny")[0].name      # 'instruct-tiny'
    """
    if tier is not None and tier not in TIERS:
        raise BadRequest(
            _("There is no tier {tier!r}.").format(tier=tier),
            _("Use one of: {tiers}.").format(tiers=", ".join(("auto", *TIERS))),
        )
    everything = cards()
    named = [card for card in everything if name in (card.name, card.role)]
    if not named:
        roles = sorted({card.role for card in everything})
        names = sorted(card.name for card in everything)
        raise BadRequest(
            _("There is no model {name!r} in the catalog.").format(name=name),
            _("Use a role ({roles}), a name ({names}) or the path of a checkpoint folder.").format(
                roles=", ".join(roles), names=", ".join(names)
            ),
        )
    return [card for card in named if tier in (None, card.tier)]
