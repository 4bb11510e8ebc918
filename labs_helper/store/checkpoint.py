"""Whether a checkpoint folder may be used: whole, of a known kind, data and no code."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from labs_helper.errors import CheckpointRefused, ModelNotHere

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
_HEADER_LIMIT = 100_000_000  # the format's own limit for a header, in bytes
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_CODE_KEYS = ("model_file", "auto_map")
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size")


def verify(path: str | Path, *, ships_code: bool = False, config: dict | None = None) -> dict:
    """Refuse a checkpoint folder that is broken, of an unknown kind, or that carries code.

    path: a checkpoint folder.
    ships_code: True for the catalog's own repositories that carry Python files for other libraries. The
        files are still never run: the engines load with code from checkpoints switched off.
    config: settings to look at in place of config.json; see `corrections.rope_settings`.
    Returns the parsed config.json; for a folder with a GGUF file and no config.json an empty dict.
    Raises ModelNotHere or CheckpointRefused, with what to do.

    Example:
        verify("data/checkpoints/instruct-tiny")["model_type"]      # 'phi3'
    """
    path = Path(path)
    if not path.exists():
        raise ModelNotHere(f"There is no folder {path}.", "Check the path; use an absolute one if in doubt.")
    if not path.is_dir():
        raise CheckpointRefused(f"{path} is a file, not a checkpoint folder.", "Give the folder that holds it.")
    _refuse_links(path)
    if not ships_code:
        _refuse_code_files(path)
    if not (path / "config.json").exists() and (files := sorted(path.glob("*.gguf"))):
        for file in files:
            check_gguf(file)
        return {}
    config = check_settings(path, ships_code=ships_code, config=config)
    for file in _weight_files(path):
        read_header(file)
    _check_tokenizer(path)
    return config


def check_settings(path: Path, *, ships_code: bool = False, config: dict | None = None) -> dict:
    """The part of `verify` that needs only the small files: config.json and the keys that ask for code.

    A download looks at these before it fetches gigabytes. Returns the parsed config.json, or `config` if it is given.

    Example:
        check_settings(Path("data/checkpoints/instruct-tiny"))["hidden_size"]      # 256
    """
    if config is None:
        config = read_json(path / "config.json")
    _refuse_code_keys(path, config, ships_code)
    _check_config(path, config)
    return config


def is_complete(path: Path) -> bool:
    """Whether the weights are all there: every shard of the index, or one file at least. Reads no weights.

    An interrupted download of another program leaves a folder with some of its files; that is "not here".

    Example:
        is_complete(Path("data/checkpoints/instruct-tiny"))      # True
    """
    index = path / INDEX
    if index.is_file():
        try:
            return all((path / name).is_file() for name in shards(index))
        except CheckpointRefused:
            return False
    return any(path.glob("model*.safetensors"))


def shards(index: Path) -> list[str]:
    """The weight files that an index names. Raises CheckpointRefused if it is not an index.

    Example:
        shards(path / "model.safetensors.index.json")      # ['model-00001-of-00005.safetensors', ...]
    """
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict):
        raise CheckpointRefused(f"{index.name} in {index.parent} has no 'weight_map'.", "Copy the checkpoint again.")
    return sorted({str(name) for name in files.values()})


def check_gguf(file: Path) -> None:
    """Refuse a file that is not GGUF of version 2 or 3 (github.com/ggml-org/ggml, docs/gguf.md).

    This reads the first 24 bytes; whether the rest is whole is what the sums of the manifest are for.

    Example:
        check_gguf(Path("Phi-3.5-mini-instruct-Q4_K_M.gguf"))
    """
    with file.open("rb") as opened:
        start = opened.read(24)
    magic, version, tensors, keys = struct.unpack("<4sIQQ", start) if len(start) == 24 else (b"", 0, 0, 0)
    if magic != b"GGUF" or version not in (2, 3) or not 0 < tensors < 100_000 or not 0 < keys < 100_000:
        raise CheckpointRefused(f"{file} is not a GGUF file that can be used.", "Copy or download it again.")


def _refuse_links(path: Path) -> None:
    root = path.resolve()
    if path.parent.name == "snapshots":
        # In the Hugging Face cache a snapshot is made of links into the same repository's blobs.
        root = path.resolve().parent.parent
    for file in path.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise CheckpointRefused(
                f"{file.name} in {path} is a link to a place outside the folder.",
                "Replace the link by a copy of the file, if you trust it.",
            )


def _refuse_code_files(path: Path) -> None:
    code = sorted(file.name for file in path.rglob("*.py"))
    if code:
        raise CheckpointRefused(
            f"The checkpoint in {path} carries Python code ({', '.join(code[:3])}).",
            "A checkpoint should be data. Delete the .py files; phi3 models do not need them.",
        )


def _refuse_code_keys(path: Path, config: dict, ships_code: bool) -> None:
    settings = {"config.json": config}
    for name in ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        if (path / name).is_file():
            settings[name] = read_json(path / name)
    for name, values in settings.items():
        for key in _CODE_KEYS:
            if values.get(key) is not None and not (key == "auto_map" and ships_code):
                raise CheckpointRefused(
                    f"{name} in {path} asks for code from the checkpoint to be run (key {key!r}).",
                    f"Remove the key {key!r} from {name}, or take the model from a source you trust.",
                )


def read_json(file: Path) -> dict:
    """A JSON object from a file. Raises CheckpointRefused if it is missing, damaged or something else.

    Example:
        read_json(path / "config.json")["model_type"]
    """
    if not file.is_file():
        raise CheckpointRefused(f"{file.name} is missing in {file.parent}.", "Copy the whole checkpoint again.")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CheckpointRefused(
            f"{file.name} in {file.parent} cannot be read as JSON ({error}).", "Copy the whole checkpoint again."
        ) from error
    if not isinstance(values, dict):
        raise CheckpointRefused(
            f"{file.name} in {file.parent} is not a JSON object.", "Copy the whole checkpoint again."
        )
    return values


def _check_config(path: Path, config: dict) -> None:
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise CheckpointRefused(
            f"The architecture {kind!r} in {path} is not one of this course.",
            f"Use a checkpoint of one of these: {', '.join(ARCHITECTURES)}.",
        )
    for key in _SIZES:
        value = config.get(key)
        if value is None and kind == "phimoe":
            continue  # mlx-lm has a default for each of them
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointRefused(
                f"config.json in {path} has no usable {key!r} (found {value!r}).", "Copy config.json again."
            )
    _check_rope(path, config)


def _check_rope(path: Path, config: dict) -> None:
    scaling, parameters = config.get("rope_scaling"), config.get("rope_parameters")
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
                f"config.json in {path} has 'rope_parameters' and no 'rope_scaling': mlx-lm would ignore it and "
                "give wrong answers.",
                f"`labs models convert {path} DEST` writes the same values in the keys that mlx-lm reads.",
            )
    if scaling is None:
        return
    if not isinstance(scaling, dict):
        raise CheckpointRefused(f"'rope_scaling' in config.json of {path} is not an object.", "Copy config.json again.")
    if "short_factor" not in scaling and "long_factor" not in scaling:
        return
    heads = config.get("num_attention_heads") or 1
    width = int(config.get("hidden_size", 0) // heads * config.get("partial_rotary_factor", 1.0)) // 2
    for key in ("short_factor", "long_factor"):
        values = scaling.get(key)
        ok = isinstance(values, list) and all(
            isinstance(v, (int, float)) and math.isfinite(v) and v > 0 for v in values
        )
        if not ok or (width and len(values) != width):
            raise CheckpointRefused(
                f"{key!r} in config.json of {path} must be a list of {width} positive numbers.",
                "Copy config.json again.",
            )


def _weight_files(path: Path) -> list[Path]:
    files = sorted(path.glob("model*.safetensors"))
    index = path / INDEX
    if index.is_file():
        missing = sorted(set(shards(index)) - {file.name for file in files})
        if missing:
            raise CheckpointRefused(
                f"{len(missing)} weight file(s) are missing in {path}: {', '.join(missing[:3])}.",
                "Copy or download the missing files.",
            )
    if not files:
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        if pickles:
            raise CheckpointRefused(
                f"The weights in {path} are in a format that can run code when read ({pickles[0]}).",
                "Take a copy of the model with safetensors.",
            )
        raise CheckpointRefused(
            f"There are no weights (model*.safetensors) in {path}.",
            "The copy or the download did not finish: do it again.",
        )
    return files


def _check_tokenizer(path: Path) -> None:
    if not (path / "tokenizer.json").is_file() and not (path / "tokenizer.model").is_file():
        raise CheckpointRefused(f"There is no tokenizer.json in {path}.", "Copy the whole checkpoint again.")
    if (path / "tokenizer.json").is_file():
        read_json(path / "tokenizer.json")


def read_header(file: Path) -> dict:
    """The table of contents of a safetensors file, after checking that the file is whole.

    file: a .safetensors file: eight bytes with the header's length (little-endian), a JSON header with the
        place of each tensor, then the data (github.com/huggingface/safetensors, "Format").
    Returns {tensor name: {"dtype", "shape", "data_offsets"}}. Raises CheckpointRefused.

    Example:
        sum(math.prod(entry["shape"]) for entry in read_header(file).values())
    """
    again = "The copy or the download did not finish: do it again."
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if len(start) < 8:
            raise CheckpointRefused(f"{file} is cut short ({size} bytes).", again)
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, _HEADER_LIMIT):
            raise CheckpointRefused(
                f"{file} is cut short or is not a safetensors file: its header would end after byte {size:,}, "
                "the end of the file.",
                again,
            )
        try:
            header = json.loads(opened.read(length))
        except (ValueError, RecursionError) as error:
            raise CheckpointRefused(f"The header of {file} cannot be read ({error}).", again) from error
    if not isinstance(header, dict):
        raise CheckpointRefused(f"The header of {file} is not a JSON object.", again)
    header.pop("__metadata__", None)
    end = 0
    for name, entry in header.items():
        try:
            first, last = entry["data_offsets"]
            right = math.prod(entry["shape"]) * DTYPE_BYTES[entry["dtype"]] == last - first and first >= 0
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointRefused(f"The entry of {name} in {file} cannot be read.", again) from error
        if not right:
            raise CheckpointRefused(f"The entry of {name} in {file} does not fit its shape.", again)
        end = max(end, last)
    if 8 + length + end != size:
        raise CheckpointRefused(f"{file} should have {8 + length + end:,} bytes and has {size:,}.", again)
    return header


def weight_table(path: str | Path) -> dict[str, dict]:
    """All tensors of a checkpoint, from the headers alone: {name: {"dtype", "shape", "data_offsets"}}.

    Example:
        {entry["dtype"] for entry in weight_table(path).values()}      # {'U32', 'F32'}
    """
    table = {}
    for file in _weight_files(Path(path)):
        table.update(read_header(file))
    return table
