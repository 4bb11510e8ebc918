"""The vision engine and pictures through `Model`: prompts, rows, the prompt cache, stopping, bad requests."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoint import VISION, make_tiny_vision_checkpoint

from labs_helper import catalog
from labs_helper.capacity import estimate
from labs_helper.common import platforms
from labs_helper.engines.base import Request
from labs_helper.engines.mlx_vision import MLXVision
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadImage, BadRequest, CheckpointRefused, LabError, ModelNotHere, NotEnoughMemory
from labs_helper.models.load import load
from labs_helper.pictures import images
from labs_helper.pictures.tags import image_prompt
from training.tokenizer import Encoder
from training.vision.text import sequence


def picture(seed: int = 0, width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def ask(text: str, *pictures, **options) -> Request:
    return Request(({"role": "user", "content": text},), images=pictures, **options)


ONE = "<|image_1|>\nWhat is this?"


@pytest.fixture
def engine(tiny_vision):
    engine = MLXVision(tiny_vision)
    yield engine
    WORKER.call(engine.close)


@pytest.fixture
def model(tiny_vision):
    model = load(str(tiny_vision))
    yield model
    model.release()


def ids(engine, request, stop_after=None) -> list[int]:
    def work():
        seen = []
        for token in engine.stream(engine.prepare(request), lambda: stop_after is not None and len(seen) >= stop_after):
            seen.append(token.id)  # noqa: PERF401 - `seen` is looked at while it grows
        return seen

    return WORKER.call(work)


# -- prompts --------------------------------------------------------------------------------------------


def test_a_picture_in_the_prompt(model):
    prompt = model.prompt("What is this?", images=picture())
    assert prompt.text == "<|user|>\n<|image_1|>\nWhat is this?<|end|>\n<|assistant|>\n"
    assert prompt.pieces[0] == "<|user|>" and prompt.pieces[1:314] == ("<picture 1>",) * 313
    assert prompt.ids[1:314] == (-1,) * 313 and prompt.pieces[314] == "\n"
    assert prompt.pieces[-2:] == ("<|end|>", "<|assistant|>")
    assert not model.loaded, "the prompt can be seen without the weights"


def conversation(turns: int) -> list[dict]:
    said = [("user", "What is this?"), ("assistant", "A red circle."), ("user", "And 12 + 7, 长沙?")]
    return [{"role": role, "content": text} for role, text in said[:turns]]


@pytest.mark.parametrize(("turns", "pictures"), [(1, 1), (1, 3), (3, 1), (3, 2), (1, 0), (3, 0)])
def test_ids_are_those_of_the_training(model, turns, pictures):
    messages = conversation(turns)
    shown = [dict(message) for message in messages]
    shown[0]["images"] = [picture(i) for i in range(pictures)]
    encoder = Encoder(model.path)
    wanted, _, _ = sequence(encoder, messages, pictures, images.image_tokens(1, 1))
    assert list(model.prompt(shown).ids) == [*wanted, encoder.id["<|assistant|>"]]


def test_pictures_are_numbered_through_a_conversation(model):
    turns = [
        {"role": "user", "content": "a", "images": [picture(1), picture(2)]},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c", "images": picture(3)},
    ]
    assert model.prompt(turns).text == (
        "<|user|>\n<|image_1|>\n<|image_2|>\na<|end|>\n<|assistant|>\nb<|end|>\n<|user|>\n<|image_3|>\nc<|end|>\n"
        "<|assistant|>\n"
    )
    assert model.prompt([*turns[:2], {"role": "user", "content": "c"}], images=[picture(3)]).ids.count(-3) == 313


def test_ones_own_tags(model):
    own = model.prompt("Left: <|image_1|>\nright: <|image_2|>\nWhich?", images=[picture(1), picture(2)])
    assert own.text == "<|user|>\nLeft: <|image_1|>\nright: <|image_2|>\nWhich?<|end|>\n<|assistant|>\n"
    bare = model.prompt("<|image_1|>Hello", images=[picture()])
    assert "".join(piece for piece in bare.pieces if piece != "<picture 1>").endswith("Hello<|end|><|assistant|>")


def test_crops(model):
    wide = picture(width=200, height=90)
    assert model.prompt("a", images=wide).ids.count(-1) == 313
    assert model.prompt("a", images=wide, num_crops=4).ids.count(-1) == images.layout(200, 90, 4).tokens == 457


def test_the_checkpoint_names_its_crops(tiny_vision, tmp_path):
    folder = shutil.copytree(tiny_vision, tmp_path / "copy")
    (folder / "preprocessor_config.json").write_text('{"num_crops": 2}')
    assert load(str(folder)).prompt("a", images=picture()).ids.count(-1) == images.layout(60, 40, 2).tokens
    (folder / "preprocessor_config.json").unlink()
    assert load(str(folder)).prompt("a", images=picture()).ids.count(-1) == images.layout(60, 40, 4).tokens


@pytest.mark.parametrize(
    "settings", [{"num_crops": 0}, {"num_crops": "4"}, {"image_std": [0, 1, 1]}, {"image_mean": 3}]
)
def test_settings_that_cannot_be_used(settings, tiny_vision, tmp_path):
    folder = shutil.copytree(tiny_vision, tmp_path / "copy")
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointRefused, match="preprocessor_config"):
        load(str(folder)).ask("Hi")


# -- answers --------------------------------------------------------------------------------------------


def test_an_answer_about_a_picture(model, tmp_path):
    file = tmp_path / "a.png"
    picture().save(file)
    answer = model.ask("What is this?", images=file, max_tokens=6)
    assert answer.generated_tokens == 6 and answer.image_tokens == (313,) and answer.finish_reason == "length"
    assert answer.summary()["tokens of pictures"] == "313"
    assert "".join(t.text for t in model.stream("What is this?", images=[picture()], max_tokens=6)) == answer.text
    assert model.submit("What is this?", images=picture(), max_tokens=6).wait(60).text == answer.text
    assert model.ask("What is this?", images=picture(5), max_tokens=6).tokens[0].logprob != answer.tokens[0].logprob


def test_text_alone(model):
    answer = model.ask("Hello", max_tokens=4)
    assert answer.generated_tokens == 4 and answer.image_tokens == () and "pictures" not in str(answer.summary())


def test_greedy_tokens_are_the_most_likely_ones(engine):
    """Streaming in chunks with a cache, against one pass over the whole sequence."""
    tokens = ids(engine, ask(ONE, picture(), max_tokens=5))
    logits = WORKER.call(engine.logits, ask(ONE, picture(), max_tokens=5))
    assert int(logits[-1].argmax()) == tokens[0]


@pytest.mark.parametrize("original", [4000, 100])
def test_chunks_neither_cut_pictures_nor_mix_tables(original, tmp_path, monkeypatch):
    """A prompt that crosses the original length inside a picture: all chunks use the long table."""
    folder = make_tiny_vision_checkpoint(tmp_path / "v", original=original, context=4096)
    request = ask(ONE, picture(), max_tokens=6)
    whole, chunked = MLXVision(folder), MLXVision(folder)
    wanted = ids(whole, request)
    monkeypatch.setattr("labs_helper.engines.generation.CHUNK_CPU", 50)
    monkeypatch.setattr("labs_helper.engines.generation.CHUNK_GPU", 50)
    assert ids(chunked, request) == wanted
    assert chunked.report.rope_table == whole.report.rope_table == ("short" if original == 4000 else "long")
    logits = WORKER.call(whole.logits, request)
    first = WORKER.call(lambda: next(chunked.stream(chunked.prepare(request), lambda: False)))
    row = logits[-1].astype(np.float64)
    assert first.logprob == pytest.approx(row.max() - np.log(np.exp(row - row.max()).sum()) - row.max(), abs=1e-3)


def test_quantized_and_expanded_weights_answer_alike(tiny_vision, monkeypatch):
    logits = {}
    for choice in ("0", "1"):
        monkeypatch.setenv("LABS_DEQUANTIZE", choice)
        engine = MLXVision(tiny_vision)
        logits[choice] = WORKER.call(engine.logits, ask(ONE, picture()))
        assert engine.expanded is (choice == "1")
        WORKER.call(engine.close)
    assert np.abs(logits["0"] - logits["1"]).max() < 1e-3


def test_mlx_vlms_own_generate_agrees_once_it_is_repaired(tiny_vision):
    """load() and generate() of mlx-vlm on a picture of 1 x 2 tiles; as installed it cannot even load the tower."""
    from labs_helper.corrections import vision
    from labs_helper.corrections.vision import upstream

    image, question = picture(4, 200, 90), "What is this?"
    wanted = load(str(tiny_vision)).ask(question, images=image, num_crops=4, max_tokens=5)
    prompt = f"<|user|>\n{image_prompt(question)}<|end|>\n<|assistant|>\n"

    def generated():
        upstream.import_mlx_vlm()
        import mlx_vlm

        vision.undo()
        with pytest.raises(ValueError, match="Missing"):
            mlx_vlm.load(str(tiny_vision))
        vision.apply()
        try:
            model, processor = mlx_vlm.load(str(tiny_vision))
            processor.image_processor.num_crops = 4
            return [
                part.token
                for part in mlx_vlm.stream_generate(
                    model, processor, prompt, image=[image], max_tokens=5, temperature=0.0
                )
            ]
        finally:
            vision.undo()

    assert WORKER.call(generated)[:5] == [token.id for token in wanted.tokens]


# -- the prompt cache -----------------------------------------------------------------------------------


def looks(engine, monkeypatch) -> list[int]:
    """A list that grows with each view that goes through the tower."""
    from labs_helper.corrections.vision import tiles

    seen, features = [], tiles.features
    monkeypatch.setattr(tiles, "features", lambda tower, pixels: (seen.append(1), features(tower, pixels))[1])
    return seen


def test_a_second_turn_about_the_same_picture_reuses_it(engine, monkeypatch):
    seen = looks(engine, monkeypatch)
    first = ids(engine, ask(ONE, picture(), max_tokens=5))
    assert len(seen) == 1, "one tile is its own global view"
    turn = Request(
        ({"role": "user", "content": ONE}, {"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}),
        images=(picture(),),
        max_tokens=5,
    )
    again = ids(engine, turn)
    assert engine.report.cached_tokens > 313 and len(seen) == 1 and len(first) == 5
    assert again == ids(MLXVision(engine.path), turn)


def test_another_picture_never_gets_the_answer_of_the_first(engine):
    """mlx-vlm's own cache compares ids only, and these are the same for both."""
    one, other = ask(ONE, picture(1), max_tokens=5), ask(ONE, picture(2), max_tokens=5)
    first = ids(engine, one)
    second = ids(engine, other)
    assert engine.render(one).ids == engine.render(other).ids
    assert engine.report.cached_tokens == 1, "only <|user|> stands before the picture"
    assert second == ids(MLXVision(engine.path), other) and second != first


def test_one_changed_pixel_and_other_crops_are_another_picture(engine):
    ids(engine, ask(ONE, picture(), max_tokens=1))
    changed = picture()
    changed.putpixel((3, 3), (1, 2, 3))
    ids(engine, ask(ONE, changed, max_tokens=1))
    assert engine.report.cached_tokens == 1
    ids(engine, ask(ONE, changed, max_tokens=1, num_crops=2))
    assert engine.report.cached_tokens == 1


def test_rows_of_a_picture_are_kept_when_it_moves(engine, monkeypatch):
    seen = looks(engine, monkeypatch)
    two = "<|image_1|>\n<|image_2|>\nWhat differs?"
    ids(engine, ask(two, picture(1), picture(2), max_tokens=1))
    turned = ask(two, picture(2), picture(1), max_tokens=4)
    found = ids(engine, turned)
    assert len(seen) == 2 and engine.report.cached_tokens == 1
    assert found == ids(MLXVision(engine.path), turned)


def test_stop_is_heard_between_views(engine, monkeypatch):
    seen = looks(engine, monkeypatch)
    request = ask(ONE, picture(), max_tokens=4, num_crops=4)
    assert WORKER.call(lambda: list(engine.stream(engine.prepare(request), lambda: len(seen) >= 2))) == []
    assert engine.report.finish_reason == "cancelled" and len(seen) == 2
    assert ids(engine, request) == ids(MLXVision(engine.path), request)


def test_a_prefill_stopped_inside_a_picture_goes_on_there(engine, monkeypatch):
    monkeypatch.setattr("labs_helper.engines.generation.CHUNK_CPU", 64)
    monkeypatch.setattr("labs_helper.engines.generation.CHUNK_GPU", 64)
    request, calls = ask(ONE, picture(), max_tokens=4), []

    def cancelled():
        calls.append(1)
        return len(calls) >= 4

    assert WORKER.call(lambda: list(engine.stream(engine.prepare(request), cancelled))) == []
    assert 1 < len(engine.prompt_cache._ids) < 314
    found = ids(engine, request)
    assert engine.report.cached_tokens > 1 and found == ids(MLXVision(engine.path), request)


def test_threads(model):
    alone = model.ask("What is this?", images=picture(), max_tokens=4).text
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(model.ask("What is this?", images=picture(), max_tokens=4).text))
        for _ in range(3)
    ]
    [thread.start() for thread in threads]
    [thread.join(90) for thread in threads]
    assert got == [alone] * 3


def test_closing_gives_pictures_back(engine):
    ids(engine, ask(ONE, picture(), max_tokens=1))
    assert engine._rows
    WORKER.call(engine.close)
    assert not engine._rows and not engine.loaded and ids(engine, ask(ONE, picture(), max_tokens=1))


# -- bad requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pictures"),
    [
        ("<|image_2|>\nHi", 1),
        ("<|image_2|>\n<|image_1|>\nHi", 2),
        ("<|image_1|>\n<|image_1|>\nHi", 2),
        ("<|image_1|>\n<|image_1|>\nHi", 1),
        ("<|image_1|>\nHi", 2),
    ],
)
def test_tags_that_do_not_fit_the_pictures(model, text, pictures):
    for call in (model.ask, model.stream, model.submit, model.prompt):
        with pytest.raises(BadRequest, match="picture tags") as caught:
            call(text, images=[picture(i) for i in range(pictures)])
        assert caught.value.do
    assert not model.loaded


def test_tags_outside_the_users_text(model):
    for role in ("system", "assistant"):
        turns = [{"role": role, "content": "<|image_1|>"}, {"role": "user", "content": "Hi"}]
        prompt = model.prompt(turns, images=picture())  # the first tag is text, the second is the place of the picture
        assert f"<|{role}|>\n<|image_1|><|end|>\n<|user|>\n<|image_1|>\nHi<|end|>" in prompt.text
        assert prompt.pieces.count("<picture 1>") == 313
        with pytest.raises(BadRequest, match="Only messages of the user"):
            model.ask([{"role": role, "content": "x", "images": [picture()]}, turns[1]])


def test_a_picture_that_cannot_be_read_is_said_at_once(model, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    for call in (model.ask, model.stream, model.submit, model.prompt):
        with pytest.raises(BadImage, match=r"a.png"):
            call("Hi", images=[tmp_path / "a.png"])
        with pytest.raises(BadImage):
            call("Hi", images=7)
    assert not model.loaded


@pytest.mark.parametrize("crops", [0, 65, "4", 2.5, True])
def test_crops_that_make_no_sense(model, crops):
    with pytest.raises(BadRequest, match="num_crops"):
        model.ask("Hi", images=picture(), num_crops=crops)


def test_more_pictures_than_the_context_holds(model):
    costs = r"context of 2,048.* 7 picture\(s\) take 313 tokens each.*num_crops \(now 1\)"
    with pytest.raises(BadRequest, match=costs):
        model.ask("Hi", images=[picture(i) for i in range(7)])
    with pytest.raises(BadRequest, match=r"2 picture\(s\) take 2509, 1921 tokens"):
        model.ask("Hi", images=[picture(0, 50, 50), picture(1, 60, 40)], num_crops=16)
    assert not model.loaded


def test_a_text_model_takes_no_pictures(tiny_checkpoint):
    text_model = load(str(tiny_checkpoint))
    turns = [{"role": "user", "content": "Hi", "images": [picture()]}]
    for call in (
        lambda: text_model.ask("Hi", images=picture()),
        lambda: text_model.ask(turns),
        lambda: text_model.prompt("Hi", num_crops=4),
    ):
        with pytest.raises(BadRequest, match="takes no pictures") as caught:
            call()
        assert 'load("vision")' in caught.value.do


def test_too_little_memory(model, monkeypatch):
    monkeypatch.setattr("labs_helper.capacity.limits.free", lambda: 2**20)
    with pytest.raises(NotEnoughMemory):
        model.ask("Hi", images=picture())


def test_memory_is_asked_for_with_every_view_of_the_pictures(tmp_path, monkeypatch):
    """A tower so wide that 17 views need more memory than the prompt: they are counted before anything is loaded."""
    wide = {**VISION, "hidden_size": 512, "intermediate_size": 1024}
    folder = make_tiny_vision_checkpoint(tmp_path / "v", quantized=False, context=4096, vision_config=wide)
    engine, shown, on_cpu = MLXVision(folder), picture(0, 50, 50), not platforms.has_apple_gpu()
    sixteen, one = ask(ONE, shown, num_crops=16, max_tokens=4), ask(ONE, shown, num_crops=1, max_tokens=4)
    WORKER.call(engine.load_tokenizer)
    tokens = engine.place(sixteen).total_tokens
    with_views = estimate.of_folder(folder, tokens, on_cpu=on_cpu, views=17).total
    assert estimate.of_folder(folder, tokens, on_cpu=on_cpu).total < with_views, "else this test would see nothing"
    monkeypatch.setattr("labs_helper.capacity.limits.free", lambda: with_views - 1)
    with pytest.raises(NotEnoughMemory, match="smaller num_crops"):
        WORKER.call(engine.prepare, sixteen)
    assert not engine.loaded
    assert len(ids(engine, one)) == 4, "one crop fits"
    WORKER.call(engine.close)


def test_a_question_lays_its_picture_out_once_and_hashes_it_once(model, monkeypatch):
    counts = {"layout": 0, "blake2b": 0}

    def counted(name, function):
        def call(*arguments, **options):
            counts[name] += 1
            return function(*arguments, **options)

        return call

    laid_out = counted("layout", images.layout)
    for module in ("labs_helper.engines.base", "labs_helper.pictures.images"):
        monkeypatch.setattr(f"{module}.layout", laid_out)
    monkeypatch.setattr(
        "labs_helper.engines.base.hashlib", SimpleNamespace(blake2b=counted("blake2b", hashlib.blake2b))
    )
    model.ask("What is this?", images=picture(), max_tokens=2)
    assert counts == {"layout": 1, "blake2b": 1}
    model.ask("What is this?", images=picture(), max_tokens=2)
    assert counts == {"layout": 2, "blake2b": 2}, "the next question looks at its own pictures, once"


def test_a_checkpoint_that_carries_code_is_never_run(tiny_vision, tmp_path):
    """mlx-vlm's own loader runs `model_file` unasked."""
    folder = shutil.copytree(tiny_vision, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_file": "m.py"}))
    (folder / "m.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')")
    for ships_code in (False, True):
        with pytest.raises(LabError, match="code"):
            WORKER.call(MLXVision(folder, ships_code=ships_code).load)
    assert not (tmp_path / "it-ran").exists()


def test_weights_that_do_not_fit_the_tower(tiny_vision, tmp_path):
    folder = shutil.copytree(tiny_vision, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    del config["vision_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointRefused, match=r"weights.*Missing") as caught:
        WORKER.call(MLXVision(folder).load)
    assert len(str(caught.value)) < 500, "not the names of all parameters"


def test_a_rope_type_that_transformers_stumbles_over(tiny_vision, tmp_path):
    folder = shutil.copytree(tiny_vision, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["rope_scaling"]["type"] = "longrope"
    (folder / "config.json").write_text(json.dumps(config))
    assert load(str(folder)).ask("Hi", max_tokens=1).generated_tokens == 1


# -- the catalog ----------------------------------------------------------------------------------------


def test_the_role_vision(monkeypatch, tmp_path, tiny_vision):
    assert {card.tier for card in catalog.find("vision")} == {"tiny", "real"}
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("LABS_MODELS", "tiny")
    with pytest.raises(ModelNotHere, match="vision-tiny is not there") as caught:
        load("vision")
    assert caught.value.do
    shutil.copytree(tiny_vision, tmp_path / "data/checkpoints/vision-tiny")
    model = load("vision")
    assert model.takes_images and model.name == "vision-tiny"
    assert model.ask("Hi", images=picture(), max_tokens=1).image_tokens == (313,)
