"""The models of the course: one `ModelCard` for each entry of models.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from labs_helper.catalog.folder import course_folder
from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

TIERS = ("tiny", "real")


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model before it is loaded. `None` means that no source gives the figure.

    Attributes:
        name: its name in the catalog.
        role: what the labs ask for: "instruct", "vision", ...
        tier: "tiny" for a bundled model, "real" for one to download, "custom" for a folder, "endpoint" for a server.
        repository: where a real model is published; `labs_helper.store.locate` finds its folder on this machine.
        context: in tokens.
        bytes_on_disk: the size of its weights.
        path: the folder of a bundled checkpoint.
        ships_code: whether its repository carries Python files, which the labs never run.
        format: "mlx" (a folder that mlx-lm or mlx-vlm reads), "gguf" (one `file` for llama.cpp), "onnx" (a folder of
            ONNX Runtime GenAI) or "endpoint".
        folder: where in its repository its files are; empty for all of it.
        sums: SHA-256 sums by file name, where a source gives them.
        not_yet: why no engine of this version can run it; empty if one can.
        config: the keys of config.json that decide the memory, so that it can be computed before a download.

    Example:
        find("instruct-tiny")[0].context      # 1024
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
    folder: str = ""
    sums: dict[str, str] = field(default_factory=dict, hash=False)
    not_yet: str = ""
    config: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def main_file(self) -> str:
        """The file by which its folder is known."""
        return self.file or ("genai_config.json" if self.format == "onnx" else "config.json")


def folder_bytes(path: Path) -> int | None:
    """Size of the weight files in a checkpoint folder, in bytes; None if there are none.

    Example:
        folder_bytes(course_folder() / "data/checkpoints/instruct-tiny")
    """
    files = [file for kind in ("safetensors", "gguf", "onnx", "onnx.data") for file in path.glob(f"*.{kind}")]
    sizes = [file.stat().st_size for file in files if file.is_file()]
    return sum(sizes) if sizes else None


def cards() -> list[ModelCard]:
    """All models of the course, in the order of models.toml.

    Example:
        [card.name for card in cards() if card.tier == "tiny"]
    """
    table, course = _table(), course_folder()
    return [_card(entry, table["shape"], course) for entry in table["model"]]


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "models.toml").read_text(encoding="utf-8"))


def _card(entry: dict[str, Any], shapes: dict[str, dict[str, Any]], course: Path) -> ModelCard:
    values = dict(entry)
    if "shape" in values:
        values["config"] = {**shapes[values.pop("shape")], **values.get("config", {})}
        values["config"].pop("source", None)
    if "path" in values:  # a bundled model may be restored while the program runs, so this is measured every time
        values["path"] = course / values["path"]
        values["bytes_on_disk"] = folder_bytes(values["path"])
    return ModelCard(**values)


def for_this_machine(some: Iterable[ModelCard]) -> list[ModelCard]:
    """Models in the order in which this machine should take them.

    Those of MLX come first where it computes on a GPU. Elsewhere they come last: a token of a real one takes seconds.

    Example:
        for_this_machine(find("instruct", "real"))[0].format      # 'gguf' on an x86 laptop
    """
    fast = platforms.has_mlx_gpu()
    return sorted(some, key=lambda card: (card.format == "mlx") is not fast)


def find(name: str, tier: str | None = None) -> list[ModelCard]:
    """The cards that have a role ("instruct") or a name ("instruct-tiny").

    Args:
        name: a role or a catalog name.
        tier: "tiny", "real" or None for both.

    Raises:
        BadRequest: there is no such name or tier; the message lists those that exist.

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
