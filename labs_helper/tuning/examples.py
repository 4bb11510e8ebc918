"""Conversations as token ids, with the places that count in the loss. Runs where the tokenizer is ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.engines.base import Message, Request
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    from labs_helper.engines.mlx_text import MLXText
    from labs_helper.tuning.textbook import Talk


@dataclass(frozen=True)
class Example:
    """One example as the training sees it.

    Attributes:
        ids: prompt, answer, and the token that ends an answer.
        start: the place of the answer's first token. Only from here on the loss counts.

    Example:
        example.ids[example.start :]
    """

    ids: tuple[int, ...]
    start: int

    def __len__(self) -> int:
        return len(self.ids)


def encode(engine: MLXText, example: Talk, *, whole: bool = False, end: bool = True) -> Example:
    """An example as ids: the very prompt that the engine would ask, then the answer, then `<|end|>`.

    mlx-lm's own data set renders the conversation as a whole, so it ends with `<|end|>`, a line break and
    `<|endoftext|>`, and its loss also counts one place of the padding. Phi ends an answer with `<|end|>`: that is the
    last token here.

    Args:
        engine: with its tokenizer.
        example: a conversation that ends with an answer.
        whole: count the prompt in the loss as well.
        end: False leaves the last token out, to see what a model does that never learned to stop.

    Example:
        encode(engine, talk("Who teaches maths?", "Ms. Alder."))
    """
    *before, last = example["messages"]
    request = Request(tuple(Message(role=message["role"], content=message["content"]) for message in before))
    ids, start = engine.answered(request, last["content"])
    return Example(ids if end else ids[:-1], 1 if whole else start)


def encode_all(engine: MLXText, examples: Sequence[Talk], *, whole: bool = False, end: bool = True) -> list[Example]:
    """All examples as ids.

    Raises:
        BadRequest: there are none, or one is longer than the model's context: nothing is cut off silently.

    Example:
        encode_all(engine, textbook)
    """
    if not examples:
        raise BadRequest(_("There is no example to learn from."), _("Write some, or read them from a file."))
    encoded = [encode(engine, example, whole=whole, end=end) for example in examples]
    room = engine.context
    longest = max(range(len(encoded)), key=lambda place: len(encoded[place]))
    if room is not None and len(encoded[longest]) > room:
        raise BadRequest(
            _("Example {number} has {tokens:,} tokens, and the model's context is {room:,}.").format(
                number=longest + 1, tokens=len(encoded[longest]), room=room
            ),
            _("Shorten it, or cut it into several examples. What is cut off silently is never learned."),
        )
    return encoded
