"""Fine-tuning: the learner's own data, LoRA, preferences, and what becomes of an adapter.

| module | job |
| --- | --- |
| `textbook` | conversations as data: from templates, from and to JSON lines |
| `checker` | what is wrong with such data before anything is trained |
| `examples` | conversations as token ids, with the places that count in the loss |
| `lesson` | train an adapter with mlx-lm's trainer; stop, and go on |
| `preference` | DPO: pairs, the model before, the loss |
| `measure` | ask many questions at once |
| `classroom` | what the notebook calls: `start`, `score`, `keep` |
| `folding` | fold an adapter into the weights, and prove that it is still there |
| `gguf_adapter` | the adapter for llama.cpp |

Names are resolved on first use: looking at a textbook should not import an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.on_first_use import on_first_use

if TYPE_CHECKING:
    from labs_helper.tuning.checker import DataReport, check_data
    from labs_helper.tuning.classroom import Lesson, Score, ask_all, holds, keep, replay, score, start
    from labs_helper.tuning.folding import Proof, fold, prove
    from labs_helper.tuning.gguf_adapter import to_gguf
    from labs_helper.tuning.lesson import Plan, Taught
    from labs_helper.tuning.preference import Pair
    from labs_helper.tuning.textbook import answer_of, fill, mix, question_of, read, talk, write

_HOMES = {
    **dict.fromkeys(("answer_of", "fill", "mix", "question_of", "read", "talk", "write"), "textbook"),
    **dict.fromkeys(("DataReport", "check_data"), "checker"),
    **dict.fromkeys(("Lesson", "Score", "ask_all", "holds", "keep", "replay", "score", "start"), "classroom"),
    **dict.fromkeys(("Proof", "fold", "prove"), "folding"),
    **dict.fromkeys(("Plan", "Taught"), "lesson"),
    "Pair": "preference",
    "to_gguf": "gguf_adapter",
}

__all__ = [
    "DataReport",
    "Lesson",
    "Pair",
    "Plan",
    "Proof",
    "Score",
    "Taught",
    "answer_of",
    "ask_all",
    "check_data",
    "fill",
    "fold",
    "holds",
    "keep",
    "mix",
    "prove",
    "question_of",
    "read",
    "replay",
    "score",
    "start",
    "talk",
    "to_gguf",
    "write",
]

__getattr__ = on_first_use(__name__, _HOMES)
