"""Turns a trained fp32 folder into the bundled 4-bit checkpoint, with mlx-lm's own converter."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from training.config import CHECKPOINTS, RUNS, generation_config, write_json
from training.quantization import BITS, GROUP


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


def export(name: str, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS) -> Path:
    """Quantize `runs/name` into `checkpoints/name` (replaced whole; a MODEL_CARD.md there is kept).

    Weights get 4 bits in groups of 32, with fp32 scales and norms: on Linux, 16-bit scales are 7 to 50 times slower.
    The result is put together beside its place and renamed, so that no half-written checkpoint is ever used.
    """
    from mlx_lm import convert

    source, target = runs / name, checkpoints / name
    moe = json.loads((source / "config.json").read_text(encoding="utf-8"))["model_type"] == "phimoe"
    ids = token_ids(source)
    write_json(source / "generation_config.json", generation_config(ids))
    checkpoints.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=checkpoints, prefix=".partial-") as scratch:
        made = Path(scratch) / name
        convert(
            str(source),
            str(made),
            quantize=True,
            q_bits=BITS,
            q_group_size=GROUP,
            dtype="float32",
            quant_predicate=bits_of if moe else None,
        )
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
