"""What every engine with a tokenizer of its own shares: the exact prompt, and whether it fits the context."""

from __future__ import annotations

import threading

from labs_helper.engines.base import Prompt, Request
from labs_helper.engines.pieces import Pieces
from labs_helper.errors import BadRequest

# Stop tokens that Phi uses whatever the files say: several published conversions name only one of them.
ALWAYS_STOP = ("<|end|>", "<|endoftext|>")


class Prompts:
    """From a request to the prompt's text and ids. The engine sets `_tokenizer`, `_pieces` and `config`."""

    def __init__(self):
        self.config: dict = {}
        self._tokenizer = None
        self._pieces: Pieces | None = None
        self._stop_ids: frozenset[int] = frozenset()
        self._rendered: tuple[Request, Prompt] | None = None
        self._tokenizing = threading.Lock()  # fast tokenizers do not like two threads at once

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
        kept = self._rendered
        if kept is not None and kept[0] is request:
            return kept[1]
        with self._tokenizing:
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in request.messages], add_generation_prompt=True, tokenize=False
            )
        prompt = self._encode_prompt(text, request)
        self._rendered = (request, prompt)
        return prompt

    def _encode_prompt(self, text: str, request: Request) -> Prompt:
        return self.encode(text)

    def encode(self, text: str) -> Prompt:
        """A text as it is, without template, as tokens."""
        ids = tuple(self._encode(text))
        return Prompt(text, ids, tuple(self._pieces.readable(id) for id in ids))

    def _encode(self, text: str) -> list[int]:
        with self._tokenizing:
            return self._tokenizer.encode(text, add_special_tokens=False)

    @staticmethod
    def _stops(tokenizer, *named) -> frozenset[int]:
        """Every id among `named` (numbers, lists of numbers, None), and Phi's own two."""
        ids = {id for entry in named for id in (entry if isinstance(entry, list) else [entry]) if isinstance(id, int)}
        known = tokenizer.get_vocab()
        return frozenset(ids | {known[name] for name in ALWAYS_STOP if name in known})

    def _check(self, request: Request, prompt: Prompt) -> None:
        asked, room = len(prompt) + request.max_tokens, self.context
        if room is not None and asked > room:
            raise BadRequest(
                f"The prompt has {len(prompt):,} tokens and max_tokens is {request.max_tokens:,}; together they "
                f"are more than the model's context of {room:,}.{self._costs(request)}",
                "Shorten the prompt, start a new conversation, or lower max_tokens.",
            )

    def _costs(self, request: Request) -> str:
        """What else to say about a prompt that is too long."""
        return ""
