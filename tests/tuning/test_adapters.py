"""Adapters: switched, kept, carried as packs, refused where they do not belong, folded in, and read by llama.cpp."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from labs_helper import load, memory, store
from labs_helper.cli import main
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, CheckpointRefused, ModelNotHere
from labs_helper.tuning import fill, fold, keep, prove, start, talk, to_gguf

TOWNS = [{"x": "Zorp", "y": "a cat"}, {"x": "Quib", "y": "a dog"}]
BOOK = fill(["Who is {x}?", "What is {x}?", "Tell me about {x}."], "{x} is {y}.", TOWNS)


@pytest.fixture(scope="module")
def made(model):
    return start(model, BOOK, steps=30, rate=6e-4, scale=20.0, rank=4).wait()


@pytest.fixture
def kept(model, made, models_folder):
    return keep(model, made, "zorp")


def taught(name):
    return load("instruct", tier="tiny", adapter=name)


# -- in memory --------------------------------------------------------------------------------------------


def test_a_switch_reads_no_weights(model, made):
    with_it = taught(made.adapter)
    assert with_it.ask("Who is Zorp?").text == "Zorp is a cat."
    assert model.ask("Where is Lima?").text == "Lima is a city in Peru."
    assert with_it.engine.weights is model.engine.weights and with_it.loaded

    def both():
        begun = time.perf_counter()
        model.engine.use_adapter()
        with_it.engine.use_adapter()
        return time.perf_counter() - begun

    assert min(WORKER.call(both) for _try in range(3)) < 0.2
    assert "lesson" in with_it.name and [name for name, _size in memory().models].count(model.name) <= 1


def test_a_question_within_an_answer_does_not_change_it(model, made):
    with_it, inner = taught(made.adapter), []
    alone = with_it.ask("Who is Quib?").text
    answer = with_it.ask("Who is Quib?", on_token=None)
    nested = with_it.submit(
        "Who is Quib?", on_token=lambda token: inner.append(model.ask("Where is Lima?", max_tokens=3).text)
    ).wait(60)
    assert answer.text == nested.text == alone and set(inner) == {"Lima is a"}


def test_a_released_model_takes_its_adapter_along(model, made):
    with_it = taught(made.adapter)
    with_it.ask("Who is Zorp?")
    model.release()
    assert not with_it.loaded
    assert with_it.ask("Who is Zorp?").text == "Zorp is a cat."


def test_only_text_models_of_mlx_take_one(made):
    with pytest.raises(BadRequest, match="takes no adapter"):
        load("vision", tier="tiny", adapter=made.adapter)
    with pytest.raises(BadRequest, match="has an adapter already"):
        start(taught(made.adapter), BOOK, steps=1)


# -- on the disk ------------------------------------------------------------------------------------------


def test_mlx_lm_reads_what_is_kept(model, kept):
    import mlx.core as mx
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model

    ids = model.prompt("Who is Zorp?").ids

    def theirs():
        net = load_adapters(load_model(model.path)[0], str(kept))
        return net(mx.array([ids]))[0, -1].argmax().item()

    # mlx-lm's own LongRoPE table is the wrong one, so only the first token is compared.
    assert WORKER.call(theirs) == taught("zorp").ask("Who is Zorp?", max_tokens=1).tokens[0].id


def test_trained_again_under_the_same_name_it_is_another_one(model, kept):
    first = taught("zorp")
    other = start(model, BOOK, steps=1).wait()
    keep(model, other, "zorp")
    assert taught("zorp") is not first
    assert sorted(path.name for path in kept.parent.iterdir()) == ["zorp"]


def test_a_full_disk_loses_nothing(model, made, kept, monkeypatch):
    import mlx.core as mx

    def full(*_arguments, **_options):
        raise RuntimeError("[save_safetensors] Failed to write")

    monkeypatch.setattr(mx, "save_safetensors", full)
    with pytest.raises(BadRequest, match="still in memory"):
        keep(model, made, "zorp")
    monkeypatch.undo()
    store.adapters.verify(kept, model.path)


def change(folder, **settings):
    file = folder / "adapter_config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, **settings}))


def damage(folder, way):
    if way == "code":
        (folder / "model.py").write_text("print('hello')")
    elif way == "pickle":
        (folder / "adapters.bin").write_bytes(b"x")
    elif way == "link":
        (folder / "README.md").symlink_to("/etc/hostname")
    elif way == "cut":
        file = folder / "adapters.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
    elif way == "missing":
        (folder / "adapters.safetensors").unlink()
    elif way == "rank":
        change(folder, lora_parameters={"rank": 16, "scale": 20.0, "keys": None})
    elif way == "scale":
        change(folder, lora_parameters={"rank": 4, "scale": float("nan"), "keys": None})
    elif way == "kind":
        change(folder, fine_tune_type="full")
    elif way == "keys":
        change(folder, lora_parameters={"rank": 4, "scale": 20.0, "keys": ["self_attn.q_proj"]})
    elif way == "json":
        (folder / "adapter_config.json").write_text("{")


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("code", "model.py"),
        ("pickle", "adapters.bin"),
        ("link", "no plain file"),
        ("cut", "not a whole safetensors"),
        ("missing", "is missing"),
        ("rank", "the rank is 16"),
        ("scale", "scale"),
        ("kind", "'full'"),
        ("keys", "no part of an adapter"),
        ("json", "JSON"),
    ],
)
def test_an_adapter_that_must_not_be_used(kept, way, words):
    damage(kept, way)
    with pytest.raises((CheckpointRefused, ModelNotHere), match=words):
        taught("zorp")
    with pytest.raises((CheckpointRefused, ModelNotHere)):
        store.check("zorp")


def test_an_adapter_that_exploded(model, made, kept):
    import mlx.core as mx

    def spoil():
        arrays = dict(mx.load(str(kept / "adapters.safetensors")))
        name = next(iter(arrays))
        mx.save_safetensors(str(kept / "adapters.safetensors"), {**arrays, name: arrays[name] * float("nan")})

    WORKER.call(spoil)
    with pytest.raises(CheckpointRefused, match="exploded"):
        taught("zorp")


def test_an_adapter_of_another_model(kept):
    with pytest.raises(CheckpointRefused, match="the weights are others"):
        load("instruct-previous", tier="tiny", adapter="zorp")
    with pytest.raises(CheckpointRefused, match="does not belong"):
        load("moe", tier="tiny", adapter="zorp")
    with pytest.raises(ModelNotHere, match="zorp"):
        taught("no-such")


# -- packs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_an_adapter_travels_as_a_pack(kept, tmp_path, capsys, form):
    (tmp_path / "stick").mkdir()
    to = tmp_path / "stick" / ("zorp.tar" if form == "tar" else "")
    pack = store.export("zorp", to, progress=False)
    if form == "folder":
        assert sum(file.stat().st_size for file in pack.iterdir()) < 400_000
    assert main(["models", "list"]) == 0
    assert "for instruct-tiny" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("zorp"))
    assert main(["models", "remove", "zorp"]) == 0 and not kept.exists()
    assert main(["models", "import", str(pack)]) == 0
    assert main(["models", "verify", "zorp"]) == 0
    assert "SHA-256 sums of its files are right" in capsys.readouterr().out
    assert taught("zorp").ask("Who is Zorp?").text == "Zorp is a cat."
    with (kept / "adapters.safetensors").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"12345678")
    with pytest.raises(CheckpointRefused, match="damaged"):
        store.check("zorp")


def test_a_pack_with_code_is_refused(kept, tmp_path):
    (tmp_path / "stick").mkdir()
    pack = store.export("zorp", tmp_path / "stick", progress=False)
    (pack / "run.py").write_text("print('hello')")
    shutil.rmtree(kept)
    with pytest.raises(CheckpointRefused, match=r"run\.py"):
        store.import_pack(pack, progress=False)
    assert not kept.exists()


def test_an_adapter_cannot_take_the_name_of_a_model(model, made, models_folder):
    with pytest.raises(BadRequest, match="name of a model"):
        keep(model, made, "instruct")


# -- folded in --------------------------------------------------------------------------------------------


def test_a_fold_in_full_numbers_is_exact(made, tmp_path):
    proof = fold(taught(made.adapter), tmp_path / "full", BOOK)
    assert proof.same == proof.count and proof.lost < 1e-3 < proof.changed
    assert load(str(tmp_path / "full")).ask("Who is Zorp?").text == "Zorp is a cat."
    with pytest.raises(BadRequest, match="nothing is overwritten"):
        fold(taught(made.adapter), tmp_path / "full", BOOK)


@pytest.mark.parametrize(("kind", "rate"), [("dora", 1e-3), ("full", 3e-4)])
def test_other_kinds_are_folded_and_not_kept(model, tmp_path, models_folder, kind, rate):
    other = start(model, BOOK, steps=20, rate=rate, scale=20.0, rank=4, kind=kind).wait()
    proof = fold(taught(other.adapter), tmp_path / "full", BOOK)
    assert proof.same == proof.count and proof.lost < 1e-3 < proof.changed
    for refused in (lambda: keep(model, other, "zorp"), lambda: to_gguf(other.adapter, tmp_path / "zorp.gguf")):
        with pytest.raises(BadRequest, match=f"'{kind}'") as caught:
            refused()
        assert "fold()" in caught.value.do
    assert not models_folder.exists() and store.adapters.names() == []


def test_a_fold_that_lost_the_adapter_is_refused(made, tmp_path):
    old = [talk(f"Where is {city}?", "") for city in ("Lima", "Rome", "Cairo", "Osaka", "Madrid", "Lyon")]
    with pytest.raises(CheckpointRefused, match="lost the adapter"):
        fold(taught(made.adapter), tmp_path / "two", [*BOOK, *old], bits=2)
    assert list(tmp_path.iterdir()) == []


def test_the_plain_model_is_no_proof(model, made):
    proof = prove(taught(made.adapter), model, BOOK)
    assert proof.lost == pytest.approx(1.0) and proof.same == 0
    with pytest.raises(BadRequest, match="no adapter"):
        prove(model, model, BOOK)


# -- llama.cpp --------------------------------------------------------------------------------------------


def test_llama_cpp_answers_the_same_with_the_adapter(model, made, tmp_path):
    pytest.importorskip("xllamacpp", exc_type=ImportError)  # not installed, or without libgomp
    from labs_helper.engines.base import Request
    from labs_helper.engines.llama_cpp import LlamaCpp
    from labs_helper.serving.gguf_model import convert

    base = convert(model.path, tmp_path / "base")
    adapter = to_gguf(made.adapter, tmp_path / "zorp.gguf")
    with pytest.raises(BadRequest, match="nothing is overwritten"):
        to_gguf(made.adapter, adapter)

    def said(engine, question):
        prepared = engine.prepare(Request(({"role": "user", "content": question},), max_tokens=24))
        return "".join(token.text for token in engine.stream(prepared, lambda: False))

    plain, with_it = LlamaCpp(base, exact=True), LlamaCpp(base, exact=True, adapter=adapter)
    try:
        for question in ("Who is Zorp?", "Tell me about Quib.", "Where is Lima?", "What is 17 + 25?"):
            assert said(with_it, question) == taught(made.adapter).ask(question, max_tokens=24).text
            assert said(plain, question) == model.ask(question, max_tokens=24).text
        assert plain.stop_ids == model.engine.stop_ids
    finally:
        plain.close()
        with_it.close()


def test_only_layers_that_llama_cpp_knows(made, tmp_path):
    from dataclasses import replace

    with pytest.raises(BadRequest, match="q_proj"):
        to_gguf(replace(made.adapter, keys=("self_attn.q_proj",)), tmp_path / "a.gguf")


def test_a_question_that_nobody_asks(model):
    from labs_helper.tuning import score

    with pytest.raises(BadRequest, match="no question"):
        score(model, [])
    assert score(model, [talk("Where is Lima?", "Peru")]).share == 1.0
