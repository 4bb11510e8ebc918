"""Text models in GGUF files through llama.cpp: phi3 and phimoe, on machines where MLX has no GPU.

The package is xllamacpp: llama.cpp's own server as a library. It cannot run without listening
on 127.0.0.1, so a random key protects it. The prompt is made here, as for every engine, and goes in as token ids.

Three corrections are made here:

table    llama.cpp takes LongRoPE's long table as soon as its *context* is longer than the original length, however
         short the request is (src/llama-model.cpp, `get_rope_factors`). So the context is opened at the original
         length for requests that fit there, and again, longer, for those that do not.
bytes    Tokens that are a part of a character are not announced (tools/server, `process_token`); their bytes come with
         the token that completes it. They are put back from those, without a probability (NaN).
threads  On a small model the threads spend their time waiting for each other: one is enough below 64 MB of weights.

One thing is not corrected, because only llama.cpp's graph could: phimoe is computed with another norm and another
mixture of experts than it was trained with (docs/upstream/phimoe_graph.py).
"""

from __future__ import annotations

import gc
import math
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from labs_helper import store
from labs_helper.capacity import limits
from labs_helper.capacity.require import require
from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.engines import gguf_tokenizer
from labs_helper.engines.base import Candidate, Prepared, Report, Request, Sampling, Token
from labs_helper.engines.chat_template import ChatTemplate
from labs_helper.engines.encoder import Encoder
from labs_helper.engines.pieces import Pieces
from labs_helper.engines.prompts import Prompts
from labs_helper.engines.refusing import Refusing
from labs_helper.errors import BadRequest, CheckpointRefused, LabError, NotEnoughMemory
from labs_helper.store import gguf

Chunk = dict[str, Any]  # what llama.cpp's server sends for each step, as JSON

PREFILL_CHUNK = 256  # tokens; Stop is heard between chunks
SMALL = 64_000_000  # bytes of weights that one thread computes best
_STEP = 256  # llama.cpp rounds its context up to a multiple of this
_USUAL = 2048  # tokens of a context that is opened for a shorter request, so that a conversation has room to grow


def package(instead: str) -> Any:
    """Import llama.cpp's package, or say what keeps it from this machine.

    The model servers ask for it too, before they start a process: that would end silently (no AVX2), or with a
    traceback in its log only (no libgomp).

    Args:
        instead: what to do on a processor that it was not made for.

    Returns:
        The module xllamacpp.

    Raises:
        LabError: it is not installed, this processor has no AVX2, or the system lacks a library that it asks for.

    Example:
        package("Use the bundled models.")
    """
    if not platforms.has_llama_cpp():
        raise LabError(_("llama.cpp is not installed."), _("Install it: pip install 'labs-helper[x86]'."))
    if platforms.lacks_avx2():
        raise LabError(_("llama.cpp's package needs a processor with AVX2, and this one has none."), instead)
    try:
        import xllamacpp
    except ImportError as error:  # its wheel for Linux leaves the library of OpenMP to the system
        raise LabError(
            _("llama.cpp does not start here ({reason}).").format(reason=error),
            _("On Debian or Ubuntu: sudo apt-get install libgomp1. Elsewhere install xllamacpp again."),
        ) from error
    return xllamacpp


class LlamaCpp(Prompts):
    """One GGUF file in llama.cpp. Cheap to make; the front of the file and the weights are read when first needed.

    path: the folder of the file.
    threads: of the computation; None leaves it to llama.cpp, which takes the real cores.
    exact: compute attention and keep its cache in fp32, to compare engines. Slower, and twice the cache.

    Example:
        engine = LlamaCpp("models/phi-3.5-mini-instruct-q4-gguf")
        prepared = engine.prepare(Request(({"role": "user", "content": "Hi"},)))
        for token in engine.stream(prepared, lambda: False): ...
    """

    def __init__(
        self,
        path: str | Path,
        threads: int | None = None,
        exact: bool = False,
        ships_code: bool = False,
        adapter: Path | None = None,
    ):
        super().__init__()
        self.adapter = adapter
        self.path, self.threads, self.exact, self.ships_code = Path(path), threads, exact, ships_code
        self.report = Report()
        self.weight_bytes = 0  # of the weights in memory
        self._front: gguf.Gguf | None = None  # what stands at the front of the file
        self._server: Any = None
        self._room = 0  # tokens of the open context
        self._call: threading.Thread | None = None

    # -- loading ------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._server is not None

    def load_tokenizer(self) -> None:
        """Verify the folder and read the vocabulary. Raises ModelNotHere or CheckpointRefused."""
        if self._tokenizer is not None:
            return
        store.verify(self.path, ships_code=self.ships_code)
        file = store.gguf_file(self.path)
        if file is None:
            raise CheckpointRefused(
                _("There is no GGUF file in {folder}.").format(folder=self.path), _("Name the folder that holds one.")
            )
        self._front = gguf.read(file)
        self.config = self._front.config()
        with Refusing(self.path, _("tokenizer")):
            tokenizer = gguf_tokenizer.load(self._front)
            pieces, encoder = Pieces(tokenizer), Encoder(tokenizer.backend_tokenizer)
        template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens_map, file)
        named = [self._front.settings.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot")]
        self.stop_ids = self._stops(tokenizer, *named)
        self._use(tokenizer, pieces, encoder, template)

    @property
    def front(self) -> gguf.Gguf:
        """The settings at the front of the file; `load_tokenizer` reads them."""
        assert self._front is not None, "load_tokenizer() comes first"
        return self._front

    def table_for(self, total_tokens: int) -> str | None:
        """LongRoPE's table for a request of this length: "short", "long", or None for a model without.

        Example:
            engine.table_for(5000)      # 'long' for Phi-3.5-mini
        """
        return None if not self.front.tables else "short" if total_tokens <= self._short_room() else "long"

    def _short_room(self) -> int:
        # llama.cpp rounds a context up, and one above the original length would get the long table.
        original: int = self.config["original_max_position_embeddings"]
        return original // _STEP * _STEP

    def load(self, tokens: int = 0) -> None:
        """Open the file with a context for `tokens`, unless it is open with one that will do.

        Raises NotEnoughMemory before anything is read, CheckpointRefused if llama.cpp cannot use the file.
        """
        self.load_tokenizer()
        table = self.table_for(tokens)
        if self._server is not None and tokens <= self._room and table == self.table_for(self._room):
            return
        most = self._short_room() if table == "short" else -(-self.config["max_position_embeddings"] // _STEP) * _STEP
        least = self._short_room() + _STEP if table == "long" else _STEP
        needed = min(most, max(least, -(-tokens // _STEP) * _STEP))
        usual = min(most, max(needed, _USUAL))
        if self._server is not None:
            self._end_server()  # before the memory is asked for: the old context goes first
        try:
            require(self.path, usual)
        except NotEnoughMemory:
            require(self.path, needed)
            usual = needed
        self._server = self._open(usual)
        self._room, self.weight_bytes = usual, self.front.file.stat().st_size

    def _open(self, room: int) -> Any:
        xllamacpp = package(_("Use the bundled models, or a server on another computer (LABS_ENDPOINT)."))
        options = xllamacpp.CommonParams()
        options.model.path = str(self.front.file)
        options.n_ctx, options.n_parallel = room, 1
        options.n_batch = options.n_ubatch = PREFILL_CHUNK
        threads = self.threads or (1 if self.front.file.stat().st_size < SMALL else 0)
        if threads:
            options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
        if self.exact:
            options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            options.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if self.adapter is not None:
            lora = xllamacpp.CommonAdapterLoraInfo()
            lora.path, lora.scale = str(self.adapter), 1.0
            options.lora_adapters = [lora]
        options.fit_params = options.warmup = options.ctx_shift = False
        options.cache_ram_mib = 0  # else finished prompts are kept in up to 8 GB
        options.verbosity = 0
        options.hostnames, options.api_keys = ["127.0.0.1"], [secrets.token_hex(32)]
        options.ui = options.endpoint_slots = options.endpoint_props = False
        try:
            return xllamacpp.Server(options)
        except RuntimeError as error:
            raise CheckpointRefused(
                _("llama.cpp cannot use {file}.").format(file=self.front.file),
                _("Copy or download it again, or use another model."),
            ) from error

    def _end_server(self) -> None:
        if self._call is not None:
            self._call.join()
        self._server, self._room, self.weight_bytes, self._call = None, 0, 0, None
        gc.collect()

    def close(self) -> None:
        """Give weights, cache and vocabulary back."""
        self._end_server()
        self._forget_tokenizer()
        self._front = None

    def prepare(self, request: Request) -> Prepared:
        """Check and render a request, and load what is missing for it. Raises a LabError."""
        if request.images:
            raise BadRequest(_("This engine takes no pictures."), _('Use a model that takes pictures: load("vision").'))
        if request.schema is not None:
            # Its grammars do not know the space that begins an answer, and are silently dropped there.
            raise BadRequest(
                _("llama.cpp cannot hold this model to a schema."), _("Use the same model in MLX's format.")
            )
        self.load_tokenizer()
        start = time.perf_counter()
        prepared = self.place(request)
        self._check(prepared)
        seconds = time.perf_counter() - start
        self.load(prepared.total_tokens)
        return replace(prepared, seconds=seconds)

    # -- generation ---------------------------------------------------------------------------------

    def stream(self, prepared: Prepared, cancelled: Callable[[], bool]) -> Generator[Token, None, None]:
        """Generate tokens until a stop token, max_tokens, or until `cancelled()` says so.

        llama.cpp keeps the last request's cache and reuses it as far as the new prompt begins with the same ids.
        Afterwards `report` tells how it went.
        """
        start = time.perf_counter() - prepared.seconds
        request, prompt = prepared.request, prepared.prompt
        sampling = request.sampling.seeded()
        report = self.report = Report(
            prompt=prompt,
            prompt_tokens=len(prompt),
            sampling=sampling,
            rope_table=self.table_for(prepared.total_tokens),
        )
        text, first = self.pieces.stream(), True
        leave = threading.Event()
        chunks: SimpleQueue[Chunk | None] = SimpleQueue()
        self._call = threading.Thread(
            target=_complete,
            args=(self._server, self._completion(request, prompt.ids, sampling), chunks, leave),
            name="labs-llama",
            daemon=True,
        )
        self._call.start()
        try:
            for chunk in _until(chunks, cancelled):
                report.cached_tokens = (chunk.get("prompt_progress") or {}).get("cache", report.cached_tokens)
                choice = (chunk.get("choices") or [{}])[0]
                entries = (choice.get("logprobs") or {}).get("content") or []
                report.finish_reason = choice.get("finish_reason") or report.finish_reason
                report.generated_tokens = (chunk.get("usage") or {}).get("completion_tokens")
                for entry in entries:
                    if first:
                        report.seconds_to_first_token, first = time.perf_counter() - start, False
                    if cancelled():
                        return
                    for token_id in self._unannounced(entry):
                        yield Token(text.add(token_id), token_id, math.nan, (), self.pieces.readable(token_id))
                    stop = entry["id"] in self.stop_ids
                    if stop:
                        report.finish_reason = "stop"
                    yield self._token(entry, "" if stop else text.add(entry["id"]), request.top_logprobs)
                    if stop:
                        return
        except GeneratorExit:
            report.finish_reason = "cancelled"
            raise
        finally:
            leave.set()
            self._call.join()  # at most one token or one chunk of a prompt: llama.cpp then hears the stop
            report.seconds = time.perf_counter() - start
            report.peak_memory = limits.used()

    def _completion(self, request: Request, ids: tuple[int, ...], sampling: Sampling) -> dict[str, Any]:
        # Only these two samplers, in this order: llama.cpp's defaults would cut and penalise besides.
        return {
            "prompt": list(ids),
            "max_tokens": request.max_tokens,
            "stream": True,
            "cache_prompt": True,
            "return_progress": True,
            "n_probs": max(1, min(request.top_logprobs, self.config["vocab_size"])),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed or 0,
            "samplers": ["top_p", "temperature"],
        }

    def _unannounced(self, entry: Chunk) -> list[int]:
        """The tokens of single bytes that came before this one; -1 for a byte that has no token of its own."""
        all_bytes, own = bytes(entry["bytes"]), self.pieces.bytes_of(entry["id"])
        held = all_bytes[: len(all_bytes) - len(own)] if all_bytes.endswith(own) else b""
        known = self._tokenizer.get_vocab() if held else {}
        return [known.get(f"<0x{byte:02X}>", -1) for byte in held]

    def _token(self, entry: Chunk, text: str, top_logprobs: int) -> Token:
        others = [
            Candidate(self.pieces.readable(other["id"]), other["id"], other["logprob"])
            for other in entry["top_logprobs"][:top_logprobs]
        ]
        return Token(text, entry["id"], entry["logprob"], tuple(others), self.pieces.readable(entry["id"]))


def _complete(
    server: Any, completion: dict[str, Any], chunks: SimpleQueue[Chunk | None], leave: threading.Event
) -> None:
    """Run one request to its end; what comes goes to `chunks`, and None at the end. Stops once `leave` is set."""

    def hear(chunk: Chunk) -> bool:
        chunks.put(chunk)
        return leave.is_set()

    try:
        server.handle_completions(completion, hear)
    except Exception as error:  # it has to reach the thread that waits
        chunks.put({"error": {"message": str(error)}})
    finally:
        chunks.put(None)


def _until(chunks: SimpleQueue[Chunk | None], cancelled: Callable[[], bool]) -> Iterator[Chunk]:
    """The chunks of a request until its end or until `cancelled()`, which is also asked while nothing comes."""
    while not cancelled():
        try:
            chunk = chunks.get(timeout=0.05)
        except Empty:
            continue
        if chunk is None:
            return
        if "error" in chunk:
            raise BadRequest(
                _("llama.cpp refused the request: {reason}.").format(reason=chunk["error"].get("message")),
                _("Change the request, or restart."),
            )
        yield chunk
