"""Pictures and tables: data in, `Figure` out. No mlx, no ipywidgets, no network.

Each function imports what it draws with, so importing this package is cheap.
"""

from .bars import bars, token_counts
from .base import Figure
from .plots import kv_bytes_per_token, kv_cache, needle_heatmap, prefill, rope_tables
from .published import benchmark_chart, benchmark_table
from .tiles import crops_cost, frames_view, side_by_side, tile_view, token_cost, wrong_order
from .tokens import token_view

__all__ = [
    "Figure",
    "bars",
    "benchmark_chart",
    "benchmark_table",
    "crops_cost",
    "frames_view",
    "kv_bytes_per_token",
    "kv_cache",
    "needle_heatmap",
    "prefill",
    "rope_tables",
    "side_by_side",
    "tile_view",
    "token_cost",
    "token_counts",
    "token_view",
    "wrong_order",
]
