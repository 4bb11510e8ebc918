"""What the engines of text and vision share: loading, stop tokens, the prompt cache, streaming.

Everything here runs in the worker's thread (labs_helper.worker), except `render` and `encode` once the
tokenizer is there: they touch no MLX array.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from labs_helper import machine, store
from labs_helper.corrections import before_mlx, dequantize, limits
from labs_helper.engines import constrained
from labs_helper.engines.base import Alternative, Prompt, Report, Request, Token
from labs_helper.engines.experts import Watch, while_watching
from labs_helper.engines.pieces import Pieces
from labs_helper.engines.prompts import Prompts
from labs_helper.engines.sampling import Picker
from labs_helper.errors import CheckpointRefused

PREFILL_CHUNK_CPU = 512  # tokens; Stop is heard between chunks, and a chunk on a CPU takes a while
PREFILL_CHUNK_GPU = 2048  # mlx-lm's own


class Stopped(Exception):
    """Raised inside the prefill to leave it between two chunks."""


def import_mlx_lm():
    """mlx_lm, imported with our corrections in place.

    Example:
        import_mlx_lm().__version__
    """
    before_mlx()
    with limits.keep_file_limit():
        import mlx_lm
    return mlx_lm


class MLXEngine(Prompts):
    """One checkpoint in MLX. Cheap to make; tokenizer and weights are read when first needed.

    path: the checkpoint folder.
    ships_code: see `labs_helper.store.verify`.

    An engine for a kind of model fills in `_read`, `_choose_table` and, if its prompts are more than text, `render`,
    `_identities` and `_embeddings`.

    Example:
        engine = MLXText("data/checkpoints/instruct-tiny")
        for token in engine.stream(Request(({"role": "user", "content": "Hi"},)), lambda: False): ...
    """

    def __init__(self, path: str | Path, ships_code: bool = False):
        super().__init__()
        self.path, self.ships_code = Path(path), ships_code
        self.report = Report()
        self.expanded = False  # whether quantized weights were expanded to fp32
        self.bytes = 0  # of the weights in memory
        self._model = None
        self._decoder = None  # what mlx-lm calls: ids or embeddings in, logits out
        self._cache, self._cache_ids, self._cache_table = None, (), None
        self._guide: constrained.Guide | None = None  # made for the first request with a schema

    # -- loading ------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    def load_tokenizer(self) -> None:
        """Verify the folder and read its tokenizer. Raises ModelNotHere or CheckpointRefused."""
        if self._tokenizer is not None:
            return
        config = store.verify(self.path, ships_code=self.ships_code)
        import_mlx_lm()
        from mlx_lm.utils import load_tokenizer

        with self._refusing("tokenizer"), _quiet_transformers():
            # trust_remote_code=False also keeps transformers from asking; local_files_only from looking online.
            options = {"trust_remote_code": False, "local_files_only": True, **self._tokenizer_options()}
            tokenizer = load_tokenizer(self.path, options)
            pieces = Pieces(tokenizer._tokenizer)
            if not tokenizer.has_chat_template:
                raise ValueError("it has no chat template")
        self.config, self._pieces = config, pieces
        self._stop_ids = self._find_stop_ids(tokenizer, config)
        self._tokenizer = tokenizer

    def _tokenizer_options(self) -> dict:
        return {}

    def load(self, tokens: int = 0) -> None:
        """Read the weights, once. `tokens`: the context that will be needed at once, for the memory check.

        Raises NotEnoughMemory before anything is read, CheckpointRefused if the model cannot be built.
        """
        if self._model is not None:
            return
        self.load_tokenizer()
        import mlx.core as mx
        from mlx.utils import tree_flatten

        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        expand = self._expands(on_cpu)
        machine.require(self.path, tokens)
        with self._refusing("weights"):
            model, decoder, config = self._read()
        self.config = {**config, **self.config}
        if expand:
            dequantize.apply(model)
        elif on_cpu:
            model.set_dtype(mx.float32)  # 16-bit scales and weights are many times slower on a CPU
        with self._refusing("weights"):
            mx.eval(model.parameters())
            # One forward pass here: load() leaves private arrays lazy, and a lazy array can only be evaluated
            # in the thread that made it (ml-explore/mlx-lm#1181).
            mx.eval(decoder(mx.array([[0]])))
        mx.clear_cache()
        self.bytes = sum(value.nbytes for _, value in tree_flatten(model.parameters()))
        self._model, self._decoder, self.expanded = model, decoder, expand

    def _read(self):
        """The model with its weights, what generates from it, and its config. Runs no code of the checkpoint."""
        raise NotImplementedError

    def _refusing(self, what: str):
        return Refusing(self.path, what)

    def _expands(self, on_cpu: bool) -> bool:
        """Whether quantized weights are expanded to fp32 (corrections/dequantize.py)."""
        table = store.weight_table(self.path)
        packed = any(entry["dtype"] == "U32" for entry in table.values())
        group = (self.config.get("quantization") or {}).get("group_size", 64)
        return packed and dequantize.wanted(dequantize.expanded_bytes(table, group), on_cpu)

    def cache_bytes(self, tokens: int) -> int:
        """Bytes that the KV cache takes for a sequence: 2 (keys, values) x layers x KV heads x head size x
        bytes of a number x tokens. mlx-lm makes room for 256 tokens at a time.

        Example:
            engine.cache_bytes(4096)
        """
        config = self.config
        heads = config.get("num_attention_heads") or 1
        kv_heads = config.get("num_key_value_heads") or heads
        head = config.get("hidden_size", 0) // heads
        rows = -(-tokens // 256) * 256
        return 2 * config.get("num_hidden_layers", 0) * kv_heads * head * self._number_bytes() * rows

    def _number_bytes(self) -> int:
        before_mlx()
        import mlx.core as mx

        return 4 if mx.default_device().type == mx.DeviceType.cpu else 2

    def _find_stop_ids(self, tokenizer, config: dict) -> frozenset[int]:
        """Every id that any of the files names as an end, and Phi's own two."""
        generation = self.path / "generation_config.json"
        named = [config.get("eos_token_id"), list(tokenizer.eos_token_ids)]
        if generation.is_file():
            named.append(store.read_json(generation).get("eos_token_id"))
        return self._stops(tokenizer, *named)

    def close(self) -> None:
        """Give weights, cache and tokenizer back."""
        self._model = self._decoder = self._tokenizer = self._pieces = self._rendered = self._guide = None
        self._cache, self._cache_ids, self._cache_table = None, (), None
        self.bytes = 0
        gc.collect()  # module trees hold themselves in cycles
        if "mlx.core" in sys.modules:
            import mlx.core as mx

            mx.clear_cache()

    # -- generation ---------------------------------------------------------------------------------

    def prepare(self, request: Request) -> None:
        """Check the request and load what is missing for it. Raises a LabError."""
        self.load_tokenizer()
        prompt = self.render(request)
        self._check(request, prompt)
        if request.schema is not None:
            self._grammar(request.schema)  # refuse it before any weights are read
        total = len(prompt) + request.max_tokens
        if not self.loaded:
            self.load(total)
            return
        needed = self.cache_bytes(total)
        if needed > 256 * 2**20:  # asking the system costs more than a small cache
            machine.require_memory(needed, f"a context of {total:,} tokens in {self.path.name}")

    def stream(self, request: Request, cancelled: Callable[[], bool]) -> Iterator[Token]:
        """Generate tokens until a stop token, max_tokens, or until `cancelled()` says so.

        The prompt cache of the last request is reused as far as the new prompt begins with the same ids.
        Afterwards `report` tells how it went. A request about experts begins without the cache: what is read
        from it goes past the routers, and what other experts made would be another context.
        """
        start = time.perf_counter()
        self.prepare(request)
        prompt = self.render(request)
        import mlx.core as mx
        from mlx_lm.generate import generate_step, generation_stream, wired_limit

        sampling = request.sampling.seeded()
        table = self._choose_table(len(prompt) + request.max_tokens)
        identities = self._identities(prompt, request)
        watch = self._watch(request)
        cache, reused = self._take_cache(identities if watch is None else (), table)
        report = self.report = Report(
            prompt=prompt, prompt_tokens=len(prompt), cached_tokens=reused, rope_table=table, sampling=sampling,
            images=self._image_tokens(request),
        )  # fmt: skip
        mx.reset_peak_memory()
        picker = Picker(sampling, min(request.alternatives, self.config["vocab_size"]))
        constraint = self._constraint(request)
        text = self._pieces.stream()
        generated: list[int] = []

        def progress(done: int, total: int) -> None:
            if done < total and cancelled():
                raise Stopped
            if watch is not None:
                watch.settle()

        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        steps, keep, seen = None, False, 0
        try:
            with wired_limit(self._model, [generation_stream]):
                steps = generate_step(
                    mx.array(prompt.ids[reused:]), self._decoder, max_tokens=request.max_tokens, sampler=picker,
                    logits_processors=None if constraint is None else [constraint], prompt_cache=cache,
                    prompt_progress_callback=progress,
                    prefill_step_size=PREFILL_CHUNK_CPU if on_cpu else PREFILL_CHUNK_GPU,
                    input_embeddings=self._embeddings(prompt, request, reused, cancelled),
                )  # fmt: skip
                report.finish_reason = "length"
                steps = while_watching(watch, steps)
                for id, _ in steps:
                    if not generated:
                        report.prefill_seconds = time.perf_counter() - start
                    generated.append(id)
                    if cancelled():
                        report.finish_reason = "cancelled"
                        break
                    stop = id in self._stop_ids
                    if stop:
                        report.finish_reason = "stop"
                    logprob, others = picker.facts()
                    seen += 1
                    yield Token(
                        "" if stop else text.add(id), id, logprob,
                        tuple(Alternative(self._pieces.readable(i), i, p) for i, p in others),
                        self._pieces.readable(id),
                    )  # fmt: skip
                    if stop:
                        break
            if constraint is not None and report.finish_reason == "length" and constraint.complete:
                report.finish_reason = "stop"  # only the stop token found no room any more
            keep = True
        except Stopped:
            report.finish_reason = "cancelled"
            keep = True
        except GeneratorExit:
            report.finish_reason = "cancelled"
            keep = True
            raise
        finally:
            if steps is not None:
                steps.close()
            self.report = report  # a question between two tokens has put its own there
            report.seconds = time.perf_counter() - start
            report.peak_memory = mx.get_peak_memory()
            if watch is not None and watch.record and keep:
                report.routing = watch.routing(len(prompt) + seen)
            if keep and not request.without_experts:
                self._keep_cache(cache, (*identities, *generated), table)

    def _constraint(self, request: Request) -> constrained.Constraint | None:
        """What keeps the answer of a request to its schema."""
        if request.schema is None:
            return None
        if self._guide is None:
            self._guide = constrained.Guide(self._tokenizer, self._stop_ids)
        return self._guide.constraint(self._grammar(request.schema))

    def _grammar(self, schema: str) -> str:
        return constrained.grammar(schema, self._pieces.strips_first)

    def _choose_table(self, total_tokens: int) -> str | None:
        """Install LongRoPE's table for a request of this length and return its name."""
        raise NotImplementedError

    def _watch(self, request: Request) -> Watch | None:
        """What looks at the experts during a request; None if the request does not ask for them."""
        return None

    def _identities(self, prompt: Prompt, request: Request) -> tuple:
        """What stands at each place of the prompt, for the prompt cache: equal only if it means the same."""
        return prompt.ids

    def _image_tokens(self, request: Request) -> tuple[int, ...]:
        """Tokens of each picture of a request."""
        return ()

    def _embeddings(self, prompt: Prompt, request: Request, reused: int, cancelled: Callable[[], bool]):
        """What goes into the decoder from place `reused` on, (places, hidden); None for the tokens' own."""
        return None

    def _take_cache(self, ids: tuple, table: str | None):
        """The cache of the last request trimmed to what the new prompt shares with it, and that length."""
        from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache

        cache, known, old_table = self._cache, self._cache_ids, self._cache_table
        # While a request runs nobody else may use its cache: a nested request simply starts with a new one.
        self._cache, self._cache_ids = None, ()
        if cache is not None and old_table == table and can_trim_prompt_cache(cache):
            limit = min(len(known), len(ids) - 1)  # at least one token has to go through the model
            shared = next((n for n in range(limit) if known[n] != ids[n]), limit)
            if shared > 0:
                trim_prompt_cache(cache, len(known) - shared)
                return cache, shared
        return make_prompt_cache(self._decoder), 0

    def _keep_cache(self, cache, ids: tuple, table: str | None) -> None:
        """Remember the cache with the ids that are truly in it.

        mlx-lm computes one token ahead, and a stopped prefill leaves fewer tokens than the prompt has, so the
        cache's own offset decides.
        """
        from mlx_lm.models.cache import trim_prompt_cache

        if not all(hasattr(layer, "offset") for layer in cache):
            return
        offset = cache[0].offset
        if offset > len(ids):
            trim_prompt_cache(cache, offset - len(ids))
            offset = len(ids)
        self._cache, self._cache_ids, self._cache_table = cache, tuple(ids[:offset]), table

    def _all_logits(self, ids, total_tokens: int, embeddings=None):
        """Raw scores for every place of a sequence in one pass, as an array in fp32."""
        import mlx.core as mx
        import numpy as np

        self._choose_table(total_tokens)
        # The table in the model may have changed, so the cache of the last request is no longer its own.
        self._cache, self._cache_ids, self._cache_table = None, (), None
        options = {} if embeddings is None else {"input_embeddings": embeddings[None]}
        rows = self._decoder(mx.array([list(ids)]), **options)[0]
        return np.array(rows.astype(mx.float32))


@contextlib.contextmanager
def _quiet_transformers():
    """transformers warns about config.json keys that matter only to its own models; we want its tokenizer."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class Refusing:
    """Turns the many exceptions of a broken checkpoint into one sentence.

    Example:
        with Refusing(path, "weights"):
            load_model(path)
    """

    # What mlx-lm, mlx and transformers raise for wrong shapes, missing keys, unreadable or absent files.
    KINDS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, RuntimeError, AssertionError)

    def __init__(self, path: Path, what: str):
        self.path, self.what = path, what

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, self.KINDS):
            said = str(error).strip().split("\n")[0][:200]  # MLX names every parameter that does not fit
            raise CheckpointRefused(
                f"The {self.what} in {self.path} cannot be used ({type(error).__name__}: {said}).",
                "Copy the whole checkpoint again, or choose another one.",
            ) from error
        return False
