"""Widgets for the notebooks. They submit work and return; they never touch mlx."""

from labs_helper.widgets.benchmark_explorer import BenchmarkExplorer, benchmarks
from labs_helper.widgets.comparison import Comparison, compare
from labs_helper.widgets.conversation import Chat, chat
from labs_helper.widgets.expert_explorer import ExpertExplorer, experts
from labs_helper.widgets.lesson import LessonView, watch
from labs_helper.widgets.look import Look, look
from labs_helper.widgets.token_explorer import TokenExplorer, tokens

__all__ = [
    "BenchmarkExplorer",
    "Chat",
    "Comparison",
    "ExpertExplorer",
    "LessonView",
    "Look",
    "TokenExplorer",
    "benchmarks",
    "chat",
    "compare",
    "experts",
    "look",
    "tokens",
    "watch",
]
