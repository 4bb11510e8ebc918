"""The corrections of mlx-vlm's phi3_v (the numbers of the picture rows are tested in tests/parity)."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from labs_helper.corrections import longrope, vision
from labs_helper.corrections.vision import cache, pictures, prompt, sizes, table, tiles, upstream
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.pictures.images import image_tokens
from labs_helper.pictures.tags import check_tags, image_prompt

LETTERS = SimpleNamespace(encode=lambda text, add_special_tokens=True: [ord(c) for c in text], bos_token_id=None)


@pytest.fixture
def unrepaired():
    """mlx-vlm as installed, before and after the test."""
    WORKER.call(vision.undo)
    yield WORKER.call(upstream.import_mlx_vlm)
    WORKER.call(vision.undo)


# -- probes ---------------------------------------------------------------------------------------------


def named(modules):
    return pytest.mark.parametrize("part", modules, ids=lambda module: module.__name__.rpartition(".")[2])


@named([sizes, tiles, pictures, prompt, cache, table])
def test_the_installed_mlx_vlm_needs_each_part(part, unrepaired):
    """If this fails, mlx-vlm is right now: remove the correction."""
    assert WORKER.call(upstream.is_right, part.probe) is False


@named([sizes, tiles, pictures, prompt])
def test_the_probes_recognise_a_repaired_mlx_vlm(part, unrepaired):
    WORKER.call(vision.apply)
    assert WORKER.call(part.probe) is True


def test_the_probe_of_the_cache_recognises_an_attention_that_can(unrepaired, monkeypatch):
    from mlx_vlm.models.phi3_v.phi3_v import Attention

    monkeypatch.setattr(Attention, "__call__", lambda self, x, mask=None, cache=None: x)
    assert WORKER.call(cache.probe) is True


def test_the_probe_of_the_table_recognises_a_right_one(unrepaired, monkeypatch):
    def probe():
        from mlx_vlm.models import rope_utils

        original = rope_utils.SuScaledRoPE.__init__

        def one_table(self, dims, *args, short_factor=1.0, long_factor=1.0, **others):
            original(self, dims, *args, short_factor=long_factor, long_factor=long_factor, **others)

        with monkeypatch.context() as patch:
            patch.setattr("mlx_vlm.models.phi3_v.phi3_v.SuScaledRoPE.__init__", one_table)
            return table.probe()

    assert WORKER.call(probe) is True


def test_a_probe_looks_at_mlx_vlm_as_installed_and_puts_everything_back(unrepaired, monkeypatch):
    WORKER.call(vision.apply)
    now = unrepaired.VisionModel
    upstream.is_right.cache_clear()
    assert WORKER.call(upstream.is_right, tiles.probe) is False
    assert unrepaired.VisionModel is now
    vision.undo()
    assert unrepaired.VisionModel is not now


def test_apply_leaves_out_what_is_right(unrepaired, monkeypatch):
    before = unrepaired.Phi3VImageProcessor._process_single_image
    monkeypatch.setattr(upstream, "is_right", lambda probe: probe is not prompt.probe)
    assert WORKER.call(vision.apply) == ("prompt",)
    assert unrepaired.Phi3VImageProcessor._process_single_image is before


def test_apply_takes_parts(unrepaired):
    assert WORKER.call(vision.apply, "pictures", "tiles") == ("pictures", "tiles")
    with pytest.raises(BadRequest, match="nonsense"):
        vision.apply("nonsense")


def test_the_engine_builds_upstreams_tower_once_it_obeys_its_config(unrepaired, monkeypatch):
    assert WORKER.call(tiles.vision_model) is tiles.repaired_model()
    monkeypatch.setattr(upstream, "is_right", lambda probe: True)
    assert WORKER.call(tiles.vision_model) is unrepaired.VisionModel


# -- the tower ------------------------------------------------------------------------------------------


def test_without_sizes_every_parameter_is_shaped_as_upstreams(unrepaired):
    """Of the real size; MLX makes no array before it is needed, so this takes no memory."""

    def shapes():
        import mlx.core as mx
        from mlx.utils import tree_flatten

        def of(kind):
            tower = kind(unrepaired.ModelConfig(hidden_size=3072))
            return {name: (value.shape, value.dtype) for name, value in tree_flatten(tower.parameters())}

        before = mx.get_active_memory()
        found = [of(kind) for kind in (unrepaired.VisionModel, sizes.sized_model(), tiles.repaired_model())]
        return found, mx.get_active_memory() - before

    (plain, sized, repaired), taken = WORKER.call(shapes)
    assert plain == sized == repaired and len(plain) == 397
    assert taken < 1e6


def test_a_small_tower(unrepaired):
    def width():
        small = unrepaired.VisionConfig(hidden_size=64, num_hidden_layers=2)
        tower = tiles.vision_model()(unrepaired.ModelConfig(hidden_size=32, vision_config=small))
        return tower.sub_GN.shape, len(tower.img_processor.vision_model.encoder.layers)

    assert WORKER.call(width) == ((1, 1, 1, 256), 2)


# -- the prompt -----------------------------------------------------------------------------------------


def test_image_prompt():
    assert image_prompt("Hi") == "<|image_1|>\nHi"
    assert image_prompt("Hi", 2, first=3) == "<|image_3|>\n<|image_4|>\nHi"
    assert image_prompt("Hi", 0) == "Hi"


def processed(phi3_v, text: str, pictures: int = 1) -> str:
    """A text through mlx-vlm's processor, one token a character, "#" for each picture's places."""
    stub = SimpleNamespace(tokenizer=LETTERS, image_processor=phi3_v.Phi3VImageProcessor(num_crops=1))

    def work():
        made = phi3_v.Phi3VProcessor._convert_images_texts_to_inputs(
            stub, images=[Image.new("RGB", (9, 9))] * pictures, texts=text
        )
        return made["input_ids"][0].tolist()

    ids = WORKER.call(work)
    shown = "".join("#" if token < 0 else chr(token) for token in ids)
    assert ids.count(-1) == image_tokens(1, 1)
    return shown.replace("#" * image_tokens(1, 1), "#")


def test_mlx_vlm_loses_the_first_token_after_a_picture(unrepaired):
    assert processed(unrepaired, "<|image_1|>Describe") == "#escribe"
    WORKER.call(vision.apply)
    assert processed(unrepaired, "<|image_1|>Describe") == "#Describe"
    assert processed(unrepaired, "a<|image_1|>\n<|image_2|>\nb", 2) == "a#\n#\nb"


def test_mlx_vlm_takes_tags_in_any_order(unrepaired):
    crooked = ["<|image_2|>\n<|image_1|>\nHi", "<|image_1|>\n<|image_2|>\n<|image_1|>"]
    for text in crooked:
        stub = SimpleNamespace(tokenizer=LETTERS, image_processor=unrepaired.Phi3VImageProcessor(num_crops=1))
        convert, two = unrepaired.Phi3VProcessor._convert_images_texts_to_inputs, [Image.new("RGB", (9, 9))] * 2
        assert WORKER.call(lambda t=text, s=stub, c=convert, i=two: c(s, images=i, texts=t)), "as installed"
        WORKER.call(vision.apply)
        with pytest.raises(BadRequest, match="tags"):
            processed(unrepaired, text, 2)
        WORKER.call(vision.undo)


@pytest.mark.parametrize(("numbers", "pictures"), [([1], 0), ([], 1), ([2, 1], 2), ([1, 1], 1), ([1, 1], 2), ([0], 1)])
def test_tags_that_do_not_fit(numbers, pictures):
    with pytest.raises(BadRequest, match="picture tags") as caught:
        check_tags(numbers, pictures)
    assert caught.value.do


def test_only_a_dummy_space_is_taken_off():
    def sentencepiece(text):
        return [1, *map(ord, text)]

    text = "a<|image_1|>\nb<|image_2|>c"
    assert prompt.encode(sentencepiece, text, [2, 1]) == [1, 97, -1, -1, 10, 98, -2, 99]
    assert prompt.encode(lambda text: [*map(ord, text)], text, [2, 1]) == [97, -1, -1, 10, 98, -2, 99]
    assert prompt.encode(sentencepiece, "<|image_1|>", [1]) == [-1]


# -- cache and table ------------------------------------------------------------------------------------


def test_a_quantized_cache_is_refused_with_a_sentence(unrepaired):
    def attend():
        import mlx.core as mx
        from mlx_lm.models.cache import QuantizedKVCache

        return upstream.small_decoder().layers[0].self_attn(mx.zeros((1, 3, 32)), None, QuantizedKVCache(32, 8))

    with pytest.raises((TypeError, ValueError)):
        WORKER.call(attend)
    WORKER.call(vision.apply)
    with pytest.raises(BadRequest, match="cannot be quantized"):
        WORKER.call(attend)


@pytest.mark.parametrize(("total", "name"), [(24, "long"), (16, "short")])
def test_one_table_for_a_whole_request(total, name, unrepaired, monkeypatch):
    """Chunks before and after the original length (16) agree with one pass; as installed they do not."""
    config = {"original_max_position_embeddings": 16, "rope_scaling": {"short_factor": [1], "long_factor": [8]}}

    def difference(repair: bool):
        import mlx.core as mx
        from mlx_lm.models.cache import KVCache

        model = upstream.small_decoder()
        if repair:
            assert table.choose_table(model, config, total) == name
        attention, cache = model.layers[0].self_attn, KVCache()
        x = mx.sin(mx.arange(24 * 32, dtype=mx.float32)).reshape(1, 24, 32)
        parts = [attention(x[:, i : i + 8], "causal", cache) for i in (0, 8, 16)]
        return float(mx.abs(mx.concatenate(parts, axis=1) - attention(x, "causal")).max())

    assert WORKER.call(difference, False) > 1e-3 > 1e-4 > WORKER.call(difference, True)
    assert longrope.table_for(config, total) == name
    monkeypatch.setattr(upstream, "is_right", lambda probe: True)
    assert WORKER.call(difference, True) > 1e-3, "it steps aside"


def test_the_tables_are_the_configs_own():
    config = {"original_max_position_embeddings": 16, "rope_scaling": {"short_factor": [1], "long_factor": [8]}}

    def outputs():
        import mlx.core as mx

        model, x = upstream.small_decoder(), mx.ones((1, 1, 8, 32))
        rope = model.layers[0].self_attn.rope
        found = {}
        for total in (16, 17):
            name = table.choose_table(model, config, total)
            freqs = getattr(rope, f"_{name}_freqs")
            scale = getattr(rope, f"_{name}_scale")
            wanted = mx.fast.rope(x * scale, 32, traditional=False, base=None, scale=1.0, offset=3, freqs=freqs)
            found[name] = np.abs(np.array(rope(x, offset=3) - wanted)).max()
        return found

    assert {name: value < 1e-6 for name, value in WORKER.call(outputs).items()} == {"short": True, "long": True}
