"""Turns a trained fp32 folder into the bundled 4-bit checkpoint, with mlx-lm's own converter."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from training.config import BITS, CHECKPOINTS, GROUP, RUNS, generation_config, write_json


def token_ids(folder: Path) -> dict[str, int]:
    """Every token of a folder's tokenizer.json with its id."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return {**vocabulary["model"]["vocab"], **{t["content"]: t["id"] for t in vocabulary["added_tokens"]}}


def bits_of(path: str, module) -> bool | dict:
    """For mlx-lm's converter: a phimoe's routers and head keep 8 bits. The router decides by small differences, and
    mlx-lm would give it 4 bits like everything else.
    """
    eight = path.endswith("block_sparse_moe.gate") or path == "lm_head"
    return {"group_size": GROUP, "bits": 8} if eight else True


LARGEST_TWIN = 8_000_000  # bytes of the weights and all that is loaded with them


def twin(name: str, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> Path:
    """Write `runs/name`, as it was before rounding to 4 bits, into `checkpoints/NAME-16bit`.

    In float16 and not bfloat16: it keeps 11 bits of each weight, so what the 4-bit checkpoint loses is lost by the 4
    bits alone.

    Raises:
        ValueError: it is larger than the course may ship.
    """
    target = _put(runs / name, checkpoints / f"{name}-16bit", dtype="float16")
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    write_json(target / "config.json", {**config, "torch_dtype": "float16"})
    size = sum(
        file.stat().st_size for file in target.iterdir() if file.name not in ("MODEL_CARD.md", "evaluation.json")
    )
    if size > LARGEST_TWIN:
        raise ValueError(f"{target.name} has {size:,} bytes, and the course ships at most {LARGEST_TWIN:,}")
    return target


def export(name: str, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> Path:
    """Quantize `runs/name` into `checkpoints/name` (replaced whole; a MODEL_CARD.md there is kept).

    Weights get 4 bits in groups of 32, with fp32 scales and norms: on Linux, 16-bit scales are 7 to 50 times slower.
    The result is put together beside its place and renamed, so that no half-written checkpoint is ever used.
    """
    source, target = runs / name, checkpoints / name
    moe = json.loads((source / "config.json").read_text(encoding="utf-8"))["model_type"] == "phimoe"
    return _put(
        source,
        target,
        quantize=True,
        q_bits=BITS,
        q_group_size=GROUP,
        dtype="float32",
        quant_predicate=bits_of if moe else None,
    )


def _put(source: Path, target: Path, **how) -> Path:
    """Convert a trained folder with mlx-lm and put the result in its place, whole or not at all."""
    from mlx_lm import convert

    ids = token_ids(source)
    write_json(source / "generation_config.json", generation_config(ids))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as scratch:
        made = Path(scratch) / target.name
        convert(str(source), str(made), **how)
        write_json(made / "generation_config.json", generation_config(ids))
        # The converter writes a model card of its own, a chat_template.jinja and an index for a single file: ours says
        # more.
        for extra in ("README.md", "model.safetensors.index.json"):
            (made / extra).unlink(missing_ok=True)
        if (target / "MODEL_CARD.md").exists():
            shutil.copy(target / "MODEL_CARD.md", made)
        if target.exists():
            target.rename(Path(scratch) / "old")
        made.rename(target)
    return target
