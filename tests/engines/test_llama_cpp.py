"""instruct-tiny as a GGUF file in llama.cpp, against the same weights in MLX: prompts, numbers, stopping, caching."""

from __future__ import annotations

import json
import shutil
import sys
import time
from itertools import pairwise
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
from near_ties import NEAR, parting

from labs_helper import catalog
from labs_helper.common import platforms
from labs_helper.engines.base import Request, Sampling
from labs_helper.engines.llama_cpp import LlamaCpp
from labs_helper.engines.mlx_text import MLXText
from labs_helper.errors import BadRequest, CheckpointRefused, LabError, NotEnoughMemory
from labs_helper.models.load import load
from labs_helper.serving.gguf_model import convert

pytest.importorskip("xllamacpp", exc_type=ImportError)  # not installed, or without libgomp

TINY = catalog.course_folder() / "data/checkpoints/instruct-tiny"
QUESTIONS = (
    "Where is Changsha?",
    "长沙在哪里?",
    "서울은 어디에 있나요?",
    "¿Dónde está Madrid?",
    "東京はどこにありますか。",
    "What is 47 + 38?",
    "Who are you?",
    "List three colours.",
    "Translate into Spanish: water",
    "List three colours as JSON. 1.5 & x-y  z\n\n  tabs\t",
)
LONG = "The library opens at nine in the morning. " * 40


def question(text: str, **options) -> Request:
    return Request(({"role": "user", "content": text},), **options)


def run(engine, request: Request):
    return list(engine.stream(engine.prepare(request), lambda: False))


def ids(tokens) -> list[int]:
    return [token.id for token in tokens]


@pytest.fixture(scope="module")
def llama(tiny_gguf):
    """In fp32 throughout, as MLX computes it."""
    engine = LlamaCpp(tiny_gguf, exact=True)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def mlx():
    engine = MLXText(TINY)
    yield engine
    engine.close()


# -- the same as MLX -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["", LONG], ids=["short table", "long table"])
def test_prompts_tokens_and_probabilities_are_mlxs(llama, mlx, before):
    """Token for token and to the fourth digit, below the original length of LongRoPE and beyond it."""
    for text in QUESTIONS:
        request = question(before + text, max_tokens=40, top_logprobs=5)
        theirs, ours = run(mlx, request), run(llama, request)
        assert llama.report.prompt == mlx.report.prompt
        assert llama.report.rope_table == mlx.report.rope_table == ("long" if before else "short")
        assert ids(ours) == ids(theirs) and llama.report.finish_reason == mlx.report.finish_reason
        assert [token.text for token in ours] == [token.text for token in theirs]
        assert [token.piece for token in ours] == [token.piece for token in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.logprob == pytest.approx(other.logprob, abs=2e-4)
            likely = [each for each in other.top_logprobs if each.logprob > -12]
            assert [each.logprob for each in mine.top_logprobs[: len(likely)]] == pytest.approx(
                [each.logprob for each in likely], abs=2e-3
            )


def test_the_wrong_table_would_be_seen(tiny_gguf, mlx):
    """What the engine guards against: a context longer than the original length takes the long table at once."""
    engine = LlamaCpp(tiny_gguf, exact=True)
    engine.load_tokenizer()
    engine.table_for = lambda total: None  # no care for tables: the context is opened as long as the model allows
    engine.load(1024)
    request = question("What is 47 + 38?", max_tokens=8, top_logprobs=2)
    wrong, right = run(engine, request), run(mlx, request)
    engine.close()
    seconds = [(a.top_logprobs[1].logprob, b.top_logprobs[1].logprob) for a, b in zip(wrong, right)]
    assert max(abs(a - b) for a, b in seconds) > 0.05


def test_sixteen_bit_attention_changes_little(tiny_gguf, mlx):
    """As the engine runs by default: nearly every greedy answer stays the same."""
    engine, same = LlamaCpp(tiny_gguf), 0
    for text in QUESTIONS:
        request = question(text, max_tokens=40)
        same += ids(run(engine, request)) == ids(run(mlx, request))
    engine.close()
    assert same >= len(QUESTIONS) - 2


LONG_TEXTS = (
    "Remember the code 4711. " + "Lima is a city in Peru. " * 35 + "What is the code?",  # "5" and "2" are .067 apart
    "Nairobi is a city in Kenya. " * 35 + "Where is Lima?",
    "内罗毕是肯尼亚的城市。" * 25 + "长沙在哪里?",
    "리마는 페루의 도시입니다. " * 18 + "東京はどこにありますか。",
)


def test_on_long_prompts_the_sites_form_leaves_mlx_only_at_near_ties(tmp_path, mlx):
    """The 4-bit file of the page Ask beyond the original length; with the tables exchanged this test would fail."""
    exchanged = tmp_path / "instruct-tiny"
    shutil.copytree(TINY, exchanged)
    config = json.loads((TINY / "config.json").read_text("utf-8"))
    tables = config["rope_scaling"]
    tables["short_factor"], tables["long_factor"] = tables["long_factor"], tables["short_factor"]
    (exchanged / "config.json").write_text(json.dumps(config), "utf-8")
    right, wrong = (
        LlamaCpp(convert(source, tmp_path / name, kind="q4_1").parent, exact=True)
        for name, source in (("right", TINY), ("wrong", exchanged))
    )
    lost = []
    for text in LONG_TEXTS:
        request = question(text, max_tokens=16, top_logprobs=8)
        theirs, ours = run(mlx, request), run(right, request)
        assert right.report.rope_table == mlx.report.rope_table == "long"
        place, margin = parting(ids(ours), theirs) or (len(theirs), 0.0)
        assert margin < NEAR, (text, place)
        together = slice(0, place)
        wanted = [token.logprob for token in theirs[together]]
        assert [token.logprob for token in ours[together]] == pytest.approx(wanted, abs=NEAR)
        lost.append(parting(ids(run(wrong, request)), theirs))
    right.close()
    wrong.close()
    assert any(each and each[1] > 2 * NEAR for each in lost), lost


# -- sampling ------------------------------------------------------------------------------------------------------


def test_seeds(llama):
    def told(seed, top_p=1.0):
        return ids(run(llama, question("Tell me about Paris.", max_tokens=30, sampling=Sampling(2.0, top_p, seed))))

    assert told(5) == told(5) != told(6)
    drawn = told(None)
    assert told(llama.report.sampling.seed) == drawn
    greedy = ids(run(llama, question("Tell me about Paris.", max_tokens=30)))
    assert told(5, top_p=1e-6) == greedy, "the nucleus of one token"


def test_hot_sampling_loses_no_token_and_no_byte(llama):
    """Tokens of single bytes too, which llama.cpp keeps to itself: every id comes, and the text is that of the ids."""
    sampling = Sampling(50.0, 1.0, 3)
    tokens = run(llama, question("Hello", max_tokens=150, sampling=sampling))
    text = llama.pieces.stream()
    assert "".join(token.text for token in tokens) == "".join(
        text.add(token.id) for token in tokens if token.id not in llama.stop_ids
    )
    assert any(token.piece.startswith("<0x") for token in tokens), "else this test proves nothing"
    assert all(token.id >= 0 and (token.piece.startswith("<0x") or token.logprob <= 0) for token in tokens)
    assert len(tokens) == 150 or llama.report.finish_reason == "stop"
    if llama.report.generated_tokens is not None:
        assert llama.report.generated_tokens == len(tokens)


# -- stopping ------------------------------------------------------------------------------------------------------


def test_a_stop_token_ends_the_answer_and_is_no_text(llama):
    tokens = run(llama, question("Where is Changsha?", max_tokens=60))
    assert llama.report.finish_reason == "stop" and tokens[-1].text == "" and tokens[-1].piece == "<|end|>"


@pytest.mark.parametrize("most", [1, 7])
def test_length(llama, most):
    assert len(run(llama, question("Count from 1 to 40.", max_tokens=most))) == most
    assert llama.report.finish_reason == "length"


def test_the_context_can_be_filled_to_the_last_token(llama):
    request = question("Count from 1 to 40.", max_tokens=1)
    llama.prepare(request)
    most = 256 - len(llama.render(request))
    llama.stop_ids, kept = frozenset(), llama.stop_ids
    try:
        tokens = run(llama, question("Count from 1 to 40.", max_tokens=most))
    finally:
        llama.stop_ids = kept
    assert llama.report.rope_table == "short" and (len(tokens) == most or llama.report.finish_reason == "stop")


def test_stop_between_tokens_and_the_cache_afterwards(llama):
    alone = ids(run(llama, question("Count from 1 to 40.", max_tokens=30)))
    seen = []
    for token in llama.stream(llama.prepare(question("Count from 1 to 40.", max_tokens=200)), lambda: len(seen) >= 3):
        seen.append(token)  # noqa: PERF402 - `seen` is looked at while it grows
    assert len(seen) == 3 and llama.report.finish_reason == "cancelled"
    assert ids(run(llama, question("Count from 1 to 40.", max_tokens=30))) == alone
    assert llama.report.cached_tokens == llama.report.prompt_tokens - 1


def test_leaving_the_loop_stops(llama):
    stream = llama.stream(llama.prepare(question("Count from 1 to 40.", max_tokens=200)), lambda: False)
    next(stream)
    stream.close()
    assert llama.report.finish_reason == "cancelled" and not llama._call.is_alive()


def test_a_prompt_can_be_stopped_while_it_is_read(llama):
    calls = []

    def after_a_moment():
        calls.append(1)
        return len(calls) > 2

    text = "Stopping early. " * 90
    assert list(llama.stream(llama.prepare(question(text, max_tokens=5)), after_a_moment)) == []
    assert llama.report.finish_reason == "cancelled"
    again = ids(run(llama, question(text, max_tokens=5)))
    llama.close()
    assert ids(run(llama, question(text, max_tokens=5))) == again, "what was left in the cache is right"


# -- caching -------------------------------------------------------------------------------------------------------


def test_a_second_turn_reuses_the_cache(llama):
    first = ({"role": "user", "content": "Where is Changsha?"},)
    answer = "".join(token.text for token in run(llama, Request(first, max_tokens=40)))
    turns = (*first, {"role": "assistant", "content": answer}, {"role": "user", "content": "And Madrid?"})
    tokens = run(llama, Request(turns, max_tokens=30))
    assert llama.report.cached_tokens >= 10
    llama.close()
    assert ids(run(llama, Request(turns, max_tokens=30))) == ids(tokens)
    assert llama.report.cached_tokens == 0


def test_the_cache_never_outlives_its_table(llama, mlx):
    short, long = question("Where is Changsha?", max_tokens=30), question(LONG + "Where is Changsha?", max_tokens=30)
    for request in (short, long, short, question("Where is Changsha?", max_tokens=500), short):
        assert ids(run(llama, request)) == ids(run(mlx, request))
        assert llama.report.rope_table == mlx.report.rope_table


# -- memory, errors, and the door ------------------------------------------------------------------------------------


def test_closing_gives_threads_and_memory_back(tiny_gguf):
    def inside():
        return len(psutil.Process().threads())

    engine = LlamaCpp(tiny_gguf)
    run(engine, question("Hello", max_tokens=2))
    engine.close()
    quiet = inside()
    for _ in range(3):
        run(engine, question("Hello", max_tokens=2))
        assert engine.loaded and engine.weight_bytes > 0 and inside() > quiet
        engine.close()
        assert not engine.loaded and engine.weight_bytes == 0
    assert inside() <= quiet


def test_not_enough_memory_is_said_before_anything_is_read(tiny_gguf, monkeypatch):
    monkeypatch.setenv("LABS_MEMORY_GB", "0.05")
    engine = LlamaCpp(tiny_gguf)
    with pytest.raises(NotEnoughMemory):
        run(engine, question("Hello"))
    assert not engine.loaded


def test_a_smaller_context_is_taken_where_the_usual_one_does_not_fit(tiny_gguf, monkeypatch):
    from labs_helper.capacity import estimate

    engine = LlamaCpp(tiny_gguf)
    least = estimate.of_folder(tiny_gguf, 512, on_cpu=True).total
    monkeypatch.setenv("LABS_MEMORY_GB", str(least / 1e9 + 0.0005))
    run(engine, question("Hello", max_tokens=400))
    assert engine._room == 512
    engine.close()


def test_too_long_a_request_and_pictures(llama):
    with pytest.raises(BadRequest, match="exceed the model's context of 1,024"):
        run(llama, question("Hello", max_tokens=1024))
    with pytest.raises(BadRequest, match="no pictures"):
        run(llama, question("Hello", images=(object(),)))


def test_without_the_package(tiny_gguf, monkeypatch):
    monkeypatch.setattr(platforms, "has_llama_cpp", lambda: False)
    with pytest.raises(LabError, match="x86"):
        run(LlamaCpp(tiny_gguf), question("Hello"))


def test_a_processor_without_avx2_is_told_before_the_package_ends_the_program(tiny_gguf, monkeypatch):
    monkeypatch.setattr(platforms, "lacks_avx2", lambda: True)
    monkeypatch.setattr(platforms, "has_llama_cpp", lambda: True)
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # importing it would be another error
    with pytest.raises(LabError, match=r"needs a processor with AVX2.*LABS_ENDPOINT"):
        run(LlamaCpp(tiny_gguf), question("Hello"))


def test_without_the_library_of_openmp_the_package_to_install_is_named(tiny_gguf, without_openmp):
    with pytest.raises(LabError, match=r"libgomp\.so\.1.*apt-get install libgomp1"):
        run(LlamaCpp(tiny_gguf), question("Hello"))


def test_a_file_that_llama_cpp_refuses(tiny_gguf, tmp_path):
    """The front is right, and a tensor is missing under its name."""
    raw = next(tiny_gguf.glob("*.gguf")).read_bytes().replace(b"blk.2.attn_qkv.weight", b"blk.2.attn_qkx.weight")
    (tmp_path / "broken.gguf").write_bytes(raw)
    with pytest.raises(CheckpointRefused, match=r"llama.cpp cannot use"):
        run(LlamaCpp(tmp_path), question("Hello"))


def test_the_door_of_the_server_is_on_loopback_and_locked(llama):
    run(llama, question("Hello", max_tokens=1))
    address = llama._server.listening_address
    assert address.startswith("http://127.0.0.1:")
    port = int(address.rsplit(":", 1)[1])
    listening = [each for each in psutil.Process().net_connections() if each.laddr and each.laddr.port == port]
    assert {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    for path in ("/v1/models", "/props", "/slots", "/v1/chat/completions"):
        with pytest.raises(HTTPError) as caught:
            urlopen(address + path, timeout=5)
        assert caught.value.code == 401


# -- through the front door ------------------------------------------------------------------------------------------


def test_a_model_over_a_gguf_folder(tiny_gguf):
    model = load(str(tiny_gguf))
    assert not model.loaded and model.prompt("Hi").text.endswith("<|assistant|>\n") and not model.loaded
    answer = model.ask("Where is Changsha?", top_logprobs=2)
    assert answer.text == "Changsha is a city in Hunan, China." and answer.peak_memory > 10_000_000
    assert answer.tokens_per_second > 0 and answer.rope_table == "short"
    model.release()
    assert not model.loaded


def test_the_notebook_is_not_held_up_while_it_computes(tiny_gguf):
    """llama.cpp computes without Python's lock: another thread runs on."""
    model, ticks = load(str(tiny_gguf)), []
    model.ask(LONG + "Hi", max_tokens=1)  # opens the file with a long context: that does hold the lock
    job = model.submit("Now " + LONG + "Who are you?", max_tokens=20)  # begins otherwise: nothing comes from the cache
    while not job.done:
        ticks.append(time.perf_counter())
        time.sleep(0.005)
    assert len(ticks) > 10 and max(later - sooner for sooner, later in pairwise(ticks)) < 1.0
    model.release()


def test_its_own_server_behind_the_endpoint_engine(tiny_gguf, monkeypatch):
    """llama.cpp's server makes prompt and tokens itself: the same counts, and the same answers."""
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path = str(next(tiny_gguf.glob("*.gguf")))
    options.n_ctx, options.n_parallel, options.verbosity = 256, 1, 0
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.fit_params = options.warmup = False
    options.api_keys = ["classroom"]
    server = xllamacpp.Server(options)
    monkeypatch.setenv("LABS_ENDPOINT", server.listening_address)
    monkeypatch.setenv("LABS_ENDPOINT_KEY", "classroom")
    monkeypatch.delenv("LABS_ENDPOINT_MODEL", raising=False)
    remote, local = load("endpoint"), load(str(tiny_gguf))
    same = 0
    for text in QUESTIONS[:8]:
        there, here = remote.ask(text, max_tokens=40), local.ask(text, max_tokens=40)
        assert there.prompt_tokens == here.prompt_tokens, text
        same += there.text.strip() == here.text.strip()
    assert same >= 7
    told = remote.ask("Hello", max_tokens=2, top_logprobs=3)
    assert len(told.tokens[0].top_logprobs) == 3 and told.tokens[0].id >= 0 and told.tokens[0].logprob <= 0
    local.release()


def test_a_schema_is_refused_and_not_ignored(llama):
    with pytest.raises(BadRequest, match="schema"):
        run(llama, question("Hi", schema='{"type": "integer"}'))
