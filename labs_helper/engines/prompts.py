"""What every engine with a tokenizer of its own shares: the exact prompt, and whether it fits the context."""

from __future__ import annotations

import threading
from typing import Any

from labs_helper.common.translate import _
from labs_helper.engines.base import Prepared, Prompt, Request
from labs_helper.engines.pieces import Pieces
from labs_helper.errors import BadRequest

# Stop tokens that Phi uses whatever the files say: several published conversions name only one of them.
ALWAYS_STOP = ("<|end|>", "<|endoftext|>")


class Prompts:
    """From a request to the prompt's text and ids. The engine sets `_tokenizer`, `_pieces` and `config`."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self._tokenizer: Any = None
        self._pieces: Pieces | None = None
        self.stop_ids: frozenset[int] = frozenset()
        self._tokenizing = threading.Lock()  # fast tokenizers do not like two threads at once

    @property
    def pieces(self) -> Pieces:
        """The bytes and readable forms of the tokens. The tokenizer has to be there."""
        assert self._pieces is not None, "load_tokenizer() comes first"
        return self._pieces

    @property
    def tokenizer_ready(self) -> bool:
        """Whether text can be turned into tokens without the worker."""
        return self._tokenizer is not None

    @property
    def context(self) -> int | None:
        """The longest sequence of the model in tokens (prompt and answer together)."""
        return self.config.get("max_position_embeddings")

    def render(self, request: Request) -> Prompt:
        """The exact prompt of a request: chat template, token ids, readable pieces."""
        return self.place(request).prompt

    def place(self, request: Request) -> Prepared:
        """A request with its prompt and its pictures, before anything is checked or loaded."""
        return Prepared(request, self.encode(self._template(request)))

    def _template(self, request: Request) -> str:
        with self._tokenizing:
            text: str = self._tokenizer.apply_chat_template(
                [dict(message) for message in request.messages], add_generation_prompt=True, tokenize=False
            )
        return text

    def encode(self, text: str) -> Prompt:
        """A text as it is, without template, as tokens."""
        ids = tuple(self._encode(text))
        return Prompt(text, ids, tuple(self.pieces.readable(token_id) for token_id in ids))

    def _encode(self, text: str) -> list[int]:
        with self._tokenizing:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    @staticmethod
    def _stops(tokenizer: Any, *named: Any) -> frozenset[int]:
        """Every id among `named` (numbers, lists of numbers, None), and Phi's own two."""
        ids = {
            token_id
            for entry in named
            for token_id in (entry if isinstance(entry, list) else [entry])
            if isinstance(token_id, int)
        }
        known = tokenizer.get_vocab()
        return frozenset(ids | {known[name] for name in ALWAYS_STOP if name in known})

    def _check(self, prepared: Prepared) -> None:
        room = self.context
        if room is not None and prepared.total_tokens > room:
            raise BadRequest(
                _(
                    "The prompt has {prompt:,} tokens and max_tokens is {answer:,}; together they are more than the "
                    "model's context of {room:,}."
                ).format(prompt=len(prepared.prompt), answer=prepared.request.max_tokens, room=room)
                + self._costs(prepared),
                _("Shorten the prompt, start a new conversation, or lower max_tokens."),
            )

    def _costs(self, prepared: Prepared) -> str:
        """What else to say about a prompt that is too long."""
        return ""
