"""Models in the layout of ONNX Runtime GenAI, on the CPU: phi3_v with pictures, and phi3.

That is how Microsoft publishes Phi-3.5-vision for computers without a GPU: three graphs (vision, embedding, text) with
4-bit weights. ONNX Runtime computes them; prompt, pixels, sampling, stop tokens and cache are the course's own, as for
every engine. The library's own picture transform is not used: see docs/models.md for what it does otherwise.

Two things are done here that the graphs leave to their caller:

table   The text graph takes LongRoPE's long table as soon as its attention mask is wider than the original length. One
        table has to serve a whole request, so the mask of a long one is made that wide from the first token on.
pictures  Rows of a picture are kept, and so are the keys and values of what was read: a second question about the same
        picture does not see it again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper import store
from labs_helper.capacity import estimate, limits
from labs_helper.capacity.require import require, require_memory
from labs_helper.common.translate import _
from labs_helper.engines import constrained
from labs_helper.engines.base import Candidate, PlacedPicture, Prepared, Report, Request, Stopped, Token
from labs_helper.engines.chat_template import ChatTemplate
from labs_helper.engines.encoder import Encoder
from labs_helper.engines.onnx_sessions import Cache, Sessions
from labs_helper.engines.picking import ArrayPicker
from labs_helper.engines.picture_prompts import NUM_CROPS, PicturePrompts
from labs_helper.engines.pieces import Pieces
from labs_helper.engines.prompts import Prompts
from labs_helper.engines.refusing import Refusing, quiet_transformers
from labs_helper.errors import BadRequest, CheckpointRefused
from labs_helper.pictures import images
from labs_helper.store import onnx_folder

if TYPE_CHECKING:
    import numpy as np

CHUNK = 256  # tokens of a prompt that are read at once: their scores are in memory together
_SMALL_CACHE = 256 * 2**20  # bytes; asking the system for its free memory costs more than a cache of this size


class OnnxGenAI(PicturePrompts):
    """One folder in ONNX Runtime. Cheap to make; settings, tokenizer and weights are read when first needed.

    Args:
        path: the folder.
        sees: whether it is meant to take pictures; None takes what is there.
        threads: of the computation; None takes one for a small model, else what ONNX Runtime finds.
        ships_code: see `labs_helper.store.verify`.

    Example:
        engine = OnnxGenAI("models/phi-3.5-vision-instruct-onnx")
        request = Request(({"role": "user", "content": "<|image_1|>\\nWhat is this?"},), images=(picture,))
        for token in engine.stream(engine.prepare(request), lambda: False): ...
    """

    def __init__(
        self, path: str | Path, sees: bool | None = None, threads: int | None = None, ships_code: bool = False
    ) -> None:
        super().__init__()
        self.path, self.sees, self.threads, self.ships_code = Path(path), sees, threads, ships_code
        self.report = Report()
        self.weight_bytes = 0
        self._folder: onnx_folder.OnnxFolder | None = None
        self._sessions: Sessions | None = None
        self._cache: Cache | None = None
        self._known: tuple[Hashable, ...] = ()  # what the places of the cache hold
        self._table: str | None = None  # with which it was made
        self._rows: dict[str, np.ndarray] = {}  # by picture, of the last request
        self._guide: constrained.Guide | None = None

    # -- loading ------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._sessions is not None

    def load_tokenizer(self) -> None:
        """Verify the folder and read its settings and tokenizer. Raises ModelNotHere or CheckpointRefused."""
        if self._tokenizer is not None:
            return
        config = store.verify(self.path, ships_code=self.ships_code)
        folder = onnx_folder.read(self.path)
        if self.sees is not None and folder.sees != self.sees:
            raise CheckpointRefused(
                _("{path} holds a text model, and one that sees pictures belongs there.").format(path=self.path)
                if self.sees
                else _("{path} holds a model that sees pictures, and a text model belongs there.").format(
                    path=self.path
                ),
                _("Remove the folder, and fetch or copy the model again."),
            )
        with Refusing(self.path, _("tokenizer")), quiet_transformers():
            from transformers import AutoConfig, AutoTokenizer

            # There is no config.json, and transformers would not know phi3_v: its tokenizer is that of phi3.
            tokenizer = AutoTokenizer.from_pretrained(
                self.path, config=AutoConfig.for_model("phi3"), trust_remote_code=False, local_files_only=True
            )
            pieces, encoder = Pieces(tokenizer), Encoder(tokenizer.backend_tokenizer)
        template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens_map, self.path)
        self.config, self._folder = config, folder
        self.num_crops = folder.num_crops or NUM_CROPS
        self.stop_ids = self._stops(tokenizer, config.get("eos_token_id"), tokenizer.eos_token_id)
        self._use(tokenizer, pieces, encoder, template)

    def load(self, tokens: int = 0, views: int = 0) -> None:
        """Read the weights, once.

        Args:
            tokens: of the first request, for the memory check.
            views: of the pictures of the first request.

        Raises:
            NotEnoughMemory: before anything is read.
            CheckpointRefused: ONNX Runtime cannot use the graphs.
        """
        self.load_tokenizer()
        if self._sessions is not None:
            return
        assert self._folder is not None, "load_tokenizer() has read it"
        require(self.path, tokens, views=views)
        with Refusing(self.path, _("weights")):
            self._sessions = Sessions(self._folder, self.threads)
        self.weight_bytes = self._folder.bytes

    def close(self) -> None:
        """Give weights, cache, pictures and tokenizer back."""
        self._sessions = self._cache = self._folder = self._guide = None
        self._known, self._rows, self.weight_bytes = (), {}, 0
        self._forget_tokenizer()
        gc.collect()

    @property
    def _running(self) -> Sessions:
        assert self._sessions is not None, "load() comes first"
        return self._sessions

    # -- prompts ------------------------------------------------------------------------------------

    def place(self, request: Request) -> Prepared:
        """A request with its prompt, and its pictures as they are cut, before anything is checked or loaded."""
        if self._folder is not None and self._folder.sees:
            return super().place(request)
        if request.images:
            raise BadRequest(_("This model takes no pictures."), _('Use a model that takes pictures: load("vision").'))
        return Prompts.place(self, request)

    def prepare(self, request: Request) -> Prepared:
        """Check and render a request, and load what is missing for it. Raises a LabError."""
        self.load_tokenizer()
        start = time.perf_counter()
        prepared = self.place(request)
        self._check(prepared)
        if request.schema is not None:
            constrained.grammar(request.schema, self.pieces.strips_first)  # refused before any weights are read
        seconds = time.perf_counter() - start
        if not self.loaded:
            self.load(prepared.total_tokens, sum(picture.layout.tiles + 1 for picture in prepared.pictures))
        else:
            missing = prepared.total_tokens - (0 if self._cache is None else self._cache.room)
            if missing > 0 and (needed := estimate.cache_bytes(self.config, missing, 4)) > _SMALL_CACHE:
                require_memory(
                    needed,
                    _("a context of {tokens:,} tokens in {name}").format(
                        tokens=prepared.total_tokens, name=self.path.name
                    ),
                )
        return replace(prepared, seconds=seconds)

    def table_for(self, total_tokens: int) -> str | None:
        """LongRoPE's table for a request of this length: "short", "long", or None for a model without.

        Example:
            engine.table_for(5000)      # 'long' for Phi-3.5-vision
        """
        original = self.config.get("original_max_position_embeddings")
        return None if original is None else "short" if total_tokens <= original else "long"

    # -- generation ---------------------------------------------------------------------------------

    def stream(self, prepared: Prepared, cancelled: Callable[[], bool]) -> Generator[Token, None, None]:
        """Generate tokens until a stop token, max_tokens, or until `cancelled()` says so.

        Afterwards `report` tells how it went.
        """
        started = time.perf_counter() - prepared.seconds
        request, sampling = prepared.request, prepared.request.sampling.seeded()
        run = _Run(self, prepared, cancelled)
        report = Report(
            prompt=prepared.prompt,
            prompt_tokens=len(prepared.prompt),
            cached_tokens=run.used,
            rope_table=run.table,
            sampling=sampling,
            image_tokens=prepared.image_tokens,
        )
        picker = ArrayPicker(sampling, min(request.top_logprobs, self.config["vocab_size"]))
        text, constraint = self.pieces.stream(), self._constraint(request)
        newest = -1
        try:
            scores = run.read_prompt()
            report.finish_reason = "length"
            for number in range(request.max_tokens):
                if constraint is not None:
                    scores = _held(constraint, newest, scores)
                newest, logprob, best = picker.pick(scores)
                if number == 0:
                    report.seconds_to_first_token = time.perf_counter() - started
                if cancelled():
                    raise Stopped
                stop = newest in self.stop_ids
                if stop:
                    report.finish_reason = "stop"
                yield self._token(newest, "" if stop else text.add(newest), logprob, best)
                if stop:
                    return
                if number + 1 < request.max_tokens:
                    scores = run.read_token(newest)
            if constraint is not None and _complete(constraint, newest):
                report.finish_reason = "stop"  # complete, with no room left for the stop token
        except (Stopped, GeneratorExit) as left:
            report.finish_reason = "cancelled"
            if isinstance(left, GeneratorExit):
                raise
        finally:
            run.end()
            report.seconds = time.perf_counter() - started
            report.peak_memory = limits.used()
            self.report = report  # last: a question between two tokens has put its own there

    def _constraint(self, request: Request) -> constrained.Constraint | None:
        if request.schema is None:
            return None
        if self._guide is None:
            self._guide = constrained.Guide(self._tokenizer, self.stop_ids)
        return self._guide.constraint(constrained.grammar(request.schema, self.pieces.strips_first))

    def _token(self, token_id: int, text: str, logprob: float, best: list[tuple[int, float]]) -> Token:
        return Token(
            text=text,
            id=token_id,
            logprob=logprob,
            top_logprobs=tuple(Candidate(self.pieces.readable(other), other, value) for other, value in best),
            piece=self.pieces.readable(token_id),
        )

    def take_cache(self, identities: tuple[Hashable, ...], table: str | None) -> tuple[Cache, int]:
        """The cache of the last request for one that begins with the same, and how many places of it can be used.

        While a request runs nobody else may use its cache: a nested request starts with a new one.
        """
        cache, known, made_with = self._cache, self._known, self._table
        self._cache, self._known = None, ()
        if cache is None:
            return self._running.new_cache(), 0
        if made_with != table:
            return cache, 0
        limit = min(len(known), len(identities) - 1)  # at least one token has to go through the model
        return cache, next((n for n in range(limit) if known[n] != identities[n]), limit)

    def keep_cache(self, cache: Cache, known: tuple[Hashable, ...], table: str | None) -> None:
        """Remember a cache, and what its places hold."""
        if self.loaded:
            self._cache, self._known, self._table = cache, known, table

    def rows_of(self, picture: PlacedPicture, cancelled: Callable[[], bool]) -> np.ndarray:
        """Rows of a picture as the decoder gets them, (tokens, hidden)."""
        plan = picture.layout
        pixels = images.pixel_values(picture.image, plan)
        return self._running.picture_rows(pixels, plan.rows, plan.columns, images.TILE, cancelled)

    def rows_of_all(self, prepared: Prepared, used: int, cancelled: Callable[[], bool]) -> list[np.ndarray | None]:
        """Rows of the pictures of a request; None for one that the cache has. Those of the last request are kept."""
        known, self._rows = self._rows, {}
        found: list[np.ndarray | None] = []
        for number, picture in enumerate(prepared.pictures, start=1):
            rows = known.get(picture.name)
            if rows is None and -number in prepared.prompt.ids[used:]:
                rows = self.rows_of(picture, cancelled)
            if rows is not None:
                self._rows[picture.name] = rows
            found.append(rows)
        return found

    def logits(self, request: Request) -> np.ndarray:
        """The model's raw scores for every place of a request's prompt: (tokens, vocabulary) in fp32.

        Example:
            engine.logits(request).shape
        """
        import numpy as np

        prepared = self.prepare(request)
        self._cache, self._known = None, ()
        run = _Run(self, prepared, lambda: False)
        return np.concatenate(list(run.chunks()))


class _Run:
    """One request on its way through the decoder.

    Attributes:
        used: places that are in the cache.
        table: LongRoPE's, for the whole request.
    """

    def __init__(self, engine: OnnxGenAI, prepared: Prepared, cancelled: Callable[[], bool]) -> None:
        self._engine, self._prepared, self._cancelled = engine, prepared, cancelled
        self._sessions = engine._running  # noqa: SLF001 - the other half of this module
        self.table = engine.table_for(prepared.total_tokens)
        original = engine.config.get("original_max_position_embeddings", 0)
        self._width = original + 1 if self.table == "long" else 0
        self._identities = engine.identities(prepared)
        self._cache, self.used = engine.take_cache(self._identities, self.table)
        self._written: list[int] = []

    def chunks(self) -> Generator[np.ndarray, None, None]:
        """Read what the cache does not have of the prompt. Scores of every place, chunk by chunk."""
        prepared, sessions = self._prepared, self._sessions
        ids = prepared.prompt.ids
        pictures = self._engine.rows_of_all(prepared, self.used, self._cancelled)
        self._cache.grow(prepared.total_tokens, self.used)
        while self.used < len(ids):
            chunk = ids[self.used : self.used + CHUNK]
            rows = sessions.rows(chunk)
            for number, made in enumerate(pictures, start=1):
                if made is None or -number not in chunk:
                    continue
                first, count = chunk.index(-number), chunk.count(-number)
                begin = self.used + first - ids.index(-number)  # a chunk may begin inside a picture
                rows[0, first : first + count] = made[begin : begin + count]
            scores = sessions.scores(rows, self._cache, self.used, self._width, self._cancelled)
            self.used += len(chunk)
            yield scores

    def read_prompt(self) -> Any:
        """Read the prompt. Scores of the first token of the answer."""
        scores = None
        for chunk in self.chunks():
            scores = chunk[-1]
            if self.used < len(self._prepared.prompt) and self._cancelled():
                raise Stopped
        return scores

    def read_token(self, token_id: int) -> np.ndarray:
        """Read one token of the answer. Scores of the next one."""
        scores = self._sessions.scores(self._sessions.rows([token_id]), self._cache, self.used, self._width)
        self._written.append(token_id)
        self.used += 1
        last: np.ndarray = scores[-1]
        return last

    def end(self) -> None:
        """Leave the cache to the next request."""
        known = (*self._identities, *self._written)
        self._engine.keep_cache(self._cache, known[: self.used], self.table)


def _held(constraint: constrained.Constraint, newest: int, scores: np.ndarray) -> np.ndarray:
    """Scores with minus infinity for every token that the schema rules out."""
    import numpy as np

    allowed = constraint.allowed(lambda: newest, len(scores))
    return scores if allowed is None else np.where(allowed, scores, -np.inf)


def _complete(constraint: constrained.Constraint, newest: int) -> bool:
    """Whether the text fits the schema with the newest token, which the constraint has not taken in yet."""
    constraint.allowed(lambda: newest, 0)
    return constraint.complete
