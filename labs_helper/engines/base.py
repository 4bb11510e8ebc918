"""What every engine takes and gives. No heavy import here: figures and widgets use these classes too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from labs_helper.engines.experts import Routing


@dataclass(frozen=True)
class Sampling:
    """How the next token is picked from the model's distribution.

    temperature: 0 always takes the most likely token; larger values flatten the distribution.
    top_p: keep the smallest set of tokens whose probabilities sum to at least this, in (0, 1].
    seed: the same seed gives the same answer; None draws a new one for each request.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def seeded(self) -> Sampling:
        """The same with a seed: a new one is drawn where one is needed and none was given."""
        if self.temperature > 0 and self.seed is None:
            return replace(self, seed=int.from_bytes(os.urandom(4), "little"))
        return self


@dataclass(frozen=True)
class Request:
    """One question, complete: everything an engine needs to answer it.

    images: opened pictures (Pillow, RGB) in the order of the tags <|image_1|>, <|image_2|> in the messages.
    num_crops: tiles a picture is cut into at most; None takes the checkpoint's own number.
    schema: a JSON schema, as JSON text, that the answer has to fit; see `labs_helper.engines.constrained`.
    record_experts, without_experts: for models with experts; see `labs_helper.engines.experts`.
    """

    messages: tuple[dict, ...]
    images: tuple = ()
    num_crops: int | None = None
    sampling: Sampling = Sampling()
    max_tokens: int = 128
    alternatives: int = 0
    schema: str | None = None
    record_experts: bool = False
    without_experts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Alternative:
    """A token the model considered. `text` is its readable piece, `logprob` is in nats."""

    text: str
    id: int
    logprob: float


@dataclass(frozen=True)
class Token:
    """One generated token.

    text: what it adds to the answer. It is empty for a stop token and for the first bytes of a character
        that needs more tokens, so the texts of all tokens join to the answer.
    id: its number in the vocabulary; -1 where an endpoint does not tell it.
    logprob: natural logarithm of its probability, before temperature and top-p; NaN where an endpoint does not tell.
        Under a schema, among the tokens that it leaves.
    alternatives: the most likely tokens at this place, best first, before temperature and top-p.
    piece: the token itself in readable form, also where `text` is empty ("<|end|>", "<0xE9>").
    """

    text: str
    id: int
    logprob: float
    alternatives: tuple[Alternative, ...] = ()
    piece: str = ""


@dataclass(frozen=True)
class Prompt:
    """The exact prompt: the text after the chat template, its token ids, and a readable piece per id.

    Each row of picture i has the id -i and the piece "<picture i>". The prompt of an endpoint is the messages that
    are sent, as JSON, with no ids and no pieces: the server makes those.
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Report:
    """What an engine knows about the last request once its stream has ended."""

    prompt: Prompt = field(default_factory=lambda: Prompt("", (), ()))
    finish_reason: str = "cancelled"
    prompt_tokens: int = 0
    generated_tokens: int | None = None  # where somebody counts better than by the pieces that came
    cached_tokens: int = 0
    prefill_seconds: float = 0.0  # from the start of the request to its first token
    seconds: float = 0.0
    peak_memory: int = 0  # bytes
    rope_table: str | None = None
    sampling: Sampling = Sampling()
    images: tuple[int, ...] = ()  # tokens of each picture
    routing: Routing | None = None  # what the routers did, if it was asked for


class Engine(Protocol):
    """What `labs_helper.models.Model` needs from an engine. All methods run in the worker's thread."""

    report: Report

    @property
    def loaded(self) -> bool: ...

    def prepare(self, request: Request) -> None:
        """Check the request and load what is missing for it. Raises a LabError."""

    def render(self, request: Request) -> Prompt:
        """The exact prompt of a request, without generating."""

    def stream(self, request: Request, cancelled: Callable[[], bool]) -> Iterator[Token]:
        """Generate; `cancelled` is asked at every token. Afterwards `report` describes the request."""

    def close(self) -> None:
        """Give the memory back."""
