"""Widgets for the notebooks. They submit work and return; they never touch mlx."""

from .benchmark_explorer import BenchmarkExplorer, benchmarks
from .comparison import Comparison, compare
from .conversation import Chat, chat
from .expert_explorer import ExpertExplorer, experts
from .look import Look, look
from .token_explorer import TokenExplorer, tokens

__all__ = [
    "BenchmarkExplorer",
    "Chat",
    "Comparison",
    "ExpertExplorer",
    "Look",
    "TokenExplorer",
    "benchmarks",
    "chat",
    "compare",
    "experts",
    "look",
    "tokens",
]
