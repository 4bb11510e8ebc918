"""Text models through mlx-lm: phi3 and phimoe.

Everything here runs in the worker's thread (labs_helper.worker), except `render` and `encode` once the
tokenizer is there: they touch no MLX array.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from labs_helper import machine, store
from labs_helper.corrections import before_mlx, dequantize, limits, longrope
from labs_helper.engines.base import Alternative, Prompt, Report, Request, Token
from labs_helper.engines.pieces import Pieces
from labs_helper.errors import BadRequest, CheckpointRefused

# Stop tokens that Phi uses whatever the files say: several published conversions name only one of them.
ALWAYS_STOP = ("<|end|>", "<|endoftext|>")
PREFILL_CHUNK_CPU = 512  # tokens; Stop is heard between chunks, and a chunk on a CPU takes a while
PREFILL_CHUNK_GPU = 2048  # mlx-lm's own


class _Stopped(Exception):
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


class MLXText:
    """One checkpoint in mlx-lm. Cheap to make; tokenizer and weights are read when first needed.

    path: the checkpoint folder.
    ships_code: see `labs_helper.store.verify`.

    Example:
        engine = MLXText("data/checkpoints/instruct-tiny")
        for token in engine.stream(Request(({"role": "user", "content": "Hi"},)), lambda: False): ...
    """

    def __init__(self, path: str | Path, ships_code: bool = False):
        self.path, self.ships_code = Path(path), ships_code
        self.report = Report()
        self.config: dict = {}
        self.expanded = False  # whether quantized weights were expanded to fp32
        self.bytes = 0  # of the weights in memory
        self._model = self._tokenizer = self._pieces = None
        self._stop_ids: frozenset[int] = frozenset()
        self._cache, self._cache_ids, self._cache_table = None, (), None
        self._rendered: tuple[Request, Prompt] | None = None
        self._tokenizing = threading.Lock()  # fast tokenizers do not like two threads at once

    # -- loading ------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    @property
    def tokenizer_ready(self) -> bool:
        """Whether text can be turned into tokens without the worker."""
        return self._tokenizer is not None

    @property
    def context(self) -> int | None:
        """The longest sequence of the model in tokens (prompt and answer together)."""
        return self.config.get("max_position_embeddings")

    def load_tokenizer(self) -> None:
        """Verify the folder and read its tokenizer. Raises ModelNotHere or CheckpointRefused."""
        if self._tokenizer is not None:
            return
        config = store.verify(self.path, ships_code=self.ships_code)
        import_mlx_lm()
        from mlx_lm.utils import load_tokenizer

        with self._refusing("tokenizer"), _quiet_transformers():
            # trust_remote_code=False also keeps transformers from asking; local_files_only from looking online.
            tokenizer = load_tokenizer(self.path, {"trust_remote_code": False, "local_files_only": True})
            pieces = Pieces(tokenizer._tokenizer)
            if not tokenizer.has_chat_template:
                raise ValueError("it has no chat template")
        self.config, self._pieces = config, pieces
        self._stop_ids = self._find_stop_ids(tokenizer, config)
        self._tokenizer = tokenizer

    def load(self, tokens: int = 0) -> None:
        """Read the weights, once. `tokens`: the context that will be needed at once, for the memory check.

        Raises NotEnoughMemory before anything is read, CheckpointRefused if mlx-lm cannot build the model.
        """
        if self._model is not None:
            return
        self.load_tokenizer()
        import mlx.core as mx
        from mlx.utils import tree_flatten
        from mlx_lm.utils import load_model

        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        expand, weights = self._plan_weights(on_cpu)
        machine.require_memory(weights + self.cache_bytes(tokens), f"{self.path.name} with {tokens:,} tokens")
        with self._refusing("weights"):
            model, config = load_model(self.path, trust_remote_code=False)
        self.config = {**config, **self.config}
        if expand:
            dequantize.apply(model)
        elif on_cpu:
            model.set_dtype(mx.float32)  # 16-bit scales and weights are many times slower on a CPU
        with self._refusing("weights"):
            mx.eval(model.parameters())
            # One forward pass here: load() leaves private arrays lazy, and a lazy array can only be evaluated
            # in the thread that made it (ml-explore/mlx-lm#1181).
            mx.eval(model(mx.array([[0]])))
        mx.clear_cache()
        self.bytes = sum(value.nbytes for _, value in tree_flatten(model.parameters()))
        self._model, self.expanded = model, expand

    def _refusing(self, what: str):
        return _Refusing(self.path, what)

    def _plan_weights(self, on_cpu: bool) -> tuple[bool, int]:
        """Whether to expand the weights, and the bytes they will take."""
        table = store.weight_table(self.path)
        quantization = self.config.get("quantization") or {}
        packed = any(entry["dtype"] == "U32" for entry in table.values())
        fp32 = dequantize.expanded_bytes(table, quantization.get("bits", 4))
        if packed and dequantize.wanted(fp32, on_cpu):
            return True, fp32
        total = 0
        for entry in table.values():
            first, last = entry["data_offsets"]
            half = on_cpu and entry["dtype"] in ("F16", "BF16")
            total += (last - first) * (2 if half else 1)
        return False, total

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
            named.append(store._read_json(generation).get("eos_token_id"))
        ids = set()
        for entry in named:
            for id in entry if isinstance(entry, list) else [entry]:
                if isinstance(id, int):
                    ids.add(id)
        known = tokenizer.get_vocab()
        ids.update(known[name] for name in ALWAYS_STOP if name in known)
        return frozenset(ids)

    def close(self) -> None:
        """Give weights, cache and tokenizer back."""
        self._model = self._tokenizer = self._pieces = self._rendered = None
        self._cache, self._cache_ids, self._cache_table = None, (), None
        self.bytes = 0
        gc.collect()  # module trees hold themselves in cycles
        if "mlx.core" in sys.modules:
            import mlx.core as mx

            mx.clear_cache()

    # -- prompts ------------------------------------------------------------------------------------

    def render(self, request: Request) -> Prompt:
        """The exact prompt of a request: chat template, token ids, readable pieces."""
        kept = self._rendered
        if kept is not None and kept[0] is request:
            return kept[1]
        tokenizer = self._tokenizer
        with self._tokenizing:
            text = tokenizer.apply_chat_template(
                [dict(message) for message in request.messages], add_generation_prompt=True, tokenize=False
            )
        prompt = self.encode(text)
        self._rendered = (request, prompt)
        return prompt

    def encode(self, text: str) -> Prompt:
        """A text as it is, without template, as tokens."""
        with self._tokenizing:
            ids = tuple(self._tokenizer.encode(text, add_special_tokens=False))
        return Prompt(text, ids, tuple(self._pieces.readable(id) for id in ids))

    def _check(self, request: Request, prompt: Prompt) -> None:
        asked, room = len(prompt) + request.max_tokens, self.context
        if room is not None and asked > room:
            raise BadRequest(
                f"The prompt has {len(prompt):,} tokens and max_tokens is {request.max_tokens:,}; together they "
                f"are more than the model's context of {room:,}.",
                "Shorten the prompt, start a new conversation, or lower max_tokens.",
            )

    def prepare(self, request: Request) -> None:
        """Check the request and load what is missing for it. Raises a LabError."""
        self.load_tokenizer()
        prompt = self.render(request)
        self._check(request, prompt)
        total = len(prompt) + request.max_tokens
        if not self.loaded:
            self.load(total)
            return
        needed = self.cache_bytes(total)
        if needed > 256 * 2**20:  # asking the system costs more than a small cache
            machine.require_memory(needed, f"a context of {total:,} tokens in {self.path.name}")

    # -- generation ---------------------------------------------------------------------------------

    def stream(self, request: Request, cancelled: Callable[[], bool]) -> Iterator[Token]:
        """Generate tokens until a stop token, max_tokens, or until `cancelled()` says so.

        The prompt cache of the last request is reused as far as the new prompt begins with the same ids.
        Afterwards `report` tells how it went.
        """
        start = time.perf_counter()
        self.prepare(request)
        prompt = self.render(request)
        import mlx.core as mx
        from mlx_lm.generate import generate_step, generation_stream, wired_limit

        sampling = request.sampling
        if sampling.temperature > 0 and sampling.seed is None:
            sampling = replace(sampling, seed=int.from_bytes(os.urandom(4), "little"))
        table = longrope.apply(self._model, self.config, len(prompt) + request.max_tokens)
        cache, reused = self._take_cache(prompt.ids, table)
        report = self.report = Report(
            prompt=prompt, prompt_tokens=len(prompt), cached_tokens=reused, rope_table=table, sampling=sampling
        )
        mx.reset_peak_memory()
        picker = _Picker(sampling, min(request.alternatives, self.config["vocab_size"]))
        text = self._pieces.stream()
        generated: list[int] = []

        def progress(done: int, total: int) -> None:
            if done < total and cancelled():
                raise _Stopped

        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        steps = generate_step(
            mx.array(prompt.ids[reused:]), self._model, max_tokens=request.max_tokens, sampler=picker,
            prompt_cache=cache, prompt_progress_callback=progress,
            prefill_step_size=PREFILL_CHUNK_CPU if on_cpu else PREFILL_CHUNK_GPU,
        )  # fmt: skip
        keep = False
        try:
            with wired_limit(self._model, [generation_stream]):
                report.finish_reason = "length"
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
                    yield Token(
                        "" if stop else text.add(id), id, logprob,
                        tuple(Alternative(self._pieces.readable(i), i, p) for i, p in others),
                        self._pieces.readable(id),
                    )  # fmt: skip
                    if stop:
                        break
            keep = True
        except _Stopped:
            report.finish_reason = "cancelled"
            keep = True
        except GeneratorExit:
            report.finish_reason = "cancelled"
            keep = True
            raise
        finally:
            steps.close()
            report.seconds = time.perf_counter() - start
            report.peak_memory = mx.get_peak_memory()
            if keep:
                self._keep_cache(cache, (*prompt.ids, *generated), table)

    def _take_cache(self, ids: tuple[int, ...], table: str | None):
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
        return make_prompt_cache(self._model), 0

    def _keep_cache(self, cache, ids: tuple[int, ...], table: str | None) -> None:
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

    def logits(self, ids, max_tokens: int = 0):
        """The model's raw scores for every place of a sequence: an array of (len(ids), vocabulary) in fp32.

        ids: token ids.
        max_tokens: tokens that would still follow; decides the LongRoPE table together with the ids.

        Example:
            engine.logits([1, 2, 3]).shape      # (3, 2304)
        """
        self.load(len(ids))
        import mlx.core as mx
        import numpy as np

        longrope.apply(self._model, self.config, len(ids) + max_tokens)
        # The table in the model may have changed, so the cache of the last request is no longer its own.
        self._cache, self._cache_ids, self._cache_table = None, (), None
        return np.array(self._model(mx.array([list(ids)]))[0].astype(mx.float32))


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


class _Refusing:
    """Turns the many exceptions of a broken checkpoint into one sentence."""

    # What mlx-lm, mlx and transformers raise for wrong shapes, missing keys, unreadable or absent files.
    KINDS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, RuntimeError, AssertionError)

    def __init__(self, path: Path, what: str):
        self.path, self.what = path, what

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, self.KINDS):
            raise CheckpointRefused(
                f"The {self.what} in {self.path} cannot be used ({type(error).__name__}: {error}).",
                "Copy the whole checkpoint again, or choose another one.",
            ) from error
        return False


class _Picker:
    """The sampler given to mlx-lm. It also computes, in the same pass, the numbers we show.

    Reading a probability afterwards would mean one more wait for the device at every token. Each call queues
    its results; `facts` takes them in order, since mlx-lm calls the sampler one token ahead.

    Top-p is applied to the model's own distribution and the temperature after it, as mlx-lm does. Each token
    has its own random key made of seed and place, so an answer depends on nothing but its seed.
    """

    def __init__(self, sampling, alternatives: int):
        self.sampling, self.alternatives = sampling, alternatives
        self._facts: deque = deque()
        self._place = 0

    def __call__(self, logprobs):
        import mlx.core as mx

        if logprobs.dtype != mx.float32:
            # 16-bit logarithms are coarse; make them a proper distribution in fp32 again.
            logprobs = logprobs.astype(mx.float32)
            logprobs = logprobs - mx.logsumexp(logprobs, axis=-1, keepdims=True)
        token = self._pick(mx, logprobs)
        facts = [mx.take_along_axis(logprobs, token[:, None], axis=-1)]
        if self.alternatives:
            best = mx.argsort(-logprobs, axis=-1)[:, : self.alternatives]
            facts += [best, mx.take_along_axis(logprobs, best, axis=-1)]
        mx.async_eval(token, facts)
        self._facts.append(facts)
        return token

    def _pick(self, mx, logprobs):
        how = self.sampling
        if how.temperature == 0:
            return mx.argmax(logprobs, axis=-1)
        if how.top_p < 1:
            logprobs = nucleus(logprobs, how.top_p)
        key = mx.random.key((how.seed << 32) | self._place)
        self._place += 1
        return mx.random.categorical(logprobs / how.temperature, key=key)

    def facts(self) -> tuple[float, list[tuple[int, float]]]:
        """Log-probability of the next token in order, and the best tokens at its place."""
        picked, *others = self._facts.popleft()
        pairs = list(zip(others[0][0].tolist(), others[1][0].tolist(), strict=True)) if others else []
        return picked.item(), pairs


def nucleus(logprobs, top_p: float):
    """Log-probabilities with everything outside the nucleus at minus infinity.

    logprobs: (1, vocabulary). top_p: in (0, 1). The nucleus is the smallest set of most likely tokens whose
    probabilities sum to at least top_p (Holtzman et al. 2019, arXiv:1904.09751).

    Example:
        nucleus(mx.log(mx.array([[0.6, 0.3, 0.1]])), 0.8)      # the last one becomes -inf
    """
    import mlx.core as mx

    ranked = mx.sort(logprobs, axis=-1)[:, ::-1]
    before = mx.cumsum(mx.exp(ranked), axis=-1, inclusive=False)  # mass of the better tokens
    kept = mx.sum(before < top_p, axis=-1, keepdims=True)
    threshold = mx.take_along_axis(ranked, kept - 1, axis=-1)
    return mx.where(logprobs < threshold, -float("inf"), logprobs)
