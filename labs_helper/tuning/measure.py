"""Ask a model many questions at once, and count. Batched and greedy, so that a few hundred answers take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs_helper.engines.base import Message, Request

if TYPE_CHECKING:
    from labs_helper.engines.mlx_text import MLXText
    from labs_helper.tuning.textbook import Talk

AT_ONCE = 32


@dataclass(frozen=True)
class Said:
    """One answer, and whether it ended by itself before max_tokens."""

    text: str
    stopped: bool


def answers(engine: MLXText, questions: Sequence[Talk], max_tokens: int = 40) -> list[Said]:
    """The answers to the questions of some examples, in their order. Runs in the worker's thread.

    Args:
        engine: with its weights; its adapter is put on.
        questions: what is asked is everything before the last message.
        max_tokens: of an answer.

    Example:
        WORKER.call(answers, engine, held_out)
    """
    from mlx_lm import batch_generate

    engine.load()
    prompts = []
    for example in questions:
        asked = tuple(Message(role=m["role"], content=m["content"]) for m in example["messages"][:-1])
        prompts.append(list(engine.render(Request(asked)).ids))
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    said = [Said("", stopped=False)] * len(prompts)
    tokenizer = engine.batch_tokenizer()
    for first in range(0, len(order), AT_ONCE):
        places = order[first : first + AT_ONCE]
        batch = [prompts[place] for place in places]
        engine.choose_table(max(map(len, batch)) + max_tokens)
        made = batch_generate(
            engine.model, tokenizer, batch, max_tokens=max_tokens, verbose=False, return_token_ids=True
        )
        for place, text, ids in zip(places, made.texts, made.token_ids):
            said[place] = Said(text.strip(), len(ids) < max_tokens)
    return said
