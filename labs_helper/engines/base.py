"""What every engine takes and gives: a request in, tokens out, a report at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NotRequired, Protocol, TypedDict

from labs_helper.pictures.images import Layout, layout

if TYPE_CHECKING:
    from PIL import Image

    from labs_helper.engines.experts import Routing


class Message(TypedDict):
    """One message of a conversation, as an engine gets it: its pictures are tags in the text.

    Keys:
        role, content: as everywhere.
        tagged: whether tags such as <|image_1|> in the content are places of pictures; else they are typed text. Left
            out, they are places in messages of the user, if the request has pictures.
    """

    role: str
    content: str
    tagged: NotRequired[bool]


@dataclass(frozen=True)
class Sampling:
    """How the next token is picked from the model's distribution.

    Attributes:
        temperature: 0 always takes the most likely token; larger values flatten the distribution.
        top_p: keep the smallest set of tokens whose probabilities sum to at least this, in (0, 1].
        seed: the same seed gives the same answer; None draws a new one for each request.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def seeded(self) -> Sampling:
        """The same sampling with a seed; one is drawn if it needs one and has none."""
        if self.temperature > 0 and self.seed is None:
            return replace(self, seed=int.from_bytes(os.urandom(4), "little"))
        return self


@dataclass(frozen=True)
class Request:
    """One complete question: everything an engine needs to answer it.

    Attributes:
        messages: the conversation, the newest message last.
        images: opened pictures (Pillow, RGB) in the order of the tags <|image_1|>, <|image_2|> in the messages.
        num_crops: tiles a picture is cut into at most; None takes the checkpoint's own number.
        max_tokens: the longest answer, in tokens.
        top_logprobs: how many of the most likely tokens to record at each place.
        schema: a JSON schema, as JSON text, that the answer has to fit; see `labs_helper.engines.constrained`.
        record_experts, without_experts: for models with experts; see `labs_helper.engines.experts`.
    """

    messages: tuple[Message, ...]
    images: tuple[Image.Image, ...] = ()
    num_crops: int | None = None
    sampling: Sampling = Sampling()
    max_tokens: int = 128
    top_logprobs: int = 0
    schema: str | None = None
    record_experts: bool = False
    without_experts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A token the model considered. `piece` is its readable form, `logprob` is in nats."""

    piece: str
    id: int
    logprob: float


@dataclass(frozen=True)
class Token:
    """One generated token.

    Attributes:
        text: what it adds to the answer. It is empty for a stop token and for the first bytes of a character that
            needs more tokens, so the texts of all tokens join to the answer.
        id: its number in the vocabulary; -1 where an endpoint does not report it.
        logprob: natural logarithm of its probability, before temperature and top-p; NaN where an endpoint does not
            report it. With a schema, the probability among the tokens that the schema allows.
        top_logprobs: the most likely tokens at this place, best first, before temperature and top-p.
        piece: the token itself in readable form, also where `text` is empty ("<|end|>", "<0xE9>").
    """

    text: str
    id: int
    logprob: float
    top_logprobs: tuple[Candidate, ...] = ()
    piece: str = ""


@dataclass(frozen=True)
class Prompt:
    """The exact prompt: the text after the chat template, its token ids, and a readable piece for each id.

    Each row of picture i has the id -i and the piece "<picture i>". The prompt of an endpoint is the messages that
    are sent, as JSON, with no ids and no pieces: the server makes those.

    Attributes:
        notices: what the person who typed it should know, such as that a control token in a message is plain text.
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class PlacedPicture:
    """A picture of a request, and how it is cut into tiles."""

    image: Image.Image
    num_crops: int
    layout: Layout

    @classmethod
    def place(cls, image: Image.Image, num_crops: int) -> PlacedPicture:
        """Lay a picture out on at most `num_crops` tiles."""
        return cls(image, num_crops, layout(*image.size, num_crops))

    @cached_property
    def name(self) -> str:
        """A name that changes with any of its pixels and with the way it is cut."""
        content = f"{self.num_crops} {self.image.size}".encode() + self.image.tobytes()
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    @property
    def tokens(self) -> int:
        """What the picture costs in the prompt."""
        return self.layout.tokens

    @property
    def views(self) -> int:
        """Views of 336 x 336 that go through the tower. A single tile is the same as the global view."""
        return 1 if self.layout.tiles == 1 else self.layout.tiles + 1


@dataclass(frozen=True)
class Prepared:
    """A request that was checked and rendered by an engine, which has loaded what it needs for it.

    Attributes:
        prompt: the exact prompt.
        pictures: the request's pictures as they are cut.
        seconds: how long checking and rendering took; part of the time to the first token.
    """

    request: Request
    prompt: Prompt
    pictures: tuple[PlacedPicture, ...] = ()
    seconds: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Prompt and longest answer together."""
        return len(self.prompt) + self.request.max_tokens

    @property
    def image_tokens(self) -> tuple[int, ...]:
        """Prompt tokens of each picture."""
        return tuple(picture.tokens for picture in self.pictures)


@dataclass
class Report:
    """What an engine knows about a request once its stream has ended. Times in seconds, memory in bytes.

    Attributes:
        generated_tokens: the engine's own count, where it has one; None means one for each Token that came.
        seconds_to_first_token: from the start of the request; loading is not part of it.
        image_tokens: prompt tokens of each picture.
        routing: which experts each token went to, if that was asked for.
    """

    prompt: Prompt = field(default_factory=lambda: Prompt("", (), ()))
    finish_reason: str = "cancelled"
    prompt_tokens: int = 0
    generated_tokens: int | None = None
    cached_tokens: int = 0
    seconds_to_first_token: float = 0.0
    seconds: float = 0.0
    peak_memory: int = 0
    rope_table: str | None = None
    sampling: Sampling = Sampling()
    image_tokens: tuple[int, ...] = ()
    routing: Routing | None = None


class Stopped(Exception):
    """Raised inside an engine to leave its work after somebody pressed Stop."""


class Engine(Protocol):
    """What `labs_helper.models` needs from an engine.

    `prepare`, `stream`, `load_tokenizer` and `close` run in the worker's thread; `render` and `encode` in any, once
    the tokenizer is there.
    """

    report: Report

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""

    @property
    def tokenizer_ready(self) -> bool:
        """Whether text can be turned into tokens without the worker."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory; 0 before they are loaded."""

    def load_tokenizer(self) -> None:
        """Verify the checkpoint and read its tokenizer. Raises a LabError."""

    def render(self, request: Request) -> Prompt:
        """The exact prompt of a request, without generating."""

    def encode(self, text: str) -> Prompt:
        """A text as it is, without template, as tokens."""

    def prepare(self, request: Request) -> Prepared:
        """Check and render a request, and load what is missing for it. Raises a LabError."""

    def stream(self, prepared: Prepared, cancelled: Callable[[], bool]) -> Generator[Token, None, None]:
        """Generate; `cancelled` is asked at every token. Afterwards `report` describes the request."""

    def close(self) -> None:
        """Give the memory back."""
