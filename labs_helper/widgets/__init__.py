"""Widgets for the notebooks. They submit work and return; they never touch mlx."""

from .benchmark_explorer import BenchmarkExplorer, benchmarks
from .comparison import Comparison, compare
from .conversation import Chat, chat
from .look import Look, look
from .token_explorer import TokenExplorer, tokens

__all__ = [
    "BenchmarkExplorer",
    "Chat",
    "Comparison",
    "Look",
    "TokenExplorer",
    "benchmarks",
    "chat",
    "compare",
    "look",
    "tokens",
]
