"""Pictures and tables: data in, `Figure` out. No mlx, no ipywidgets, no network.

Each function imports what it draws with, so importing this package is cheap.
"""

from labs_helper.figures.bars import bars, token_counts
from labs_helper.figures.base import Figure
from labs_helper.figures.expert_costs import cost_quality, expert_memory, family, hit_rates
from labs_helper.figures.experts import (
    compare_experts,
    expert_load,
    expert_map,
    expert_tokens,
    mutual_information,
    specialisation,
)
from labs_helper.figures.plots import kv_bytes_per_token, kv_cache, needle_heatmap, prefill, rope_tables
from labs_helper.figures.published import benchmark_chart, benchmark_table
from labs_helper.figures.tiles import crops_cost, frames_view, side_by_side, tile_view, token_cost, wrong_order
from labs_helper.figures.tokens import token_view

__all__ = [
    "Figure",
    "bars",
    "benchmark_chart",
    "benchmark_table",
    "compare_experts",
    "cost_quality",
    "crops_cost",
    "expert_load",
    "expert_map",
    "expert_memory",
    "expert_tokens",
    "family",
    "frames_view",
    "hit_rates",
    "kv_bytes_per_token",
    "kv_cache",
    "mutual_information",
    "needle_heatmap",
    "prefill",
    "rope_tables",
    "side_by_side",
    "specialisation",
    "tile_view",
    "token_cost",
    "token_counts",
    "token_view",
    "wrong_order",
]
