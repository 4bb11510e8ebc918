"""The mlx-lm engine: prompts, stop tokens, sampling, the prompt cache."""

from __future__ import annotations

import dataclasses
import math
import shutil

import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint

from labs_helper.engines.base import Request, Sampling
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.sampling import Picker, nucleus
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, CheckpointRefused, NotEnoughMemory


def ask(text: str, **options) -> Request:
    return Request(({"role": "user", "content": text},), **options)


def run(engine, request, stop_after=None):
    """All tokens of a request, computed in the worker's thread."""

    def work():
        seen = []
        for token in engine.stream(engine.prepare(request), lambda: stop_after is not None and len(seen) >= stop_after):
            seen.append(token)  # noqa: PERF402 - `seen` is looked at while it grows
        return seen

    return WORKER.call(work)


@pytest.fixture
def engine(tiny_checkpoint):
    engine = MLXText(tiny_checkpoint)
    WORKER.call(engine.load_tokenizer)
    yield engine
    WORKER.call(engine.close)


def test_the_prompt_is_the_chat_template_exactly(engine):
    prompt = engine.render(ask("Hi"))
    assert prompt.text == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    assert prompt.pieces == ("<|user|>", "\n", "H", "i", "<|end|>", "\n", "<|assistant|>", "\n")
    assert len(prompt.ids) == len(prompt.pieces)


def test_greedy_tokens_are_the_most_likely_ones(engine):
    """Each token, with its probability and its alternatives, against one forward pass over the whole sequence."""
    request = ask("Hello 长沙", max_tokens=12, top_logprobs=4)
    tokens = run(engine, request)
    prompt = engine.render(request).ids
    logits = WORKER.call(lambda: engine.logits([*prompt, *(t.id for t in tokens)]))
    for place, token in enumerate(tokens, start=len(prompt) - 1):
        row = logits[place].astype(np.float64)
        logprobs = row - np.log(np.exp(row - row.max()).sum()) - row.max()
        assert token.id == int(logprobs.argmax())
        assert token.logprob == pytest.approx(logprobs[token.id], abs=1e-3)
        best = np.argsort(-logprobs)[:4]
        assert [other.id for other in token.top_logprobs] == best.tolist()
        assert [other.logprob for other in token.top_logprobs] == pytest.approx(logprobs[best].tolist(), abs=1e-3)


def test_alternatives_are_those_of_the_untempered_distribution(engine):
    cold = run(engine, ask("Hi", max_tokens=1, top_logprobs=5))[0]
    hot = run(engine, ask("Hi", max_tokens=1, top_logprobs=5, sampling=Sampling(5.0, 0.9, seed=1)))[0]
    assert [(o.id, round(o.logprob, 4)) for o in hot.top_logprobs] == [
        (o.id, round(o.logprob, 4)) for o in cold.top_logprobs
    ]


def test_no_more_alternatives_than_tokens_exist(engine):
    vocabulary = engine.config["vocab_size"]
    token = run(engine, ask("Hi", max_tokens=1, top_logprobs=10_000))[0]
    assert len(token.top_logprobs) == vocabulary
    assert sum(math.exp(other.logprob) for other in token.top_logprobs) == pytest.approx(1, abs=1e-4)


def test_stop_ids_come_from_every_file_and_from_phi_itself(tiny_checkpoint, tmp_path, engine):
    tokenizer = engine._tokenizer
    of_phi = {tokenizer.convert_tokens_to_ids(name) for name in ("<|end|>", "<|endoftext|>", "<|assistant|>")}
    assert of_phi <= engine.stop_ids
    # A checkpoint whose files name only one of them, and not the one that ends an answer.
    bare = shutil.copytree(tiny_checkpoint, tmp_path / "bare")
    (bare / "generation_config.json").unlink()
    lonely = MLXText(bare)
    WORKER.call(lonely.load_tokenizer)
    assert of_phi <= lonely.stop_ids
    (bare / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    third = MLXText(bare)
    WORKER.call(third.load_tokenizer)
    assert of_phi | {7, 8} == third.stop_ids


def test_a_stop_token_ends_the_answer_and_is_no_text(engine):
    request = ask("Hello", max_tokens=20)
    free = run(engine, request)
    fifth = free[4].id
    first = next(i for i, token in enumerate(free) if token.id == fifth)
    engine.stop_ids = frozenset({fifth})
    tokens = run(engine, request)
    assert [t.id for t in tokens] == [t.id for t in free[: first + 1]]
    assert tokens[-1].text == "" and tokens[-1].piece == free[first].piece
    assert engine.report.finish_reason == "stop"


def test_length_and_cancelled(engine):
    assert len(run(engine, ask("Hello", max_tokens=3))) == 3
    assert engine.report.finish_reason == "length"
    assert len(run(engine, ask("Hello", max_tokens=50), stop_after=4)) == 4
    assert engine.report.finish_reason == "cancelled"


def test_seeds(engine):
    def sample(seed, temperature=1.5, top_p=0.95):
        return [t.id for t in run(engine, ask("Hi", max_tokens=16, sampling=Sampling(temperature, top_p, seed)))]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    run(engine, ask("Hi", max_tokens=16, sampling=Sampling(1.5)))
    drawn = engine.report.sampling.seed
    assert sample(drawn, top_p=1.0) == [
        t.id for t in run(engine, ask("Hi", max_tokens=16, sampling=Sampling(1.5, 1.0, drawn)))
    ]
    run(engine, ask("Hi", max_tokens=16, sampling=Sampling(1.5)))
    assert engine.report.sampling.seed != drawn, "without a seed each request draws its own"


def test_sampling_follows_the_distribution(engine):
    """2,000 draws of one token against its probabilities (a chi-squared test far beyond chance)."""

    def draws():
        import mlx.core as mx

        logprobs = mx.log(mx.array([[0.5, 0.3, 0.15, 0.05]]))
        counts = [0] * 4
        for seed in range(2000):
            counts[Picker(Sampling(1.0, 1.0, seed), 0)(logprobs).item()] += 1
        return counts

    counts = WORKER.call(draws)
    expected = [1000, 600, 300, 100]
    assert sum((c - e) ** 2 / e for c, e in zip(counts, expected)) < 20


def test_nucleus():
    def kept(top_p):
        import mlx.core as mx

        return [bool(x > -100) for x in nucleus(mx.log(mx.array([[0.1, 0.6, 0.05, 0.25]])), top_p)[0].tolist()]

    assert WORKER.call(kept, 0.5) == [False, True, False, False]
    assert WORKER.call(kept, 0.7) == [False, True, False, True]
    assert WORKER.call(kept, 0.90) == [True, True, False, True]
    assert WORKER.call(kept, 0.99) == [True, True, True, True]
    assert WORKER.call(kept, 1e-9) == [False, True, False, False], "the best token always stays"


def test_the_nucleus_is_mlx_lms_own():
    def both():
        import mlx.core as mx
        from mlx_lm.sample_utils import apply_top_p

        logits = mx.random.normal((1, 200), key=mx.random.key(4)) * 3
        logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        return [(nucleus(logprobs, p).tolist(), apply_top_p(logprobs, p).tolist()) for p in (0.3, 0.8, 0.95)]

    for ours, theirs in WORKER.call(both):
        assert ours == theirs


def test_a_second_turn_reuses_the_cache(engine):
    first = run(engine, ask("Hello there", max_tokens=20))
    whole = engine.report.prompt_tokens + len(first)
    turn = Request(
        (
            {"role": "user", "content": "Hello there"},
            {"role": "assistant", "content": "".join(t.text for t in first)},
            {"role": "user", "content": "And Kenya?"},
        ),
        max_tokens=8,
    )
    # The random model's bytes need not be text, so the answer's tokens may differ; the first prompt never does.
    again = run(engine, turn)
    assert engine.report.cached_tokens >= whole - len(first)
    with_cache = [t.id for t in again]
    engine.prompt_cache.clear()
    assert [t.id for t in run(engine, turn)] == with_cache
    assert engine.report.cached_tokens == 0


def test_a_conversation_of_known_tokens_prefills_only_the_new_turn(engine):
    """The true cache offset: everything generated is reused, although mlx-lm runs one token ahead."""
    request = ask("Hello there", max_tokens=10)
    tokens = run(engine, request)
    ids = [*engine.render(request).ids, *(t.id for t in tokens)]
    assert list(engine.prompt_cache._ids) == ids
    assert WORKER.call(lambda: {layer.offset for layer in engine.prompt_cache._cache}) == {len(ids)}


@pytest.mark.parametrize("after", [0, 1, 5])
def test_the_cache_is_right_after_a_stop(engine, after):
    request = ask("Hello there", max_tokens=30)
    full = [t.id for t in run(engine, request)]
    run(engine, request, stop_after=after)
    assert len(engine.prompt_cache._ids) == WORKER.call(lambda: engine.prompt_cache._cache[0].offset)
    assert [t.id for t in run(engine, request)] == full


def test_the_cache_is_dropped_when_the_rope_table_changes(engine):
    run(engine, ask("Hello there", max_tokens=10))
    assert engine.report.rope_table == "short"
    run(engine, ask("Hello there", max_tokens=120))
    assert (engine.report.rope_table, engine.report.cached_tokens) == ("long", 0)
    run(engine, ask("Hello there", max_tokens=120))
    assert engine.report.cached_tokens > 0


def test_an_unrelated_prompt_starts_afresh(engine):
    run(engine, ask("Hello there", max_tokens=5))
    lone = MLXText(engine.path)
    other = ask("Something else", max_tokens=10)
    assert [t.id for t in run(engine, other)] == [t.id for t in run(lone, other)]


def test_prefill_can_be_stopped_between_chunks(engine, monkeypatch):
    monkeypatch.setattr("labs_helper.engines.generation.CHUNK_CPU", 16)
    monkeypatch.setattr("labs_helper.engines.generation.CHUNK_GPU", 16)
    request = ask("abcdefgh " * 12, max_tokens=5)
    calls = []

    def cancelled():
        calls.append(1)
        return len(calls) >= 3

    assert WORKER.call(lambda: list(engine.stream(engine.prepare(request), cancelled))) == []
    assert engine.report.finish_reason == "cancelled"
    assert 0 < len(engine.prompt_cache._ids) < engine.report.prompt_tokens
    again = [t.id for t in run(engine, request)]
    assert engine.report.cached_tokens > 0
    assert again == [t.id for t in run(MLXText(engine.path), request)]


def test_a_request_inside_a_request_does_not_share_its_cache(engine):
    outer, inner = ask("Hello there", max_tokens=8), ask("Something else", max_tokens=8)

    def nested():
        seen = []
        for token in engine.stream(engine.prepare(outer), lambda: False):
            seen.append(token.id)
            if len(seen) == 3:
                inside = [t.id for t in engine.stream(engine.prepare(inner), lambda: False)]
        return seen, inside

    seen, inside = WORKER.call(nested)
    assert seen == [t.id for t in run(MLXText(engine.path), outer)]
    assert inside == [t.id for t in run(MLXText(engine.path), inner)]


def test_a_padded_vocabulary_does_no_harm(tmp_path):
    """The real Phi-3.5 has 53 rows that stand for no token; a random model often picks such rows."""
    engine = MLXText(make_tiny_checkpoint(tmp_path / "padded", vocab_padding=300))
    length = WORKER.call(lambda: engine.load_tokenizer() or len(engine._tokenizer))
    tokens = run(engine, ask("Hello", max_tokens=80, sampling=Sampling(1.0, 1.0, seed=1), top_logprobs=3))
    beyond = [t for t in tokens if t.id >= length]
    assert beyond and all(t.text == "" and t.piece == f"<id {t.id}>" for t in beyond)


def test_too_long_a_request(engine):
    with pytest.raises(BadRequest, match="context of 512"):
        run(engine, ask("Hello", max_tokens=510))
    with pytest.raises(BadRequest, match="context of 512"):
        run(engine, ask("Hello " * 400, max_tokens=5))
    assert not engine.loaded, "a request that cannot work does not load the weights"
    assert run(engine, ask("Hello", max_tokens=2))


def test_not_enough_memory(engine, monkeypatch):
    monkeypatch.setattr("labs_helper.capacity.limits.free", lambda: 2**20)
    with pytest.raises(NotEnoughMemory, match=r"release\(\)"):
        run(engine, ask("Hello", max_tokens=2))
    assert not engine.loaded
    monkeypatch.undo()
    assert run(engine, ask("Hello", max_tokens=2))


def test_the_cache_counts_when_the_model_is_loaded_already(engine, monkeypatch):
    run(engine, ask("Hello", max_tokens=2))
    monkeypatch.setattr(engine, "cache_bytes", lambda tokens: 10**15)
    with pytest.raises(NotEnoughMemory, match="context of"):
        run(engine, ask("Hello", max_tokens=2))


def test_cache_bytes(engine):
    # 2 tensors x 2 layers x 2 heads x 32 numbers x 4 bytes, room made for 256 tokens at a time
    assert engine.cache_bytes(1) == engine.cache_bytes(256) == 2 * 2 * 2 * 32 * 4 * 256
    assert engine.cache_bytes(257) == 2 * engine.cache_bytes(256)


def test_weights_that_do_not_fit_the_config(tmp_path):
    import json

    folder = make_tiny_checkpoint(tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(CheckpointRefused, match="weights"):
        run(MLXText(folder), ask("Hello"))


def test_a_tokenizer_that_cannot_be_used(tmp_path):
    folder = make_tiny_checkpoint(tmp_path / "odd")
    (folder / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(CheckpointRefused, match="tokenizer"):
        run(MLXText(folder), ask("Hello"))
    make_tiny_checkpoint(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(CheckpointRefused, match="chat template"):
        run(MLXText(folder), ask("Hello"))


def test_sixteen_bit_checkpoints_answer_in_fp32_on_a_cpu(tmp_path):
    engine = MLXText(make_tiny_checkpoint(tmp_path / "half", quantized=False, dtype="bfloat16"))
    assert run(engine, ask("Hello", max_tokens=2))

    def kinds():
        import mlx.core as mx
        from mlx.utils import tree_flatten

        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        return on_cpu, {str(value.dtype) for _, value in tree_flatten(engine.model.parameters())}

    on_cpu, dtypes = WORKER.call(kinds)
    if on_cpu:
        assert dtypes == {"mlx.core.float32"}


def test_closing_gives_the_memory_back(engine):
    import mlx.core as mx

    run(engine, ask("Hello", max_tokens=2))
    assert engine.loaded and engine.weight_bytes > 0
    before = mx.get_active_memory()
    held = engine.weight_bytes
    WORKER.call(engine.close)
    assert not engine.loaded and engine.weight_bytes == 0
    assert mx.get_active_memory() <= before - held
    assert run(engine, ask("Hello", max_tokens=2)), "and it can be loaded again"


@pytest.mark.posix
def test_importing_mlx_lm_leaves_the_limit_of_open_files_alone():
    """mlx_lm lowers it to 4096 when it is imported; this process has imported it through the engine."""
    import resource
    import subprocess
    import sys

    code = (
        "import resource\nhard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "from labs_helper.engines.mlx_text import import_mlx_lm\nimport_mlx_lm()\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard, resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "assert resource.setrlimit.__module__ == 'resource'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 4096:
        pytest.skip("the limit here is so low that the test says nothing")


def test_requests_are_values():
    assert ask("a") == ask("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ask("a").max_tokens = 3
