"""A folder in the layout of ONNX Runtime GenAI: genai_config.json, and a graph with its weights for each part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs_helper.common.numbers import is_whole
from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.errors import CheckpointRefused
from labs_helper.store import manifest, onnx_graph
from labs_helper.store.json_files import read_json

SETTINGS, PROCESSOR = "genai_config.json", "processor_config.json"
KINDS = {"phi3": "phi3", "phi3v": "phi3_v"}  # the library's names, and those of config.json
_MOST = 10_000_000  # of any count
_SIZES = ("hidden_size", "head_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads")
_PARTS = ("decoder", "embedding", "vision")
MOST_CROPS = 64


@dataclass(frozen=True)
class OnnxFolder:
    """What a folder's settings say.

    Attributes:
        path: the folder.
        settings: "model" of genai_config.json.
        graphs: the file of each part: "decoder", and for a model that sees "embedding" and "vision".
        num_crops: tiles that a picture is cut into at most; None where nothing says so.
        original_length: tokens up to which LongRoPE's short table holds; None for a model without two tables.
    """

    path: Path
    settings: Config
    graphs: Mapping[str, Path]
    num_crops: int | None = None
    original_length: int | None = None

    @property
    def sees(self) -> bool:
        """Whether it takes pictures."""
        return "vision" in self.graphs

    @property
    def decoder(self) -> Config:
        """The settings of the decoder."""
        settings: Config = self.settings["decoder"]
        return settings

    def config(self) -> Config:
        """The settings that the course needs, under their names in config.json."""
        decoder = self.decoder
        config = {
            "model_type": KINDS[self.settings["type"]],
            "hidden_size": decoder["hidden_size"],
            "head_dim": decoder["head_size"],
            "num_hidden_layers": decoder["num_hidden_layers"],
            "num_attention_heads": decoder["num_attention_heads"],
            "num_key_value_heads": decoder["num_key_value_heads"],
            "max_position_embeddings": self.settings["context_length"],
            "vocab_size": self.settings["vocab_size"],
            "eos_token_id": self.settings.get("eos_token_id"),
        }
        if self.original_length is not None:
            config["original_max_position_embeddings"] = self.original_length
        return config

    @property
    def bytes(self) -> int:
        """The size of its graphs and weights, in bytes."""
        return sum(file.stat().st_size for file in _weight_files(self.path))


def is_one(path: Path) -> bool:
    """Whether a folder is in this layout, by its settings alone.

    Example:
        is_one(Path("models/phi-3.5-vision-instruct-onnx"))
    """
    return (path / SETTINGS).is_file() and not (path / "config.json").is_file()


def is_complete(path: Path) -> bool:
    """Whether the graphs and the weights beside them are all there; a download by another program may have ended early.

    Example:
        is_complete(Path("models/phi-3.5-vision-instruct-onnx"))      # True
    """
    try:
        read(path)
    except CheckpointRefused:
        return False
    return True


def _weight_files(path: Path) -> list[Path]:
    return [file for pattern in ("*.onnx", "*.onnx.data") for file in path.glob(pattern) if file.is_file()]


def check_settings(path: Path) -> Config:
    """Check genai_config.json alone, as a download does before it fetches gigabytes.

    Returns:
        "model" of the file.

    Raises:
        CheckpointRefused: it cannot be used, or it asks for a library of operators.

    Example:
        check_settings(folder)["type"]      # 'phi3v'
    """
    settings = read_json(path / SETTINGS).get("model")
    if not isinstance(settings, dict):
        raise _unusable(path, "model", settings)
    kind = settings.get("type")
    if kind not in KINDS:
        raise CheckpointRefused(
            _("The architecture {kind!r} in {path} is not one of this course.").format(kind=kind, path=path),
            _("Use a checkpoint of one of these: {names}.").format(names=", ".join(KINDS)),
        )
    decoder = settings.get("decoder")
    if not isinstance(decoder, dict):
        raise _unusable(path, "decoder", decoder)
    for place, keys in ((decoder, _SIZES), (settings, ("context_length", "vocab_size"))):
        for key in keys:
            if not is_whole(place.get(key)) or not 1 <= place[key] <= _MOST:
                raise _unusable(path, key, place.get(key))
    for part in (*_PARTS, "speech"):
        _check_part(path, part, settings.get(part), required=part == "decoder" or (kind == "phi3v" and part in _PARTS))
    return settings


def _check_part(path: Path, part: str, settings: object, *, required: bool) -> None:
    if settings is None and not required:
        return
    if not isinstance(settings, dict):
        raise _unusable(path, part, settings)
    name = settings.get("filename")
    if not isinstance(name, str) or not manifest.is_plain(name) or not name.endswith(".onnx"):
        raise _unusable(path, f"{part}.filename", name)
    options = settings.get("session_options")
    for place in (settings, options if isinstance(options, dict) else {}):
        for key in place:
            if "custom_op" in key or "library" in key:
                raise CheckpointRefused(
                    _("{file} in {path} asks for a library of operators (key {key!r}), which would be run.").format(
                        file=SETTINGS, path=path, key=key
                    ),
                    _("Take the model from a source you trust."),
                )


def _unusable(path: Path, key: str, value: object) -> CheckpointRefused:
    return CheckpointRefused(
        _("{file} in {path} has no usable {key!r} (found {value}).").format(
            file=SETTINGS, path=path, key=key, value=repr(value)[:80]
        ),
        _("Copy {file} again.").format(file=SETTINGS),
    )


def read(path: Path) -> OnnxFolder:
    """Read and check the settings and the fronts of the graphs. No weights are read.

    Raises:
        CheckpointRefused: the folder must not be used.

    Example:
        read(Path("models/phi-3.5-vision-instruct-onnx")).config()["num_hidden_layers"]      # 32
    """
    settings = check_settings(path)
    names = {part: settings[part]["filename"] for part in _PARTS if settings.get(part) and _needed(settings, part)}
    original = None
    for part, name in names.items():
        graph = onnx_graph.read(path / name)
        onnx_graph.check(graph)
        if part == "decoder":
            original = _original_length(graph, settings)
    crops = _crops(path) if "vision" in names else None
    return OnnxFolder(path, settings, {part: path / name for part, name in names.items()}, crops, original)


def _needed(settings: Config, part: str) -> bool:
    return part == "decoder" or settings["type"] == "phi3v"


def _original_length(graph: onnx_graph.Graph, settings: Config) -> int | None:
    """LongRoPE's tables are the two tensors of angles in the branches of the decoder; the short one is as long."""
    half = settings["decoder"]["head_size"] // 2
    lengths = {shape[0] for shape in graph.branch_shapes if len(shape) == 2 and shape[1] == half}
    return min(lengths) if len(lengths) > 1 else None


def _crops(path: Path) -> int | None:
    """num_crops of processor_config.json."""
    if not (path / PROCESSOR).is_file():
        return None
    processor = read_json(path / PROCESSOR).get("processor")
    steps: Any = processor.get("transforms") if isinstance(processor, dict) else None
    for step in steps if isinstance(steps, list) else []:
        operation = step.get("operation") if isinstance(step, dict) else None
        attributes = operation.get("attrs") if isinstance(operation, dict) else None
        crops = attributes.get("num_crops") if isinstance(attributes, dict) else None
        if crops is None:
            continue
        if not is_whole(crops) or not 1 <= crops <= MOST_CROPS:
            raise CheckpointRefused(
                _("{file} has settings that cannot be used.").format(file=path / PROCESSOR),
                _("Copy the whole checkpoint again."),
            )
        return int(crops)
    return None
