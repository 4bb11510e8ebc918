"""One request on its way through mlx-lm: tokens come out, and the report is complete when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from labs_helper.capacity.estimate import CHUNK_CPU, CHUNK_GPU
from labs_helper.engines.base import Candidate, Prepared, Report, Stopped, Token
from labs_helper.engines.experts import while_watching
from labs_helper.engines.sampling import Picker

if TYPE_CHECKING:
    from labs_helper.engines.mlx_base import MLXEngine


class Generation:
    """The run of one prepared request. Iterate over it once; afterwards `report` describes the request.

    Args:
        engine: a loaded engine.
        prepared: from `engine.prepare`.
        cancelled: asked at every token, and between two chunks of the prompt.

    Example:
        for token in Generation(engine, engine.prepare(request), lambda: False): ...
    """

    def __init__(self, engine: MLXEngine, prepared: Prepared, cancelled: Callable[[], bool]) -> None:
        request, prompt = prepared.request, prepared.prompt
        self._started = time.perf_counter() - prepared.seconds
        self._engine, self._prepared, self._cancelled = engine, prepared, cancelled
        self._table = engine.choose_table(prepared.total_tokens)
        self._identities = engine.identities(prepared)
        # A request about experts begins without the cache: what is read from it goes past the routers, and what
        # other experts made would be another context.
        self._watch = engine.watch(request)
        self._cache, self._reused = engine.prompt_cache.take(
            engine.decoder, self._identities if self._watch is None else (), self._table
        )
        sampling = request.sampling.seeded()
        self._picker = Picker(sampling, min(request.top_logprobs, engine.config["vocab_size"]))
        self._constraint = engine.constraint(request)
        self._text = engine.pieces.stream()
        self._generated: list[int] = []
        self._shown = 0  # tokens that the caller has seen
        self.report = Report(
            prompt=prompt,
            prompt_tokens=len(prompt),
            cached_tokens=self._reused,
            rope_table=self._table,
            sampling=sampling,
            image_tokens=prepared.image_tokens,
        )

    def __iter__(self) -> Generator[Token, None, None]:
        import mlx.core as mx

        mx.reset_peak_memory()
        whole = True  # whether the cache is in a state that the next request can use
        steps = self._steps()
        try:
            for token_id in steps:
                if not self._generated:
                    self.report.seconds_to_first_token = time.perf_counter() - self._started
                self._generated.append(token_id)
                if self._cancelled():
                    self.report.finish_reason = "cancelled"
                    return
                stop = token_id in self._engine.stop_ids
                if stop:
                    self.report.finish_reason = "stop"
                self._shown += 1
                yield self._token(token_id, stop)
                if stop:
                    return
                self._engine.use_adapter()  # a callback may have asked the same weights with another one
            if self._constraint is not None and self._constraint.complete:
                self.report.finish_reason = "stop"  # complete, with no room left for the stop token
        except (Stopped, GeneratorExit) as left:
            self.report.finish_reason = "cancelled"
            if isinstance(left, GeneratorExit):
                raise
        except BaseException:
            whole = False
            raise
        finally:
            steps.close()
            self._end(whole)

    def _steps(self) -> Generator[int, None, None]:
        """The ids that mlx-lm generates, up to max_tokens."""
        import mlx.core as mx
        from mlx_lm.generate import generate_step, generation_stream, wired_limit

        engine, prepared = self._engine, self._prepared
        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        with wired_limit(engine.model, [generation_stream]):
            embeddings = engine.embeddings(prepared, self._reused, self._cancelled)
            self.report.finish_reason = "length"
            steps = while_watching(
                self._watch,
                generate_step(
                    mx.array(prepared.prompt.ids[self._reused :]),
                    engine.decoder,
                    max_tokens=prepared.request.max_tokens,
                    sampler=self._picker,
                    logits_processors=None if self._constraint is None else [self._constraint],
                    prompt_cache=self._cache,
                    prompt_progress_callback=self._between_chunks,
                    prefill_step_size=CHUNK_CPU if on_cpu else CHUNK_GPU,
                    input_embeddings=embeddings,
                ),
            )
            try:
                for token_id, _ in steps:
                    yield token_id
            finally:
                steps.close()

    def _between_chunks(self, done: int, total: int) -> None:
        if done < total and self._cancelled():
            raise Stopped
        if self._watch is not None:
            self._watch.settle()

    def _token(self, token_id: int, stop: bool) -> Token:
        pieces = self._engine.pieces
        logprob, best = self._picker.facts()
        return Token(
            text="" if stop else self._text.add(token_id),
            id=token_id,
            logprob=logprob,
            top_logprobs=tuple(Candidate(pieces.readable(other), other, value) for other, value in best),
            piece=pieces.readable(token_id),
        )

    def _end(self, whole: bool) -> None:
        import mlx.core as mx

        report = self.report
        report.seconds = time.perf_counter() - self._started
        report.peak_memory = mx.get_peak_memory()
        if not whole:
            return
        if self._watch is not None and self._watch.record:
            pieces = (*report.prompt.pieces, *(self._engine.pieces.readable(token_id) for token_id in self._generated))
            report.routing = self._watch.routing(report.prompt_tokens + self._shown, pieces, report.prompt_tokens)
        if not self._prepared.request.without_experts:
            self._engine.prompt_cache.keep(self._cache, (*self._identities, *self._generated), self._table)
