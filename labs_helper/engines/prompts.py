"""What every engine with a tokenizer of its own shares: the exact prompt, and whether it fits the context."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labs_helper.common.translate import _
from labs_helper.engines import door
from labs_helper.engines.base import Message, Prepared, Prompt, Request
from labs_helper.engines.chat_template import ChatTemplate
from labs_helper.engines.encoder import Encoder
from labs_helper.engines.pieces import Pieces
from labs_helper.engines.refusing import Refusing
from labs_helper.errors import BadRequest

# Stop tokens that Phi uses whatever the files say: several published conversions name only one or two of those that
# generation_config.json of Phi-3.5 lists, and a GGUF file has room for two.
ALWAYS_STOP = ("<|end|>", "<|endoftext|>", "<|assistant|>")


MOST_CHARACTERS = 10_000_000  # of a text that is cut into tokens; a long novel has three millions


class Prompts:
    """From a request to the prompt's text and ids. The engine sets `path`, `config` and, with `_use`, its tokenizer."""

    def __init__(self) -> None:
        self.path = Path()
        self.config: dict[str, Any] = {}
        self._tokenizer: Any = None
        self._pieces: Pieces | None = None
        self._chat_template: ChatTemplate | None = None
        self._encoder: Encoder | None = None
        self.stop_ids: frozenset[int] = frozenset()
        self._tokenizing = threading.Lock()  # fast tokenizers do not like two threads at once

    @property
    def pieces(self) -> Pieces:
        """The bytes and readable forms of the tokens. The tokenizer has to be there."""
        assert self._pieces is not None, "load_tokenizer() comes first"
        return self._pieces

    @property
    def encoder(self) -> Encoder:
        """What cuts prompts into tokens. The tokenizer has to be there."""
        assert self._encoder is not None, "load_tokenizer() comes first"
        return self._encoder

    @property
    def template(self) -> ChatTemplate:
        """The chat template. The tokenizer has to be there."""
        assert self._chat_template is not None, "load_tokenizer() comes first"
        return self._chat_template

    def _use(self, tokenizer: Any, pieces: Pieces, encoder: Encoder, template: ChatTemplate) -> None:
        """Take over a tokenizer that has been read; from now on it is ready."""
        self._pieces, self._encoder, self._chat_template = pieces, encoder, template
        self._tokenizer = tokenizer

    def _forget_tokenizer(self) -> None:
        self._tokenizer = self._pieces = self._encoder = self._chat_template = None

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
        messages = self._messages(request)
        text, shield = self._render(messages)
        ids = tuple(self._ids(text, shield))
        pieces = tuple(self.pieces.readable(token_id) for token_id in ids)
        return Prepared(request, Prompt(shield.show(text), ids, pieces, self._notices(messages)))

    def answered(self, request: Request, answer: str) -> tuple[tuple[int, ...], int]:
        """A prompt with its answer and the token that ends an answer, for training and for scoring.

        Returns:
            The ids, and the place of the first token of the answer.

        Example:
            engine.answered(Request(({"role": "user", "content": "Hi"},)), "Hello!")
        """
        said = Message(role="assistant", content=answer)
        messages = self._messages(replace(request, messages=(*request.messages, said)))
        prompt, shield = self._render(messages[:-1], messages)
        whole = self._ids(prompt + shield.hide(messages[-1]["content"]) + ALWAYS_STOP[0], shield)
        alone = self._ids(prompt, shield)
        # A tokenizer may join the end of the prompt and the first letter of the answer; that token is learned.
        start = next((n for n, (a, b) in enumerate(zip(alone, whole)) if a != b), len(alone))
        return tuple(whole), start

    def _messages(self, request: Request) -> list[Message]:
        """The messages as the model reads them."""
        _refuse_endless(sum(len(message["content"]) for message in request.messages))
        return door.clean_messages(request)

    def _render(self, messages: Sequence[Message], hidden_too: Sequence[Message] = ()) -> tuple[str, door.Shield]:
        """The text after the chat template, in which everything that was typed is behind a shield.

        hidden_too: messages that the same shield will hide as well.
        """
        contents = [message["content"] for message in (*messages, *hidden_too)]
        shield = door.Shield(self.encoder.marks, [*contents, self.template.source])
        hidden = [
            Message(role=message["role"], content=shield.hide(message["content"], message["tagged"]))
            for message in messages
        ]
        return self.template.render(hidden), shield

    def _ids(self, text: str, shield: door.Shield) -> list[int]:
        with self._tokenizing, Refusing(self.path, _("tokenizer")):
            return self.encoder.ids(text, shield)

    def _notices(self, messages: Sequence[Message]) -> tuple[str, ...]:
        return door.notices(door.typed_marks(messages, self.encoder.typed))

    def encode(self, text: str) -> Prompt:
        """A text without template as tokens. Here, where no message is, a mark is the control token."""
        _refuse_endless(len(text))
        text = door.clean(text)
        with self._tokenizing, Refusing(self.path, _("tokenizer")):
            ids = self.encoder.whole(text)
        return Prompt(text, tuple(ids), tuple(self.pieces.readable(token_id) for token_id in ids))

    @staticmethod
    def _stops(tokenizer: Any, *named: Any) -> frozenset[int]:
        """Every id among `named` (numbers, lists of numbers, None), and Phi's own three."""
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
                    "The prompt has {prompt:,} tokens and max_tokens is {answer:,}; together they exceed the "
                    "model's context of {room:,}."
                ).format(prompt=len(prepared.prompt), answer=prepared.request.max_tokens, room=room)
                + self._costs(prepared),
                _("Shorten the prompt, start a new conversation, or lower max_tokens."),
            )

    def _costs(self, prepared: Prepared) -> str:
        """What else to say about a prompt that is too long."""
        return ""


def _refuse_endless(characters: int) -> None:
    """A text that no model can read must not hold everything up while it is cut into tokens."""
    if characters > MOST_CHARACTERS:
        raise BadRequest(
            _("The text has {count:,} characters; the labs take at most {most:,}.").format(
                count=characters, most=MOST_CHARACTERS
            ),
            _("Use a part of it."),
        )
