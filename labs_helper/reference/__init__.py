"""A Phi in NumPy that can be read from top to bottom, opened in the middle, and changed.

It computes what MLX computes, to a thousandth of a logit (`tests/parity/reference.py`), without MLX.

| module | job |
| --- | --- |
| `shape` | the sizes in config.json, LongRoPE's tables included |
| `weights` | arrays of a checkpoint, unpacked from 4 or 8 bits |
| `parts` | the formulas: norms, RoPE, attention, SwiGLU, SparseMixer |
| `model` | the layers of phi3 and phimoe, the KV cache, and what a run records |
| `changes` | heads, layers and experts switched off, and vectors put in |
| `vision` | the picture path of phi3_v |
| `answering` | greedy and sampled tokens |
| `looking` | what a record says: tokens after each layer, cells of a picture |
| `record` | what a model looked at while it answered, for `Answer.attention` |
| `copying`, `places`, `scenes` | material of the experiments, in which the right place is known |
| `reading` | from a model or a folder to its reference |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.on_first_use import on_first_use

if TYPE_CHECKING:
    from labs_helper.reference.answering import generate, greedy, pick
    from labs_helper.reference.changes import Change
    from labs_helper.reference.model import Cache, Reference, Run
    from labs_helper.reference.reading import read
    from labs_helper.reference.record import Attention
    from labs_helper.reference.vision import embed, picture_rows

_HOMES = {
    "Change": "changes",
    **dict.fromkeys(("generate", "greedy", "pick"), "answering"),
    **dict.fromkeys(("Cache", "Reference", "Run"), "model"),
    "read": "reading",
    "Attention": "record",
    **dict.fromkeys(("embed", "picture_rows"), "vision"),
}

__all__ = [
    "Attention",
    "Cache",
    "Change",
    "Reference",
    "Run",
    "embed",
    "generate",
    "greedy",
    "pick",
    "picture_rows",
    "read",
]

__getattr__ = on_first_use(__name__, _HOMES)
