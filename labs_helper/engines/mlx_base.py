"""What the engines of text and vision share: loading, stop tokens, the prompt cache.

Everything here runs in the worker's thread (labs_helper.engines.worker), except `render` and `encode` once the
tokenizer is there: they touch no MLX array.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from labs_helper import store
from labs_helper.capacity import estimate
from labs_helper.capacity.require import require, require_memory
from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.corrections import before_mlx, dequantize, open_files
from labs_helper.engines import constrained
from labs_helper.engines.adapters import Adapter
from labs_helper.engines.base import Prepared, Report, Request, Token
from labs_helper.engines.chat_template import ChatTemplate
from labs_helper.engines.encoder import Encoder
from labs_helper.engines.experts import Watch
from labs_helper.engines.generation import Generation
from labs_helper.engines.pieces import Pieces
from labs_helper.engines.prompt_cache import PromptCache
from labs_helper.engines.prompts import Prompts
from labs_helper.engines.refusing import Refusing, quiet_transformers

if TYPE_CHECKING:
    import mlx.core as mx
    import numpy as np

_SMALL_CACHE = 256 * 2**20  # bytes; asking the system for its free memory costs more than a cache of this size


def import_mlx_lm() -> ModuleType:
    """mlx_lm, imported with our corrections in place.

    Example:
        import_mlx_lm().__version__
    """
    before_mlx()
    with open_files.keep_file_limit():
        return importlib.import_module("mlx_lm")


@dataclass
class Weights:
    """The weights of a checkpoint in memory. Engines that differ only in their adapter share one.

    Attributes:
        model: as its package made it; None until it is loaded.
        decoder: what mlx-lm calls: ids or embeddings in, logits out.
        expanded: whether quantized weights were expanded to fp32.
        count: bytes.
        adapter: the adapter that is on it.
    """

    model: Any = None
    decoder: Any = None
    expanded: bool = False
    count: int = 0
    adapter: Adapter | None = None


class MLXEngine(Prompts):
    """One checkpoint in MLX. Cheap to make; tokenizer and weights are read when first needed.

    path: the checkpoint folder.
    ships_code: see `labs_helper.store.verify`.

    An engine for a kind of model fills in `_read`, `choose_table` and, if its prompts are more than text, `place`,
    `identities` and `embeddings`.

    Example:
        engine = MLXText(course_folder() / "data/checkpoints/instruct-tiny")
        prepared = engine.prepare(Request(({"role": "user", "content": "Hi"},)))
        for token in engine.stream(prepared, lambda: False): ...
    """

    def __init__(self, path: str | Path, ships_code: bool = False) -> None:
        super().__init__()
        self.path, self.ships_code = Path(path), ships_code
        self.report = Report()
        self.weights = Weights()
        self.prompt_cache = PromptCache()
        self._guide: constrained.Guide | None = None  # made for the first request with a schema

    # -- loading ------------------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The model as its package made it; None until it is loaded."""
        return self.weights.model

    @property
    def decoder(self) -> Any:
        """What mlx-lm calls: ids or embeddings in, logits out."""
        return self.weights.decoder

    @property
    def expanded(self) -> bool:
        """Whether quantized weights were expanded to fp32."""
        return self.weights.expanded

    @property
    def weight_bytes(self) -> int:
        """Of the weights in memory."""
        return self.weights.count

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self.model is not None

    def load_tokenizer(self) -> None:
        """Verify the folder and read its tokenizer. Raises ModelNotHere or CheckpointRefused."""
        if self._tokenizer is not None:
            return
        config = store.verify(self.path, ships_code=self.ships_code)
        import_mlx_lm()
        from mlx_lm.utils import load_tokenizer

        with self._refusing(_("tokenizer")), quiet_transformers():
            # trust_remote_code=False also keeps transformers from asking; local_files_only from looking online.
            options = {"trust_remote_code": False, "local_files_only": True, **self._tokenizer_options()}
            tokenizer = load_tokenizer(self.path, options)
            inner = tokenizer._tokenizer  # noqa: SLF001 - mlx-lm's wrapper hides what Pieces reads
            pieces, encoder = Pieces(inner), Encoder(inner.backend_tokenizer)
        template = ChatTemplate(inner.chat_template, inner.special_tokens_map, self.path)
        self.config = config
        self.stop_ids = self._find_stop_ids(tokenizer, config)
        self._use(tokenizer, pieces, encoder, template)

    def _tokenizer_options(self) -> dict[str, Any]:
        return {}

    def load(self, tokens: int = 0, views: int = 0) -> None:
        """Read the weights, once.

        tokens, views: of the first request (prompt, answer and pictures), for the memory check.

        Raises NotEnoughMemory before anything is read, CheckpointRefused if the model cannot be built.
        """
        self.load_tokenizer()
        if self.model is not None:
            return
        import mlx.core as mx
        from mlx.utils import tree_flatten

        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        expand = estimate.expands(self.config, store.weight_table(self.path), on_cpu)
        require(self.path, tokens, views=views)
        with self._refusing(_("weights")):
            model, decoder, config = self._read()
        self.config = {**config, **self.config}
        if expand:
            dequantize.apply(model)
        elif on_cpu:
            model.set_dtype(mx.float32)  # 16-bit scales and weights are many times slower on a CPU
        with self._refusing(_("weights")):
            mx.eval(model.parameters())
            # One forward pass here: load() leaves private arrays lazy, and a lazy array can only be evaluated
            # in the thread that made it (ml-explore/mlx-lm#1181).
            mx.eval(decoder(mx.array([[0]])))
        mx.clear_cache()
        arrays = cast("list[tuple[str, mx.array]]", tree_flatten(model.parameters()))
        self.weights.count = sum(array.nbytes for _name, array in arrays)
        self.weights.model, self.weights.decoder, self.weights.expanded = model, decoder, expand

    def _read(self) -> tuple[Any, Any, Config]:
        """The model with its weights, what generates from it, and its config. Runs no code of the checkpoint."""
        raise NotImplementedError

    def _refusing(self, what: str) -> Refusing:
        return Refusing(self.path, what)

    def cache_bytes(self, tokens: int) -> int:
        """Bytes that the KV cache takes for a sequence; see `labs_helper.capacity.estimate.cache_bytes`.

        Example:
            engine.cache_bytes(4096)
        """
        return estimate.cache_bytes(self.config, tokens, self._number_bytes())

    def _number_bytes(self) -> int:
        before_mlx()
        import mlx.core as mx

        return 4 if mx.default_device().type == mx.DeviceType.cpu else 2

    def _find_stop_ids(self, tokenizer: Any, config: Config) -> frozenset[int]:
        """Every id that any of the files names as an end, and Phi's own two."""
        generation = self.path / "generation_config.json"
        named = [config.get("eos_token_id"), list(tokenizer.eos_token_ids)]
        if generation.is_file():
            named.append(store.read_json(generation).get("eos_token_id"))
        return self._stops(tokenizer, *named)

    def close(self) -> None:
        """Give weights, cache and tokenizer back."""
        weights = self.weights
        weights.model = weights.decoder = weights.adapter = self._guide = None
        weights.count = 0
        self._forget_tokenizer()
        self.prompt_cache.clear()
        gc.collect()  # module trees hold themselves in cycles
        if "mlx.core" in sys.modules:
            import mlx.core as mx

            mx.clear_cache()

    # -- generation ---------------------------------------------------------------------------------

    def prepare(self, request: Request) -> Prepared:
        """Check and render a request, and load what is missing for it. Raises a LabError."""
        self.load_tokenizer()
        start = time.perf_counter()
        prepared = self.place(request)
        self._check(prepared)
        if request.schema is not None:
            self._grammar(request.schema)  # refuse it before any weights are read
        seconds = time.perf_counter() - start
        if not self.loaded:
            self.load(prepared.total_tokens, sum(picture.views for picture in prepared.pictures))
        elif (needed := self.cache_bytes(prepared.total_tokens)) > _SMALL_CACHE:
            require_memory(
                needed,
                _("a context of {tokens:,} tokens in {name}").format(tokens=prepared.total_tokens, name=self.path.name),
            )
        return replace(prepared, seconds=seconds)

    def stream(self, prepared: Prepared, cancelled: Callable[[], bool]) -> Generator[Token, None, None]:
        """Generate tokens until a stop token, max_tokens, or until `cancelled()` is true.

        The prompt cache of the last request is reused as far as the new prompt begins with the same ids.
        Afterwards `report` describes the request.
        """
        generation = Generation(self, prepared, cancelled)
        try:
            yield from generation
        finally:
            self.report = generation.report  # last: a question between two tokens has put its own there

    def constraint(self, request: Request) -> constrained.Constraint | None:
        """What keeps the answer of a request to its schema."""
        if request.schema is None:
            return None
        if self._guide is None:
            self._guide = constrained.Guide(self._tokenizer, self.stop_ids)
        return self._guide.constraint(self._grammar(request.schema))

    def _grammar(self, schema: str) -> str:
        return constrained.grammar(schema, self.pieces.strips_first)

    def choose_table(self, total_tokens: int) -> str | None:
        """Install LongRoPE's table for a request of this length and return its name."""
        raise NotImplementedError

    def use_adapter(self) -> None:
        """Put the engine's adapter on, if it has one and another engine of the same weights has changed it."""

    def watch(self, request: Request) -> Watch | None:
        """What looks at the experts during a request; None if the request does not ask for them."""
        return None

    def identities(self, prepared: Prepared) -> tuple[Hashable, ...]:
        """What is at each place of the prompt, for the prompt cache: equal only if it means the same."""
        return prepared.prompt.ids

    def embeddings(self, prepared: Prepared, reused: int, cancelled: Callable[[], bool]) -> Any:
        """What goes into the decoder from place `reused` on, (places, hidden); None for the tokens' own."""
        return None

    def _all_logits(self, ids: Sequence[int], total_tokens: int, embeddings: mx.array | None = None) -> np.ndarray:
        """Raw scores for every place of a sequence in one pass, as an array in fp32."""
        import mlx.core as mx
        import numpy as np

        self.choose_table(total_tokens)
        self.prompt_cache.clear()  # the table in the model may have changed
        options = {} if embeddings is None else {"input_embeddings": embeddings[None]}
        rows = self.decoder(mx.array([list(ids)]), **options)[0]
        return np.array(rows.astype(mx.float32))
