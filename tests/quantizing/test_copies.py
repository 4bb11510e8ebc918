"""Rounded copies: they answer as a packed checkpoint does, take as much room, and leave the original alone."""

from __future__ import annotations

import numpy as np
import pytest

from labs_helper import load
from labs_helper.engines.convert import convert
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing import compare, levels, read, rounded
from labs_helper.quantizing.copies import Bits, layers_of

CITIES = ("Lima", "Osaka", "Madrid", "Busan")


@pytest.fixture(scope="module")
def unrounded(model, tmp_path_factory):
    """The bundled checkpoint with full numbers, as a folder."""
    import shutil

    from mlx_lm.utils import dequantize_model, load_model, save_config, save_model

    folder = tmp_path_factory.mktemp("full") / "instruct-full"
    folder.mkdir()

    def write():
        plain, config = load_model(model.path, trust_remote_code=False)
        save_model(folder, dequantize_model(plain), donate_model=True)
        return {key: value for key, value in config.items() if not key.startswith("quantization")}

    save_config(WORKER.call(write), folder / "config.json")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(model.path / name, folder)
    return folder


def weights_of(model):
    return WORKER.call(lambda: {name: np.array(layer.weight) for name, layer in layers_of(model.engine.model).items()})


def test_sixteen_bits_change_nothing(model, talks):
    assert compare(read(model, talks), read(rounded(model, 16), talks)).divergence.value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bits", [8, 3])
def test_a_copy_is_the_packed_checkpoint(unrounded, talks, tmp_path, bits):
    convert(unrounded, tmp_path / "packed", bits=bits, group_size=32, dtype="float32")
    packed, copy = load(tmp_path / "packed"), rounded(load(unrounded), bits)
    assert compare(read(packed, talks), read(copy, talks)).divergence.value == pytest.approx(0, abs=1e-7)
    asked = [f"Where is {city}?" for city in CITIES]
    assert [copy.ask(question).text for question in asked] == [packed.ask(question).text for question in asked]
    packed.release()


def test_the_computed_size_is_that_of_a_file(unrounded, tmp_path):
    made = convert(unrounded, tmp_path / "packed", bits=4, group_size=64, dtype="float16")
    copy = rounded(load(unrounded), 4, group=64)
    assert copy.bits_per_weight == pytest.approx(made.bits_per_weight, rel=1e-3)
    assert copy.bytes == pytest.approx(made.bytes, rel=1e-3)


def test_layers_can_have_bits_of_their_own(unrounded):
    plain = load(unrounded)
    copy = rounded(plain, 2, layers={"lm_head": 8, "model.embed_tokens": 16})
    made, before = weights_of(copy), weights_of(rounded(plain, 16))
    assert levels(made["model.layers.0.mlp.down_proj"]) <= 4 < levels(made["lm_head"])
    assert np.array_equal(made["model.embed_tokens"], before["model.embed_tokens"])
    assert rounded(plain, 2).bits_per_weight < copy.bits_per_weight < rounded(plain, 8).bits_per_weight + 3


def test_released_and_asked_again_it_is_still_rounded(model):
    copy = rounded(model, 2)
    question = "What is 17 + 25?"
    first = copy.ask(question, max_tokens=24).text
    copy.release()
    assert copy.ask(question, max_tokens=24).text == first != model.ask(question, max_tokens=24).text


@pytest.mark.parametrize(("mode", "bits"), [("mxfp4", 4.25), ("nvfp4", 4.5), ("mxfp8", 8.25)])
def test_small_floating_point_formats(model, talks, mode, bits):
    copy = rounded(model, mode=mode)
    assert copy.bits_per_weight == pytest.approx(bits, abs=0.02)
    assert 0 < compare(read(model, talks), read(copy, talks)).divergence.value < 0.5


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"bits": 7}, "does not round to 7"),
        ({"bits": 1}, "does not round to 1"),
        ({"group": 48}, "no groups of 48"),
        ({"mode": "int4"}, "no mode"),
        ({"layers": {"lm_head": 9}}, "does not round to 9"),
        ({"layers": {"head": 8}}, "no layer 'head'"),
    ],
)
def test_what_mlx_cannot_do_is_refused(model, how, words):
    with pytest.raises(BadRequest, match=words):
        rounded(model, **how)


def test_layers_come_in_the_order_of_the_model(model):
    names = list(rounded(model, 16).sizes)
    assert names[:2] == ["model.embed_tokens", "model.layers.0.self_attn.qkv_proj"] and names[-1] == "lm_head"


def test_a_plan_says_what_it_is():
    assert str(Bits(3)) == "3 bits, groups of 32"
    assert "1 layers" in str(Bits(3, layers={"lm_head": 8}))
    assert str(Bits(16)) == "16 bits" and str(Bits(mode="mxfp4")) == "mxfp4"
