"""Quantizing: fewer bits for each weight, and what that costs.

| module | job |
| --- | --- |
| `rounding` | round a matrix in NumPy, as MLX does; its error by bits and group |
| `copies` | a model whose weights are rounded while they are read |
| `likelihood` | perplexity of a text, and the divergence between two models |
| `skills` | held-out questions by skill, judged and counted |
| `layers` | which layers a rounding hurts, and where to spend bits |
| `distilling` | scales that learn from the model before |
| `methods` | mlx-lm's GPTQ and dynamic quantization, on the course's own text |
| `kv_cache` | a rounded KV cache, tested with needles |
| `gguf_kinds` | llama.cpp's types, and a file in one of them |
| `speed` | products with packed weights, measured on this machine |

Names are resolved on first use: looking at a matrix should not import an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.on_first_use import on_first_use

if TYPE_CHECKING:
    from labs_helper.quantizing.copies import Bits, RoundedModel, rounded
    from labs_helper.quantizing.distilling import Distilled, distil
    from labs_helper.quantizing.gguf_kinds import gguf_error, gguf_types, round_as_gguf, write_gguf
    from labs_helper.quantizing.kv_cache import bytes_per_token, score_with_cache
    from labs_helper.quantizing.layers import Hurt, sensitivity, spend
    from labs_helper.quantizing.likelihood import Distance, Interval, Reading, compare, read
    from labs_helper.quantizing.methods import dynamic, gptq
    from labs_helper.quantizing.rounding import bits_per_weight, error_table, levels, relative_error, round_groups
    from labs_helper.quantizing.skills import Question, altogether, is_right, questions, score_skills
    from labs_helper.quantizing.speed import Product, products

_HOMES = {
    **dict.fromkeys(("bits_per_weight", "error_table", "levels", "relative_error", "round_groups"), "rounding"),
    **dict.fromkeys(("Bits", "RoundedModel", "rounded"), "copies"),
    **dict.fromkeys(("Distance", "Interval", "Reading", "compare", "read"), "likelihood"),
    **dict.fromkeys(("Question", "altogether", "is_right", "questions", "score_skills"), "skills"),
    **dict.fromkeys(("Hurt", "sensitivity", "spend"), "layers"),
    **dict.fromkeys(("Distilled", "distil"), "distilling"),
    **dict.fromkeys(("dynamic", "gptq"), "methods"),
    **dict.fromkeys(("bytes_per_token", "score_with_cache"), "kv_cache"),
    **dict.fromkeys(("gguf_error", "gguf_types", "round_as_gguf", "write_gguf"), "gguf_kinds"),
    **dict.fromkeys(("Product", "products"), "speed"),
}

__all__ = [
    "Bits",
    "Distance",
    "Distilled",
    "Hurt",
    "Interval",
    "Product",
    "Question",
    "Reading",
    "RoundedModel",
    "altogether",
    "bits_per_weight",
    "bytes_per_token",
    "compare",
    "distil",
    "dynamic",
    "error_table",
    "gguf_error",
    "gguf_types",
    "gptq",
    "is_right",
    "levels",
    "products",
    "questions",
    "read",
    "relative_error",
    "round_as_gguf",
    "round_groups",
    "rounded",
    "score_skills",
    "score_with_cache",
    "sensitivity",
    "spend",
    "write_gguf",
]

__getattr__ = on_first_use(__name__, _HOMES)
