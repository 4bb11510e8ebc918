"""The models of the course: one `ModelCard` for each entry of catalog.toml."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from labs_helper.errors import BadRequest

TIERS = ("tiny", "real")


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model before it is loaded. `None` means that no source gives the figure.

    context and original_context are in tokens, sizes in bytes. `path` is the folder of a bundled checkpoint;
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
    original_context: int | None = None
    licence: str | None = None
    bytes_on_disk: int | None = None
    bytes_in_memory: int | None = None
    source: str = ""
    path: Path | None = None
    ships_code: bool = False
    format: str = "mlx"
    file: str | None = None
    sha256: str | None = None
    not_yet: str = ""
    config: dict | None = field(default=None, hash=False)


def home() -> Path:
    """The folder of the course: LABS_HOME, or the folder that holds this package.

    Example:
        home() / "data" / "benchmarks"
    """
    named = os.environ.get("LABS_HOME")
    return Path(named).expanduser().resolve() if named else Path(__file__).resolve().parent.parent


def folder_bytes(path: Path) -> int | None:
    """Size of the weight files in a checkpoint folder, in bytes; None if there are none.

    Example:
        folder_bytes(home() / "data/checkpoints/instruct-tiny")
    """
    files = [*path.glob("*.safetensors"), *path.glob("*.gguf")]
    sizes = [file.stat().st_size for file in files if file.is_file()]
    return sum(sizes) if sizes else None


def cards() -> list[ModelCard]:
    """All models of the course, in the order of catalog.toml.

    Example:
        [card.name for card in cards() if card.tier == "tiny"]
    """
    text = (Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8")
    catalog = tomllib.loads(text)
    found = []
    for entry in catalog["model"]:
        if "shape" in entry:
            entry["config"] = {**catalog["shape"][entry.pop("shape")], **entry.get("config", {})}
            entry["config"].pop("source", None)
        if "path" in entry:
            entry["path"] = home() / entry["path"]
            entry["bytes_on_disk"] = folder_bytes(entry["path"])
            # Before loading, the best estimate of the memory is the size of the file.
            entry["bytes_in_memory"] = entry["bytes_on_disk"]
        found.append(ModelCard(**entry))
    return found


def find(name: str, tier: str | None = None) -> list[ModelCard]:
    """The cards that answer to a role ("instruct") or a name ("instruct-tiny").

    name: a role or a catalog name.
    tier: "tiny", "real" or None for both.
    Raises BadRequest for a name or tier that does not exist; the message lists those that do.

    Example:
        find("instruct", tier="tiny")[0].name      # 'instruct-tiny'
    """
    if tier is not None and tier not in TIERS:
        raise BadRequest(f"There is no tier {tier!r}.", f"Use one of: auto, {', '.join(TIERS)}.")
    everything = cards()
    named = [card for card in everything if name in (card.name, card.role)]
    if not named:
        roles = sorted({card.role for card in everything})
        names = sorted(card.name for card in everything)
        raise BadRequest(
            f"There is no model {name!r} in the catalog.",
            f"Use a role ({', '.join(roles)}), a name ({', '.join(names)}) or the path of a checkpoint folder.",
        )
    return [card for card in named if tier in (None, card.tier)]
