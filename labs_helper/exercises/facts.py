"""Facts that checks look up: shapes of models, tokens of the bundled checkpoint and of other models here."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from labs_helper import catalog, store
from labs_helper.catalog import course_folder

_MOE_SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "num_local_experts",
    "vocab_size",
)


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


def token_counts(texts: tuple[str, ...]) -> list[list[int]]:
    """How many tokens texts have, by each instruct model of this machine, the bundled one first.

    Example:
        token_counts(("Where is Changsha?",))      # [[5]]
    """
    cards = [card for card in catalog.find("instruct") if store.is_here(card)]
    folders = [store.locate(card) for card in sorted(cards, key=lambda card: card.tier != "tiny")]
    files = [file for folder in folders if (file := folder / "tokenizer.json").is_file()]
    return [_counted(file, texts) for file in files]


@cache
def _counted(file: Path, texts: tuple[str, ...]) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]


def _json_of(checkpoint: str, name: str) -> dict[str, Any]:
    return _read(course_folder() / "data" / "checkpoints" / checkpoint / name)


@cache
def _read(path: Path) -> dict[str, Any]:
    """A file of a bundled checkpoint, read once: a tokenizer.json takes a while."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
