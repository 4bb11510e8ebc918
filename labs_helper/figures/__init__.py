"""Pictures and tables: data in, `Figure` out. No mlx, no ipywidgets, no network.

Each function imports what it draws with, so importing this package is cheap.
"""

from labs_helper.figures.ablation import ablation, pair_ablation
from labs_helper.figures.attention import attention_view
from labs_helper.figures.bars import bars, token_counts
from labs_helper.figures.base import Figure
from labs_helper.figures.bits import by_bits, error_by_size
from labs_helper.figures.cache import kv_bytes_per_token, kv_cache, prefill
from labs_helper.figures.context import loss_by_position, needle_heatmap, rope_tables
from labs_helper.figures.expert_costs import cost_quality, expert_memory, family, hit_rates
from labs_helper.figures.experts import compare_experts, expert_load, expert_map, expert_tokens
from labs_helper.figures.inside import attention_on_picture, logit_lens
from labs_helper.figures.listing import listing
from labs_helper.figures.picture_costs import crops_cost, token_cost
from labs_helper.figures.pictures import frames_view, side_by_side
from labs_helper.figures.published import benchmark_chart, benchmark_table
from labs_helper.figures.serving import load_curve
from labs_helper.figures.tiles import tile_view, wrong_order
from labs_helper.figures.tokens import token_view
from labs_helper.figures.topics import specialisation
from labs_helper.figures.training import learned_and_kept, loss_curve

__all__ = [
    "Figure",
    "ablation",
    "attention_on_picture",
    "attention_view",
    "bars",
    "benchmark_chart",
    "benchmark_table",
    "by_bits",
    "compare_experts",
    "cost_quality",
    "crops_cost",
    "error_by_size",
    "expert_load",
    "expert_map",
    "expert_memory",
    "expert_tokens",
    "family",
    "frames_view",
    "hit_rates",
    "kv_bytes_per_token",
    "kv_cache",
    "learned_and_kept",
    "listing",
    "load_curve",
    "logit_lens",
    "loss_by_position",
    "loss_curve",
    "needle_heatmap",
    "pair_ablation",
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
