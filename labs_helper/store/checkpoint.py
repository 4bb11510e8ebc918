"""Whether a checkpoint folder may be used: whole, of a known kind, data and no code."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from labs_helper.common.numbers import is_real, is_whole
from labs_helper.common.translate import _, _n
from labs_helper.common.types import Config, Table, Tensor
from labs_helper.errors import CheckpointRefused, ModelNotHere
from labs_helper.store import onnx_folder
from labs_helper.store.json_files import read_json

ARCHITECTURES = ("phi3", "phi3_v", "phimoe")
DTYPE_BYTES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "BOOL": 1,
}
INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_CODE_KEYS = ("model_file", "auto_map")
MOST_HEADER = 8_000_000  # bytes; enough for 80,000 tensors, and the largest model of the course has some 2,000
_MOST_GROWTH = 32  # how many times longer a tokenizer may make a text before it cuts it
_MOST = 10_000_000  # of any count in config.json
_COUNTS = (
    *("max_position_embeddings", "original_max_position_embeddings", "num_key_value_heads", "head_dim"),
    *("num_local_experts", "num_experts_per_tok", "sliding_window"),
)
_FACTORS = ("rope_theta", "partial_rotary_factor", "rms_norm_eps")
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size")


def verify(path: str | Path, *, ships_code: bool = False, config: Config | None = None) -> Config:
    """Refuse a checkpoint folder that is broken, of an unknown kind, or that carries code.

    Args:
        path: a checkpoint folder.
        ships_code: True for the catalog's own repositories that carry Python files for other libraries. The files are
            still never run: the engines load with code from checkpoints switched off.
        config: settings to check in place of config.json; see `corrections.rope_settings`.

    Returns:
        The parsed config.json; without one, for a folder in the layout of ONNX Runtime GenAI, what its settings say
        under the same names, and for a folder with a GGUF file an empty dict.

    Raises:
        ModelNotHere: there is no such folder.
        CheckpointRefused: the checkpoint must not be used.

    Example:
        verify(course_folder() / "data/checkpoints/instruct-tiny")["model_type"]      # 'phi3'
    """
    path = Path(path)
    if not path.exists():
        raise ModelNotHere(
            _("There is no folder {path}.").format(path=path), _("Check the path; use an absolute one if in doubt.")
        )
    if path.is_file() and path.suffix.lower() == ".gguf":
        check_gguf(path)
        return {}
    if not path.is_dir():
        raise CheckpointRefused(
            _("{path} is a file, not a checkpoint folder.").format(path=path), _("Give the folder that holds it.")
        )
    _refuse_links(path)
    if not ships_code:
        _refuse_code_files(path)
    if not (path / "config.json").exists() and (files := sorted(path.glob("*.gguf"))):
        for file in files:
            check_gguf(file)
        if (path / "tokenizer.json").is_file():
            _check_tokenizer(path)
        return {}
    if config is None and onnx_folder.is_one(path):
        _refuse_code_keys(path, {}, ships_code)
        folder = onnx_folder.read(path)
        _check_tokenizer(path)
        return folder.config()
    config = check_settings(path, ships_code=ships_code, config=config)
    for file in _weight_files(path):
        read_header(file)
    _check_tokenizer(path)
    return config


def check_settings(path: Path, *, ships_code: bool = False, config: Config | None = None) -> Config:
    """The part of `verify` that needs only the small files: config.json and the keys that ask for code.

    A download checks these before it fetches gigabytes.

    Returns:
        The parsed config.json, or `config` if it was given.

    Example:
        check_settings(course_folder() / "data/checkpoints/instruct-tiny")["hidden_size"]      # 256
    """
    if config is None:
        config = read_json(path / "config.json")
    _refuse_code_keys(path, config, ships_code)
    _check_config(path, config)
    return config


def is_complete(path: Path) -> bool:
    """Whether the weights are all there: every shard of the index, or one file at least. Reads no weights.

    A download that another program did not finish leaves a folder with some of the files; such a model is not here.

    Example:
        is_complete(course_folder() / "data/checkpoints/instruct-tiny")      # True
    """
    index = path / INDEX
    if index.is_file():
        try:
            return all((path / name).is_file() for name in shards(index))
        except CheckpointRefused:
            return False
    return any(path.glob("model*.safetensors"))


def shards(index: Path) -> list[str]:
    """The weight files that an index names.

    Raises:
        CheckpointRefused: it is not an index.

    Example:
        shards(path / "model.safetensors.index.json")      # ['model-00001-of-00005.safetensors', ...]
    """
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict):
        raise CheckpointRefused(
            _("{name} in {parent} has no 'weight_map'.").format(name=index.name, parent=index.parent),
            _("Copy the checkpoint again."),
        )
    return sorted({str(name) for name in files.values()})


def check_gguf(file: Path) -> None:
    """Refuse a file that is not GGUF of version 2 or 3 (github.com/ggml-org/ggml, docs/gguf.md).

    This reads the first 24 bytes; the sums of the manifest say whether the rest is whole.

    Example:
        check_gguf(Path("Phi-3.5-mini-instruct-Q4_K_M.gguf"))
    """
    with file.open("rb") as opened:
        start = opened.read(24)
    magic, version, tensors, keys = struct.unpack("<4sIQQ", start) if len(start) == 24 else (b"", 0, 0, 0)
    if magic != b"GGUF" or version not in (2, 3) or not 0 < tensors < 100_000 or not 0 < keys < 100_000:
        raise CheckpointRefused(
            _("{file} is not a GGUF file that can be used.").format(file=file), _("Copy or download it again.")
        )


def _refuse_links(path: Path) -> None:
    root = path.resolve()
    # In the Hugging Face cache a snapshot is made of links into the same repository's blobs. A model may be a folder
    # of its repository.
    snapshot = next((folder for folder in (path, *path.parents) if folder.parent.name == "snapshots"), None)
    if snapshot is not None:
        root = snapshot.resolve().parent.parent
    for file in path.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise CheckpointRefused(
                _("{file} in {path} is a link to a place outside the folder.").format(file=file.name, path=path),
                _("Replace the link by a copy of the file, if you trust it."),
            )


def _refuse_code_files(path: Path) -> None:
    code = sorted(file.name for file in path.rglob("*.py"))
    if code:
        raise CheckpointRefused(
            _("The checkpoint in {path} carries Python code ({names}).").format(path=path, names=", ".join(code[:3])),
            _("A checkpoint should be data. Delete the .py files; phi3 models do not need them."),
        )


def _refuse_code_keys(path: Path, config: Config, ships_code: bool) -> None:
    settings = {"config.json": config}
    for name in ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        if (path / name).is_file():
            settings[name] = read_json(path / name)
    for name, values in settings.items():
        for key in _CODE_KEYS:
            if values.get(key) is not None and not (key == "auto_map" and ships_code):
                raise CheckpointRefused(
                    _("{name} in {path} asks for code from the checkpoint to be run (key {key!r}).").format(
                        name=name, path=path, key=key
                    ),
                    _("Remove the key {key!r} from {name}, or take the model from a source you trust.").format(
                        key=key, name=name
                    ),
                )


def _check_config(path: Path, config: Config) -> None:
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise CheckpointRefused(
            _("The architecture {kind!r} in {path} is not one of this course.").format(kind=kind, path=path),
            _("Use a checkpoint of one of these: {names}.").format(names=", ".join(ARCHITECTURES)),
        )
    for key in _SIZES:
        value = config.get(key)
        if value is None and kind == "phimoe":
            continue  # mlx-lm has a default for each of them
        if not _is_count(value):
            raise _unusable(path, key, value)
    for key in _COUNTS:
        if config.get(key) is not None and not _is_count(config[key]):
            raise _unusable(path, key, config[key])
    for key in _FACTORS:
        factor = config.get(key)
        if factor is not None and not (is_real(factor) and math.isfinite(factor) and factor > 0):
            raise _unusable(path, key, factor)
    quantization = config.get("quantization")
    if quantization is not None and not (
        isinstance(quantization, dict) and all(_is_count(quantization.get(key)) for key in ("bits", "group_size"))
    ):
        raise _unusable(path, "quantization", quantization)
    _check_rope(path, config)


def _is_count(value: object) -> bool:
    return is_whole(value) and 1 <= value <= _MOST


def _unusable(path: Path, key: str, value: object) -> CheckpointRefused:
    return CheckpointRefused(
        _("config.json in {path} has no usable {key!r} (found {value}).").format(
            path=path, key=key, value=repr(value)[:80]
        ),
        _("Copy config.json again."),
    )


def _check_rope(path: Path, config: Config) -> None:
    scaling: Any = config.get("rope_scaling")
    parameters = config.get("rope_parameters")
    if scaling is None and isinstance(parameters, dict):
        kind = parameters.get("rope_type", parameters.get("type", "default"))
        ignored = any(
            parameters.get(key, usual) != config.get(key, usual)
            for key, usual in (("rope_theta", 10000.0), ("partial_rotary_factor", 1.0))
        )
        if kind != "default" or ignored:
            # transformers 5 writes this key; mlx-lm 0.32 knows only the old ones and would silently use plain
            # RoPE, which gives wrong answers (ml-explore/mlx-lm#953).
            raise CheckpointRefused(
                _(
                    "config.json in {path} has 'rope_parameters' and no 'rope_scaling': mlx-lm would ignore it "
                    "and give wrong answers."
                ).format(path=path),
                _("`labs models convert {path} DEST` writes the same values in the keys that mlx-lm reads.").format(
                    path=path
                ),
            )
    if scaling is None:
        return
    if not isinstance(scaling, dict):
        raise CheckpointRefused(
            _("'rope_scaling' in config.json of {path} is not an object.").format(path=path),
            _("Copy config.json again."),
        )
    if "short_factor" not in scaling and "long_factor" not in scaling:
        return
    heads = config.get("num_attention_heads") or 1
    width = int(config.get("hidden_size", 0) // heads * config.get("partial_rotary_factor", 1.0)) // 2
    for key in ("short_factor", "long_factor"):
        values: Any = scaling.get(key)
        ok = isinstance(values, list) and all(
            isinstance(v, (int, float)) and math.isfinite(v) and v > 0 for v in values
        )
        if not ok or (width and len(values) != width):
            raise CheckpointRefused(
                _("{key!r} in config.json of {path} must be a list of {width} positive numbers.").format(
                    key=key, path=path, width=width
                ),
                _("Copy config.json again."),
            )


def _weight_files(path: Path) -> list[Path]:
    files = sorted(path.glob("model*.safetensors"))
    index = path / INDEX
    if index.is_file():
        missing = sorted(set(shards(index)) - {file.name for file in files})
        if missing:
            raise CheckpointRefused(
                _n(
                    "{count} weight file is missing in {path}: {names}.",
                    "{count} weight files are missing in {path}: {names}.",
                    len(missing),
                ).format(count=len(missing), path=path, names=", ".join(missing[:3])),
                _("Copy or download the missing files."),
            )
    if not files:
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        if pickles:
            raise CheckpointRefused(
                _("The weights in {path} are in a format that can run code when read ({file}).").format(
                    path=path, file=pickles[0]
                ),
                _("Take a copy of the model with safetensors."),
            )
        raise CheckpointRefused(
            _("There are no weights (model*.safetensors) in {path}.").format(path=path),
            _("The copy or the download did not finish: do it again."),
        )
    return files


def _check_tokenizer(path: Path) -> None:
    if not (path / "tokenizer.json").is_file() and not (path / "tokenizer.model").is_file():
        raise CheckpointRefused(
            _("There is no tokenizer.json in {path}.").format(path=path), _("Copy the whole checkpoint again.")
        )
    if (path / "tokenizer.json").is_file():
        _check_growth(path, read_json(path / "tokenizer.json"))


def _check_growth(path: Path, tokenizer: Config) -> None:
    """Refuse a tokenizer that first makes a long text of a short one, as replacements within replacements can."""
    growth, steps = 1.0, [tokenizer.get("normalizer")]
    while steps:
        step = steps.pop()
        if not isinstance(step, dict):
            continue
        inner = step.get("normalizers")
        steps += inner if isinstance(inner, list) else []
        if step.get("type") == "Replace":
            pattern = step.get("pattern")
            text = pattern.get("String") if isinstance(pattern, dict) else None
            least = len(text) if isinstance(text, str) and text else 1
            growth *= max(1.0, len(str(step.get("content"))) / least)
        growth *= max(1.0, len(str(step.get("prepend", ""))))
        if growth > _MOST_GROWTH:
            raise CheckpointRefused(
                _("tokenizer.json in {path} makes texts many times longer before it cuts them.").format(path=path),
                _("Copy the tokenizer.json of the original model."),
            )


def read_header(file: Path) -> Table:
    """The table of contents of a safetensors file, after checking that the file is whole.

    The reader of the safetensors package checks it: every tensor has the bytes that its shape and type ask for, they
    follow one another without a gap, and the last one ends with the file. No weights are read.

    Raises:
        CheckpointRefused: the file is cut short, too long, damaged, or of another kind.

    Example:
        sum(math.prod(entry["shape"]) for entry in read_header(file).values())
    """
    # Imported here: finding a checkpoint needs no reader of weights.
    from safetensors import SafetensorError, safe_open

    again = _("The copy or the download did not finish: do it again.")
    with file.open("rb") as opened_file:
        length = int.from_bytes(opened_file.read(8), "little")
    if MOST_HEADER < length < file.stat().st_size:
        raise CheckpointRefused(
            _("{file} has a table of contents of {size:,} bytes.").format(file=file, size=length),
            _("Use another copy: the tables of this family's models have less than a million."),
        )
    try:
        with safe_open(file, framework="np") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (it cannot be iterated)
            table = {name: Tensor(dtype=part.get_dtype(), shape=part.get_shape()) for name, part in parts.items()}
    except (SafetensorError, OSError) as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise CheckpointRefused(
            _("{file} is not a whole safetensors file ({reason}).").format(file=file, reason=reason), again
        ) from error
    for name, entry in table.items():
        if entry["dtype"] not in DTYPE_BYTES:  # the package knows types that no engine of the course can compute with
            raise CheckpointRefused(
                _("{name} in {file} has the type {dtype}, which the labs do not know.").format(
                    name=name, file=file, dtype=entry["dtype"]
                ),
                _("Use one of these types: {dtypes}.").format(dtypes=", ".join(DTYPE_BYTES)),
            )
    return table


def weight_table(path: str | Path) -> Table:
    """All tensors of a checkpoint by name, from the headers alone.

    Example:
        {entry["dtype"] for entry in weight_table(path).values()}      # {'U32', 'F32'}
    """
    table: Table = {}
    for file in _weight_files(Path(path)):
        table.update(read_header(file))
    return table
