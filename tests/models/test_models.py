"""`load`, `Model` and `Answer`: what a learner uses, and every bad input of it."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from labs_helper.capacity import limits
from labs_helper.common import platforms
from labs_helper.engines.base import Prepared, Prompt, Report, Token
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, CheckpointRefused, LabError, ModelNotHere, NotEnoughMemory
from labs_helper.models.load import load, memory
from labs_helper.models.selection import choose


class SlowEngine:
    """An engine whose tokens come at a known pace, for tests of stopping."""

    loaded, tokenizer_ready, weight_bytes = True, True, 0

    def __init__(self, pause=0.01, fail_at=None):
        self.pause, self.fail_at, self.started = pause, fail_at, threading.Event()
        self.report = Report()

    def load_tokenizer(self):
        pass

    def encode(self, text):
        return Prompt(text, (1, 2), ("a", "b"))

    def render(self, request):
        return self.encode("p")

    def prepare(self, request):
        return Prepared(request, self.render(request))

    def stream(self, prepared, cancelled):
        self.report = Report(prompt=Prompt("p", (1, 2), ("a", "b")), prompt_tokens=2, finish_reason="length")
        for i in range(prepared.request.max_tokens):
            time.sleep(self.pause)
            self.started.set()
            if cancelled():
                self.report.finish_reason = "cancelled"
                return
            if i == self.fail_at:
                raise RuntimeError("broken")
            yield Token(f"{i} ", i, -0.5)

    def close(self):
        pass


@pytest.fixture
def slow(tiny_checkpoint):
    """A model that takes 10 ms a token."""
    model = load(str(tiny_checkpoint))
    real, model._engine = model._engine, SlowEngine()
    yield model
    model.stop()
    WORKER.call(int)
    model._engine = real


# -- answers --------------------------------------------------------------------------------------------


def test_a_question_gets_an_answer(model):
    answer = model.ask("Hello", max_tokens=6, top_logprobs=3)
    assert answer.text == "".join(token.text for token in answer.tokens) == str(answer)
    assert answer.generated_tokens == len(answer.tokens) == 6
    assert answer.finish_reason == "length" and answer.model == "tiny" and answer.rope_table == "short"
    assert answer.prompt.text.endswith("<|assistant|>\n") and len(answer.prompt) == answer.prompt_tokens
    assert answer.prefilled_tokens == answer.prompt_tokens - answer.cached_tokens
    assert 0 < answer.seconds_to_first_token <= answer.seconds
    assert answer.tokens_per_second > 0 and answer.peak_memory > 0
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in answer.tokens)
    assert model.last is answer
    assert answer.statistics_line in repr(answer)
    assert answer.statistics()["generated_tokens"] == 6


def test_one_token_has_no_speed(model):
    answer = model.ask("Hello", max_tokens=1)
    assert answer.tokens_per_second is None and "too short" in answer.summary()["tokens per second"]


def test_html_is_escaped(model):
    from dataclasses import replace

    answer = replace(model.ask("Hello", max_tokens=1), text="<script>alert(1)</script>")
    assert "<script>" not in answer._repr_html_() and "&lt;script&gt;" in answer._repr_html_()


def test_stream_gives_the_same_as_ask(model):
    tokens = list(model.stream("Hello", max_tokens=6))
    assert tuple(tokens) == model.last.tokens
    heard = []
    assert model.ask("Hello", max_tokens=6, on_token=heard.append).text == "".join(token.text for token in tokens)
    assert [token.id for token in heard] == [token.id for token in tokens]


def test_submit(model):
    done, heard, threads = [], [], set()

    def on_token(token):
        threads.add(threading.current_thread().name)
        heard.append(token)

    job = model.submit("Hello", max_tokens=5, on_token=on_token, on_done=done.append)
    answer = job.wait(timeout=60)
    assert job.done and done == [answer] and tuple(heard) == answer.tokens
    assert threads == {"labs-mlx"}, "callbacks come from the worker"


def test_the_prompt_can_be_seen_without_loading_the_weights(model):
    prompt = model.prompt("Hi", system="Be short.")
    assert prompt.text == "<|system|>\nBe short.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n"
    assert model.count_tokens("Hi") == 2 == len(model.tokenize("Hi").pieces)
    assert not model.loaded


def test_conversations(model):
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert model.prompt(turns).text == (
        "<|user|>\na<|end|>\n<|assistant|>\nb<|end|>\n<|user|>\nc<|end|>\n<|assistant|>\n"
    )
    first = model.ask(turns, max_tokens=4)
    assert model.ask(turns, max_tokens=4).cached_tokens == first.prompt_tokens - 1


def test_seeds_make_sampling_repeatable(model):
    first = model.ask("Hello", temperature=1.5, seed=7, max_tokens=10)
    assert model.ask("Hello", temperature=1.5, seed=7, max_tokens=10).tokens == first.tokens
    drawn = model.ask("Hello", temperature=1.5, max_tokens=10)
    assert model.ask("Hello", temperature=1.5, seed=drawn.sampling.seed, max_tokens=10).text == drawn.text
    assert first.statistics()["seed"] == 7


def test_loading_is_lazy_and_says_so(model, capsys):
    assert "not loaded yet" in repr(model) and not model.loaded
    model.ask("Hello", max_tokens=1)
    shown = capsys.readouterr()
    assert shown.err.startswith("Loading tiny ... ") and shown.err.rstrip().endswith(" s")
    assert shown.out == "", "stdout belongs to the caller"
    assert "not loaded" not in repr(model)
    model.ask("Hello", max_tokens=1)
    assert "Loading" not in capsys.readouterr().err


# -- stopping -------------------------------------------------------------------------------------------


def test_leaving_the_loop_stops(slow):
    for n, _token in enumerate(slow.stream("Hello", max_tokens=500), start=1):
        if n == 3:
            break
    assert slow.last.finish_reason == "cancelled"
    assert slow.last.text == "0 1 2 " and slow.last.generated_tokens == 3
    assert WORKER.call(int) == 0, "the worker is free again"


def test_stop_counts_for_a_reader_whom_the_model_has_left_behind(slow):
    slow._engine.pause = 0
    read = []
    for token in slow.stream("Hello", max_tokens=300):
        read.append(token.id)
        WORKER.call(int)  # the worker has the whole answer now
        if len(read) == 5:
            slow.stop()
    assert read == [0, 1, 2, 3, 4]
    assert slow.last.finish_reason == "cancelled" and slow.last.generated_tokens == 5


def test_closing_a_stream_stops(slow):
    stream = slow.stream("Hello", max_tokens=500)
    next(stream)
    stream.close()
    assert slow.last.text == "0 "


def test_a_stream_that_was_never_started_asks_nothing(slow):
    slow.stream("Hello").close()
    WORKER.call(int)
    assert not slow._engine.started.is_set()


@pytest.mark.posix
def test_an_interrupt_stops_and_keeps_what_there_was(slow):
    """The kernel's interrupt button: SIGINT in the thread that waits."""

    def interrupt():
        slow._engine.started.wait(30)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    slow.last = None
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        slow.ask("Hello", max_tokens=2000)
    thread.join()
    assert slow.last.finish_reason == "cancelled" and 0 < slow.last.generated_tokens < 2000
    assert slow.last.text.startswith("0 1 ")
    assert slow.ask("Hello", max_tokens=2).text == "0 1 "


def test_an_interrupt_inside_on_token(slow):
    def on_token(token):
        if token.id == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slow.ask("Hello", max_tokens=2000, on_token=on_token)
    assert slow.last.text == "0 1 2 3 4 " and slow.last.finish_reason == "cancelled"


def test_stop_from_another_thread(slow):
    thread = threading.Thread(target=lambda: (slow._engine.started.wait(30), slow.stop()))
    thread.start()
    answer = slow.ask("Hello", max_tokens=2000)
    thread.join()
    assert answer.finish_reason == "cancelled" and answer.generated_tokens < 2000 and slow.last is answer


def test_a_request_stopped_in_the_queue_never_runs(slow):
    first = slow.submit("Hello", max_tokens=2000)
    told = []
    second = slow.submit("Hello", max_tokens=2000, on_done=told.append)
    second.stop()
    assert second.wait(timeout=0).finish_reason == "cancelled" and told[0].text == ""
    first.stop()
    assert first.wait(timeout=30).finish_reason == "cancelled"
    assert WORKER.call(int) == 0


def test_two_threads_queue_up(model):
    alone = model.ask("Hello", max_tokens=20).text
    got = {}
    threads = [
        threading.Thread(target=lambda i=i: got.update({i: model.ask("Hello", max_tokens=20).text})) for i in range(4)
    ]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert got == dict.fromkeys(range(4), alone)


def test_a_callback_that_asks_again_does_not_deadlock(model):
    inner = []

    def on_token(token):
        if not inner:
            inner.append(model.ask("Other", max_tokens=3))

    outer = model.submit("Hello", max_tokens=5, on_token=on_token).wait(timeout=60)
    assert inner[0].generated_tokens == 3 and outer.generated_tokens == 5
    assert outer.tokens == model.ask("Hello", max_tokens=5).tokens


def test_an_error_while_generating_reaches_the_caller(slow):
    slow._engine.fail_at = 2
    with pytest.raises(RuntimeError, match="broken"):
        slow.ask("Hello")
    failed = []
    slow.submit("Hello", on_error=failed.append).settle(timeout=30)
    assert isinstance(failed[0], RuntimeError)
    slow._engine.fail_at = None
    assert slow.ask("Hello", max_tokens=1).text == "0 "


def test_an_error_in_on_token_stops_the_generation(slow):
    with pytest.raises(ZeroDivisionError):
        slow.ask("Hello", max_tokens=2000, on_token=lambda token: 1 / 0)
    assert slow.last.finish_reason == "cancelled"
    job = slow.submit("Hello", max_tokens=2000, on_token=lambda token: 1 / 0)
    job.settle(timeout=30)
    assert isinstance(job.error, ZeroDivisionError)


# -- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "  \n",
        [],
        None,
        5,
        ["Hello"],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "robot", "content": "Hi"}],
        [{"role": "assistant", "content": "Hi"}],
        [{"role": "user", "content": " "}],
    ],
)
def test_prompts_that_make_no_sense(model, prompt):
    for call in (model.ask, model.stream, model.submit, model.prompt):
        with pytest.raises(BadRequest) as caught:
            call(prompt)
        assert caught.value.do
    assert not model.loaded, "nothing is loaded for a request that cannot work"


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"temperature": None},
        {"temperature": float("inf")},
        {"temperature": True},
        {"top_p": 0},
        {"top_p": 1.01},
        {"top_p": None},
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"max_tokens": 2.5},
        {"max_tokens": None},
        {"max_tokens": True},
        {"seed": -1},
        {"seed": 2**32},
        {"seed": "x"},
        {"alternatives": -1},
        {"alternatives": 51},
        {"system": 3},
    ],
)
def test_settings_that_make_no_sense(model, options):
    with pytest.raises(BadRequest, match=next(iter(options)) if "system" not in options else "system prompt"):
        model.ask("Hello", **options)


def test_numpy_numbers_are_numbers(model):
    answer = model.ask("Hello", max_tokens=np.int64(3), temperature=np.float32(0.5), seed=np.int32(1))
    assert answer.generated_tokens == 3


def test_two_system_prompts(model):
    with pytest.raises(BadRequest, match="two system prompts"):
        model.ask([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], system="c")


def test_longer_than_the_context(model):
    with pytest.raises(BadRequest, match="context of 512"):
        model.ask("Hello " * 500)
    with pytest.raises(BadRequest, match="context of 512"):
        model.ask("Hello", max_tokens=10**6)
    assert model.ask("Hello", max_tokens=2).generated_tokens == 2


@pytest.mark.parametrize("name", ["phi-9", "", "  ", None, 7])
def test_unknown_roles(name):
    with pytest.raises(BadRequest) as caught:
        load(name)
    assert caught.value.do


def test_unknown_tiers(monkeypatch):
    with pytest.raises(BadRequest, match="auto, tiny, real"):
        load("instruct", tier="huge")
    monkeypatch.setenv("LABS_MODELS", "huge")
    with pytest.raises(BadRequest, match="LABS_MODELS"):
        load("instruct")


def break_missing(folder):
    shutil.rmtree(folder)


def break_truncated(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def break_config(folder):
    (folder / "config.json").write_text("{ not json")


def break_architecture(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))


def break_model_file(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_file": "model.py"}))


def break_auto_map(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoConfig": "model.C"}}))


def break_code(folder):
    (folder / "model.py").write_text("open('it-ran', 'w')")


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (break_missing, ModelNotHere),
        (break_truncated, CheckpointRefused),
        (break_config, CheckpointRefused),
        (break_architecture, CheckpointRefused),
        (break_model_file, CheckpointRefused),
        (break_auto_map, CheckpointRefused),
        (break_code, CheckpointRefused),
    ],
)
def test_a_broken_checkpoint_is_refused_and_the_previous_model_still_answers(
    damage, kind, model, tiny_checkpoint, tmp_path
):
    before = model.ask("Hello", max_tokens=4).text
    folder = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, folder)
    damage(folder)
    with pytest.raises(kind) as caught:
        load(str(folder)).ask("Hello", max_tokens=4)
    assert caught.value.do and isinstance(caught.value, LabError)
    assert model.ask("Hello", max_tokens=4).text == before


def test_a_checkpoint_that_was_repaired_works_with_the_same_model(tiny_checkpoint, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, folder)
    good = (folder / "model.safetensors").read_bytes()
    break_truncated(folder)
    model = load(str(folder))
    with pytest.raises(CheckpointRefused):
        model.ask("Hello")
    (folder / "model.safetensors").write_bytes(good)
    assert model.ask("Hello", max_tokens=2).generated_tokens == 2


def test_too_little_memory(model, monkeypatch):
    monkeypatch.setattr(limits, "free", lambda: 2**20)
    with pytest.raises(NotEnoughMemory):
        model.ask("Hello")
    monkeypatch.undo()
    assert model.ask("Hello", max_tokens=1)


# -- which model ----------------------------------------------------------------------------------------


@pytest.fixture
def course(course):
    """The folder of the course, and that of the real model, which is not there."""
    return SimpleNamespace(path=course, real=course / "models" / "phi-3.5-mini-instruct-4bit")


def test_auto_takes_the_bundled_model_where_the_real_one_is_not_here(course):
    model = load("instruct")
    assert (model.name, model.tier, model.role) == ("instruct-tiny", "tiny", "instruct")
    assert "not on this machine" in model.reason and not model.reason.endswith(".")  # texts say "Why: {reason}."


def test_the_same_model_is_the_same_object(course):
    model = load("instruct")
    assert load("instruct") is model and load("instruct", tier="tiny") is model and load("instruct-tiny") is model
    assert load("instruct-previous") is not model


def test_a_model_that_nobody_holds_goes_away(course):
    model = load("instruct")
    model.ask("Hello", max_tokens=2)
    seen = weakref.ref(model)
    del model
    WORKER.call(int)
    gc.collect()
    assert seen() is None


def test_auto_takes_the_real_model_on_a_gpu_with_room(course, monkeypatch, tiny_checkpoint):
    shutil.copytree(tiny_checkpoint, course.real)
    assert load("instruct").tier == "tiny", "not without a GPU"
    assert "GPU" in choose("instruct").reason
    monkeypatch.setattr(platforms, "has_apple_gpu", lambda: True)
    assert choose("instruct").path == course.real
    monkeypatch.setattr(limits, "free", lambda: 0)
    assert choose("instruct").card.tier == "tiny" and "memory" in choose("instruct").reason


def test_auto_does_not_take_a_broken_real_model(course, monkeypatch, tiny_checkpoint):
    shutil.copytree(tiny_checkpoint, course.real)
    break_truncated(course.real)
    monkeypatch.setattr(platforms, "has_apple_gpu", lambda: True)
    assert choose("instruct").card.tier == "tiny"


def test_the_tier_can_be_asked_for(course, monkeypatch, tiny_checkpoint):
    with pytest.raises(ModelNotHere, match="not on this machine"):
        load("instruct", tier="real")
    monkeypatch.setenv("LABS_MODELS", "real")
    with pytest.raises(ModelNotHere):
        load("instruct")
    shutil.copytree(tiny_checkpoint, course.real)
    assert load("instruct").tier == "real"
    monkeypatch.setenv("LABS_MODELS", "tiny")
    assert load("instruct").tier == "tiny"


def test_the_bundled_model_is_missing(course):
    shutil.rmtree(course.path / "data")
    with pytest.raises(ModelNotHere, match="LABS_HOME"):  # a folder without git
        load("instruct")
    (course.path / ".git").mkdir()
    with pytest.raises(ModelNotHere, match="make checkpoints"):
        load("instruct")


# -- memory ---------------------------------------------------------------------------------------------


def test_memory_lists_loaded_models(model):
    assert "model tiny" not in str(memory())
    model.ask("Hello", max_tokens=1)
    report = memory()
    assert dict(report.models)["tiny"] > 0 and report.active > 0 and 0 < report.free <= report.total
    assert "model tiny" in str(report) and "model tiny" in report._repr_html_()
    model.release()
    assert "model tiny" not in str(memory()) and not model.loaded
    assert model.ask("Hello", max_tokens=1), "a released model comes back with the next question"


def test_release_ends_a_running_request(slow):
    job = slow.submit("Hello", max_tokens=5000)
    slow._engine.started.wait(30)
    slow.release()
    assert job.wait(timeout=30).finish_reason == "cancelled"
