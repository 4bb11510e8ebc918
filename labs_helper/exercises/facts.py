"""Facts the checks are computed from: published scores, shapes of models, tokens of the bundled checkpoint."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from labs_helper import catalog
from labs_helper.catalog import course_folder, tables

_MOE_SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "num_local_experts",
    "vocab_size",
)


def score(table: str, model: str, benchmark: str) -> float:
    """One printed score.

    Raises:
        KeyError: the table has none for this model and benchmark.

    Example:
        score("phi35_mini_main", "Gemma-2-9B-it", "MGSM")      # 76.4
    """
    for row in tables.read(table):
        if (row["model"], row["benchmark"]) == (model, benchmark):
            return float(row["value"])
    raise KeyError(f"{table}: no {benchmark} for {model}")


def moe_shape(model: str) -> dict[str, int]:
    """The numbers that the parameters of a phimoe follow from, as the catalog has them.

    Example:
        moe_shape("phi-3.5-moe-instruct-4bit")["num_local_experts"]      # 16
    """
    config = catalog.find(model)[0].config or {}
    return {key: config[key] for key in _MOE_SHAPE}


def stop_ids(checkpoint: str) -> frozenset[int]:
    """The stop ids in a bundled checkpoint's generation_config.json.

    Example:
        stop_ids("instruct-tiny")
    """
    ids = _json_of(checkpoint, "generation_config.json")["eos_token_id"]
    return frozenset(ids if isinstance(ids, list) else [ids])


def special_id(checkpoint: str, token: str) -> int:
    """The id of a special token of a bundled checkpoint.

    Example:
        special_id("instruct-tiny", "<|end|>")
    """
    return next(
        int(entry["id"])
        for entry in _json_of(checkpoint, "tokenizer.json")["added_tokens"]
        if entry["content"] == token
    )


def _json_of(checkpoint: str, name: str) -> dict[str, Any]:
    return _read(course_folder() / "data" / "checkpoints" / checkpoint / name)


@cache
def _read(path: Path) -> dict[str, Any]:
    """A file of a bundled checkpoint, read once: a tokenizer.json takes a while."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
