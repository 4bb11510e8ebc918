"""Read what a GGUF file says about itself: its settings, its vocabulary, and the table of its tensors.

The format: github.com/ggml-org/ggml, docs/gguf.md. Only the front of the file is read, and no length in it is trusted:
each is checked against the size of the file before it is used.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs_helper.common.translate import _
from labs_helper.errors import CheckpointRefused
from labs_helper.store.checkpoint import check_gguf

ARCHITECTURES = ("phi3", "phimoe")
# Numbers of fixed size by the format's type number; 8 is a string and 9 an array.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
MOST_ENTRIES = 2_000_000  # of all lists together; a vocabulary of 200,000 has three lists of that length
# (weights in a block, bytes of a block) by ggml's type number: the kinds that Phi files are published in.
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    20: (32, 18),
    23: (256, 136),
    30: (1, 2),
}


@dataclass(frozen=True)
class Gguf:
    """The front of a GGUF file.

    Attributes:
        settings: its keys and values, such as "phi3.context_length".
        tensors: {name: (shape, ggml's type number)}, with the dimensions in ggml's order.
    """

    file: Path
    settings: dict[str, Any]
    tensors: dict[str, tuple[tuple[int, ...], int]]

    @property
    def architecture(self) -> str:
        """The architecture's name: "phi3" or "phimoe"."""
        return str(self.settings.get("general.architecture"))

    def setting(self, key: str, default: Any = None) -> Any:
        """A setting of the architecture: `setting("context_length")` reads phi3.context_length of a phi3 file."""
        return self.settings.get(f"{self.architecture}.{key}", default)

    def config(self) -> dict[str, Any]:
        """The settings that the course needs, under their names in config.json.

        Example:
            read(file).config()["num_hidden_layers"]      # 32
        """
        tokens = self.settings.get("tokenizer.ggml.tokens") or []
        config = {
            "model_type": self.architecture,
            "hidden_size": self.setting("embedding_length"),
            "intermediate_size": self.setting("feed_forward_length"),
            "num_hidden_layers": self.setting("block_count"),
            "num_attention_heads": self.setting("attention.head_count"),
            "num_key_value_heads": self.setting("attention.head_count_kv"),
            "head_dim": self.setting("attention.key_length"),
            "max_position_embeddings": self.setting("context_length"),
            "original_max_position_embeddings": self.setting("rope.scaling.original_context_length"),
            "num_local_experts": self.setting("expert_count"),
            "num_experts_per_tok": self.setting("expert_used_count"),
            "vocab_size": self.setting("vocab_size") or len(tokens),
        }
        return {key: value for key, value in config.items() if value}

    @property
    def tables(self) -> bool:
        """Whether the file carries LongRoPE's two tables."""
        return {"rope_factors_short.weight", "rope_factors_long.weight"} <= set(self.tensors)


class _Reader:
    """A position in the file that moves on with each read and never beyond the end."""

    def __init__(self, data: mmap.mmap, file: Path):
        self.data, self.file, self.position = data, file, 0
        self.entries = 0  # of all lists so far

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise _cut(self.file)
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def count(self) -> int:
        return int(self.number("Q"))

    def text(self) -> str:
        return self.take(self.count()).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth > 2:
            raise CheckpointRefused(
                _("{file} holds a setting of unknown kind {kind}.").format(file=self.file, kind=kind),
                _("Take another copy."),
            )
        inner, count = self.number("I"), self.count()
        self.entries += count
        if self.entries > MOST_ENTRIES and count <= len(self.data):
            raise CheckpointRefused(
                _("{file} holds lists of {count:,} entries, more than any model of the course has.").format(
                    file=self.file, count=self.entries
                ),
                _("Take another copy."),
            )
        if inner in _NUMBERS:
            letter = _NUMBERS[inner]
            return list(struct.unpack(f"<{count}{letter}", self.take(count * struct.calcsize("<" + letter))))
        if count > len(self.data) - self.position:
            raise _cut(self.file)
        return [self.value(inner, depth + 1) for _index in range(count)]


def _cut(file: Path) -> CheckpointRefused:
    return CheckpointRefused(
        _("{file} is cut short or damaged ({size:,} bytes).").format(file=file, size=file.stat().st_size),
        _("Copy or download it again."),
    )


def read(file: str | Path) -> Gguf:
    """The front of a GGUF file, after checking that the file is whole and holds a model of the course.

    Raises:
        CheckpointRefused: it is cut short, damaged, or holds a model that this course cannot use.

    Example:
        read("models/phi/Phi-3.5-mini-instruct-Q4_K_M.gguf").settings["general.name"]
    """
    file = Path(file)
    check_gguf(file)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data, file)
        reader.take(8)
        tensors, keys = reader.count(), reader.count()
        settings: dict[str, Any] = {}
        for _key in range(keys):
            name = reader.text()
            settings[name] = reader.value(reader.number("I"))
        table: dict[str, tuple[tuple[int, ...], int]] = {}
        end = 0
        for _tensor in range(tensors):
            name, dimensions = reader.text(), reader.number("I")
            if dimensions > 4:
                raise _cut(file)
            shape = tuple(reader.count() for _dimension in range(dimensions))
            kind, offset = reader.number("I"), reader.count()
            table[name] = (shape, kind)
            weights, size = BLOCKS.get(kind, (1, 0))
            end = max(end, offset + math.prod(shape) // weights * size)
        alignment = settings.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise _cut(file)
        if -(-reader.position // alignment) * alignment + end > len(data):
            raise _cut(file)
    front = Gguf(file, settings, table)
    _check(front)
    return front


def refuse_part(file: Path, settings: Mapping[str, Any] | None = None) -> None:
    """Refuse a part of a split model, which llama.cpp's tool cuts from a large one.

    Args:
        file: a GGUF file. Its name tells, as the tool writes it.
        settings: of the file, which still tell when it has another name.

    Raises:
        CheckpointRefused: the file is a part.

    Example:
        refuse_part(Path("phi-00001-of-00003.gguf"))
    """
    named = _PART.search(file.name)
    number, count = (int(named[1]), int(named[2])) if named else (0, 0)
    if settings is not None and isinstance(settings.get("split.count"), int):
        number, count = int(settings.get("split.no", 0)) + 1, settings["split.count"]
    if count > 1:
        first = _PART.sub(f"-00001-of-{count:05}.gguf", file.name)
        raise CheckpointRefused(
            _("{file} is part {number} of {count} of one model, and the labs read models of one file.").format(
                file=file, number=number, count=count
            ),
            _(
                "Join the parts with llama.cpp's tool: `llama-gguf-split --merge {first} whole.gguf`; "
                "or download the model as one file."
            ).format(first=first),
        )


def _check(front: Gguf) -> None:
    refuse_part(front.file, front.settings)
    if front.architecture not in ARCHITECTURES:
        raise CheckpointRefused(
            _("The architecture {architecture!r} in {file} is not one of this course.").format(
                architecture=front.architecture, file=front.file
            ),
            _("Use a GGUF file of one of these: {names}.").format(names=", ".join(ARCHITECTURES)),
        )
    config = front.config()
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "vocab_size"):
        if not isinstance(config.get(key), int):
            raise CheckpointRefused(
                _("{file} does not say its {key}.").format(file=front.file, key=key),
                _("Take another copy of the model."),
            )
    original = config.get("original_max_position_embeddings")
    if front.tables and not original:
        raise CheckpointRefused(
            _("{file} has LongRoPE's tables but not the length at which they change.").format(file=front.file),
            _("Take a newer copy."),
        )
    if original and original < config["max_position_embeddings"] and not front.tables:
        # Files of July 2024 and before: plain RoPE, and garbage beyond the original length (llama.cpp#9127).
        raise CheckpointRefused(
            _("{file} was made before llama.cpp knew LongRoPE: its two tables are missing.").format(file=front.file),
            _("Take a newer copy."),
        )
