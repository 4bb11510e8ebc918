"""What mlx-vlm gets wrong about Phi-3.5-vision (phi3_v, mlx-vlm 0.7.10), repaired.

sizes     `VisionModel` has CLIP-L's sizes written into it and ignores `vision_config`, so no smaller tower loads.
tiles     The patches of several tiles are joined without putting the tiles side by side: with more than one column of
          tiles nearly every row is in a wrong place (models/phi3_v/vision.py, `_reshape_and_concatenate`).
pictures  The processor stretches a picture to whole tiles; the published one keeps its shape and adds white bars
          (models/phi3_v/processing_phi3_v.py, `_process_single_image`).
prompt    The text after each picture loses its first token (same file, `_convert_images_texts_to_inputs`).
cache     With `kv_bits` the quantized keys reach an attention that cannot take them: a bare TypeError
          (models/phi3_v/phi3_v.py, `Attention`). Refused here with a sentence.
table     LongRoPE's table is chosen for each chunk of a prompt, so a long prompt mixes two tables
          (models/rope_utils.py, `SuScaledRoPE`; the same trap is described in lablup/mlxcel#1358).

No thread was found upstream for the first five. The engine uses `rows` and `choose_table` below; `apply` puts the
first five into mlx_vlm itself, so that a plain `mlx_vlm.generate` is right too. Each has a probe (`upstream_is_right`)
and is left out where the installed mlx-vlm is right already.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from labs_helper.corrections import before_mlx, limits, longrope
from labs_helper.errors import BadRequest
from labs_helper.pictures import images
from labs_helper.pictures.tags import TAG, check_tags, numbers_in

PARTS = ("sizes", "tiles", "pictures", "prompt", "cache")
_originals: list[tuple[object, str, object]] = []


def import_mlx_vlm():
    """mlx_vlm's package of phi3_v, imported with our other corrections in place.

    Example:
        import_mlx_vlm().Model
    """
    before_mlx()
    with limits.keep_file_limit():
        from mlx_vlm.models import phi3_v
    return phi3_v


# -- the tower --------------------------------------------------------------------------------------------


def features(tower, pixels):
    """What the tower sees in views: the last hidden state but one, without the class token, merged two by two.

    tower: a VisionModel. pixels: (n, 3, 336, 336). Returns (n, 12, 12, 4 * width): the four patches of a cell
    side by side, in reading order. The last layer is in the format but not used, so it is not computed.

    Example:
        features(model.vision_model, pixels).shape
    """
    clip = tower.img_processor.vision_model
    x = clip.pre_layrnorm(clip.embeddings(pixels.transpose(0, 2, 3, 1)))
    for layer in clip.encoder.layers[:-1]:
        x = layer(x)
    n, patches, width = x.shape[0], x.shape[1] - 1, x.shape[2]
    half = round(patches**0.5) // 2
    x = x[:, 1:].reshape(n, half, 2, half, 2, width)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, half, half, 4 * width)


def arrange(tower, seen, rows: int, columns: int):
    """The merged cells of a picture as rows for the decoder: tiles, separator, global view.

    seen: (1 + rows * columns, 12, 12, 4 * width) from `features`, the global view first.
    Returns (images.image_tokens(rows, columns), hidden). Each line of cells ends with a separator.

    Example:
        arrange(tower, features(tower, pixels), 2, 2).shape[0]      # 757
    """
    import mlx.core as mx

    half, width = seen.shape[1], seen.shape[3]
    # Tiles side by side: without this exchange of axes the cells of one tile fill whole lines of the picture.
    tiles = seen[1:].reshape(rows, columns, half, half, width).transpose(0, 2, 1, 3, 4)

    def lines(grid):
        ends = mx.broadcast_to(tower.sub_GN.reshape(1, 1, width), (grid.shape[0], 1, width))
        return mx.concatenate([grid, ends], axis=1).reshape(-1, width)

    x = mx.concatenate(
        [lines(tiles.reshape(rows * half, columns * half, width)), tower.glb_GN.reshape(1, width), lines(seen[0])]
    )
    for layer in tower.img_projection:
        x = layer(x)
    return x


@cache
def vision_models():
    """Two subclasses of mlx-vlm's VisionModel: (with the sizes of `vision_config`, also with its tiles in order).

    Parameter names and, without sizes in the config, shapes are upstream's: real checkpoints load the same way.

    Example:
        sized, repaired = vision_models()
    """
    phi3_v = import_mlx_vlm()
    import mlx.core as mx
    import mlx.nn as nn
    from mlx_vlm.models.phi3_v.vision import ClipVModel

    class SizedVisionModel(phi3_v.VisionModel):
        def __init__(self, config):
            nn.Module.__init__(self)
            vision = getattr(config, "vision_config", config)  # mlx_vlm.load also builds it from VisionConfig alone
            width = vision.hidden_size
            self.model_type = config.model_type
            self.img_processor = ClipVModel(vision)
            self.image_dim_out = width
            self.glb_GN, self.sub_GN = mx.zeros([1, 1, 4 * width]), mx.zeros([1, 1, 1, 4 * width])
            self.img_projection = [
                nn.Linear(4 * width, config.hidden_size),
                nn.GELU(),
                nn.Linear(config.hidden_size, config.hidden_size),
            ]

    class RepairedVisionModel(SizedVisionModel):
        def __call__(self, img_embeds, txt_embeds=None, img_sizes=None, positions=None, output_hidden_states=None):
            if output_hidden_states:
                return super().__call__(img_embeds, output_hidden_states=output_hidden_states)
            at = 0
            for views, (height, width) in zip(img_embeds, img_sizes.tolist()):
                down, across = height // images.TILE, width // images.TILE
                # Views beyond those of this picture are padding of the batch.
                x = arrange(self, features(self, views[: 1 + down * across]), down, across)
                row, start = positions[at]
                txt_embeds[row, start : start + x.shape[0]] = x.astype(txt_embeds.dtype)
                at += x.shape[0]
            return txt_embeds

    return SizedVisionModel, RepairedVisionModel


def vision_model():
    """The VisionModel to build: mlx-vlm's own if it obeys `vision_config`, else ours with the sizes.

    Example:
        vision_model()(config)
    """
    return import_mlx_vlm().VisionModel if upstream_is_right("sizes") else vision_models()[1]


# -- the prompt -------------------------------------------------------------------------------------------


def encode(encode_text, text: str, tokens_of_pictures) -> list[int]:
    """A prompt with picture tags as ids: the place of picture i is held by -i, as often as it has rows.

    encode_text: turns a text without tags into ids.
    tokens_of_pictures: rows of picture 1, 2, ...

    The text after a tag is encoded by itself. SentencePiece-like tokenizers put a dummy space before each text; it
    is taken off, and only it.

    Example:
        encode(tokenizer.encode, "<|user|>\\n<|image_1|>\\nHi<|end|>\\n", [313])
    """
    start, *rest = TAG.split(text)
    ids = list(encode_text(start)) if start else []
    dummy = list(encode_text("\n"))[:-1]
    for number, chunk in zip(map(int, rest[::2]), rest[1::2]):
        ids += [-number] * tokens_of_pictures[number - 1]
        after = list(encode_text(chunk)) if chunk else []
        ids += after[len(dummy) :] if dummy and after[: len(dummy)] == dummy else after
    return ids


# -- LongRoPE ---------------------------------------------------------------------------------------------


def choose_table(model, config: dict, total_tokens: int) -> str | None:
    """Install one LongRoPE table for a whole request in an mlx-vlm model. Returns "short", "long" or None.

    mlx-vlm compares the end of each chunk with the original length. Moving that length out of the way lets its
    own code pick one table throughout.

    total_tokens: tokens of the prompt, pictures included, plus max_tokens.

    Example:
        choose_table(model, config, 300)      # 'short'
    """
    name = longrope.table_for(config, total_tokens)
    if name is not None and not upstream_is_right("table"):
        for layer in model.layers:
            rope = layer.self_attn.rope
            if hasattr(rope, "original_max_position_embeddings"):
                rope.original_max_position_embeddings = 2**30 if name == "short" else 0
    return name


# -- into mlx_vlm itself ----------------------------------------------------------------------------------


def apply(*parts: str) -> tuple[str, ...]:
    """Put repairs into mlx_vlm, so that its own load() and generate() are right. Returns what was put in.

    parts: of PARTS; none means all. Parts that the installed mlx-vlm has right are left out. The sizes come
        along with the tiles. Only models that are loaded afterwards have a repaired tower.
    Raises BadRequest for a part that does not exist.

    Example:
        apply()      # ('sizes', 'tiles', 'pictures', 'prompt', 'cache') with mlx-vlm 0.7.10
    """
    if not set(parts) <= set(PARTS):
        raise BadRequest(f"There is no part {sorted(set(parts) - set(PARTS))}.", f"Use some of: {', '.join(PARTS)}.")
    phi3_v = import_mlx_vlm()
    from mlx_vlm.models.phi3_v import phi3_v as model_file

    undo()
    needed = tuple(part for part in parts or PARTS if not upstream_is_right(part))
    if "sizes" in needed or "tiles" in needed:
        chosen = vision_models()["tiles" in needed]
        _replace(phi3_v, "VisionModel", chosen)  # mlx_vlm.load takes its sanitize from here
        _replace(model_file, "VisionModel", chosen)  # and Phi3V builds it from here
    if "pictures" in needed:
        _replace(phi3_v.Phi3VImageProcessor, "_process_single_image", _process_single_image)
    if "prompt" in needed:
        _replace(phi3_v.Phi3VProcessor, "_convert_images_texts_to_inputs", _convert_images_texts_to_inputs)
    if "cache" in needed:
        _replace(model_file.Attention, "__call__", _refusing(model_file.Attention.__call__))
    return needed


def undo() -> None:
    """Take the repairs out of mlx_vlm again; for showing both sides.

    Example:
        undo()
    """
    while _originals:
        setattr(*_originals.pop())


def _replace(owner, name: str, new) -> None:
    _originals.append((owner, name, getattr(owner, name)))
    setattr(owner, name, new)


def _process_single_image(self, image):
    """Stands in for Phi3VImageProcessor's: the picture keeps its shape. Returns (views, (height, width))."""
    image = images.open_image(image)
    plan = images.layout(*image.size, self.num_crops)
    return images.pixel_values(image, plan, self.image_mean, self.image_std), plan.padded[::-1]


def _convert_images_texts_to_inputs(self, images, texts, **_):
    """Stands in for Phi3VProcessor's: no token is lost, tags and pictures must fit."""
    import mlx.core as mx
    from mlx_vlm.models.phi3_v.processing_phi3_v import BatchFeature

    images = images or []
    check_tags(numbers_in(texts), len(images))

    def encode_text(text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    counts = [self.image_processor.calc_num_image_tokens(image) for image in images]
    ids = encode(encode_text, texts, counts)
    data = {"input_ids": mx.array([ids]), "attention_mask": mx.ones((1, len(ids)), mx.int32)}
    return BatchFeature(data=data | (dict(self.image_processor(images)) if images else {}))


def _refusing(attention):
    def checked(self, x, mask=None, cache=None):
        if hasattr(cache, "bits"):
            raise BadRequest(
                "The KV cache of Phi-3.5-vision cannot be quantized in this version of mlx-vlm.",
                "Leave kv_bits out.",
            )
        return attention(self, x, mask, cache)

    return checked


# -- probes -----------------------------------------------------------------------------------------------


@cache
def upstream_is_right(part: str) -> bool:
    """Whether the installed mlx-vlm needs no repair of this part: one of PARTS, or "table". Found out once.

    Example:
        upstream_is_right("tiles")      # False with mlx-vlm 0.7.10
    """
    kept = list(_originals)
    now = [(owner, name, getattr(owner, name)) for owner, name, _ in kept]
    undo()  # the probes look at mlx-vlm as it is installed
    try:
        return _PROBES[part]()
    finally:
        for owner, name, value in now:
            setattr(owner, name, value)
        _originals.extend(kept)


def _sizes_right() -> bool:
    phi3_v = import_mlx_vlm()
    small = phi3_v.VisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    # MLX makes arrays when they are needed, so even a tower of full size costs nothing here.
    built = phi3_v.VisionModel(phi3_v.ModelConfig(hidden_size=16, vision_config=small))
    return built.sub_GN.shape[-1] == 64


def _tiles_right() -> bool:
    """One row of two tiles whose patches are numbered: the second row of the result must begin where it should."""
    phi3_v = import_mlx_vlm()
    import mlx.core as mx
    import mlx.nn as nn

    tower = phi3_v.VisionModel.__new__(phi3_v.VisionModel)
    nn.Module.__init__(tower)
    width = 1
    states = mx.arange(3 * 577, dtype=mx.float32).reshape(3, 577, width)
    tower.image_dim_out, tower.img_projection = width, []
    tower.glb_GN, tower.sub_GN = mx.zeros([1, 1, 4 * width]), mx.zeros([1, 1, 1, 4 * width])
    tower.img_processor = SimpleNamespace(vision_model=_NumberedPatches(states))
    count = images.image_tokens(1, 2)
    filled = phi3_v.VisionModel.__call__(
        tower,
        mx.zeros((1, 3, 3, 1, 1)),
        mx.zeros((1, count, 4 * width)),
        mx.array([[336, 672]]),
        [[0, i] for i in range(count)],
    )
    cells = states[:, 1:].reshape(3, 12, 2, 12, 2, width).transpose(0, 1, 3, 2, 4, 5).reshape(3, 12, 12, 4 * width)
    return mx.array_equal(filled, arrange(tower, cells, 1, 2)[None]).item()


class _NumberedPatches:
    """A tower that sees the same in every picture: for upstream's way of asking it, and for `features`."""

    encoder = SimpleNamespace(layers=[None])

    def __init__(self, states):
        self.embeddings = lambda views: states[: len(views)]
        self.pre_layrnorm = lambda x: x

    def __call__(self, views, output_hidden_states=None):
        return None, None, (self.embeddings(views), None)


def _pictures_right() -> bool:
    """A black picture of 640 x 360 must have white bars above and below."""
    phi3_v = import_mlx_vlm()
    import numpy as np
    from PIL import Image

    pixels, _ = phi3_v.Phi3VImageProcessor(num_crops=4)._process_single_image(Image.new("RGB", (640, 360)))
    return bool(
        np.allclose(pixels, images.pixel_values(Image.new("RGB", (640, 360)), images.layout(640, 360, 4)), atol=1e-4)
    )


def _prompt_right() -> bool:
    """With one token a character, "<|image_1|>Hi" must keep its H."""
    phi3_v = import_mlx_vlm()
    from PIL import Image

    letters = SimpleNamespace(encode=lambda text, add_special_tokens=True: [ord(c) for c in text], bos_token_id=None)
    stub = SimpleNamespace(tokenizer=letters, image_processor=phi3_v.Phi3VImageProcessor(num_crops=1))
    ids = phi3_v.Phi3VProcessor._convert_images_texts_to_inputs(
        stub, images=[Image.new("RGB", (9, 9))], texts="<|image_1|>Hi"
    )["input_ids"]
    return ids[0, -2:].tolist() == [ord("H"), ord("i")]


def _cache_right() -> bool:
    model = _probe_model()
    import mlx.core as mx
    from mlx_lm.models.cache import QuantizedKVCache

    try:
        mx.eval(model.layers[0].self_attn(mx.zeros((1, 3, 32)), None, QuantizedKVCache(group_size=32, bits=8)))
    except (TypeError, ValueError):
        return False
    return True


def _table_right() -> bool:
    """A prompt that crosses the original length, in one pass and in two chunks: the same numbers."""
    model = _probe_model()
    import mlx.core as mx
    from mlx_lm.models.cache import KVCache

    x = mx.sin(mx.arange(24 * 32, dtype=mx.float32) * 1.7).reshape(1, 24, 32)
    attention, cache = model.layers[0].self_attn, KVCache()
    whole = attention(x, "causal")
    chunks = mx.concatenate([attention(x[:, :12], "causal", cache), attention(x[:, 12:], "causal", cache)], axis=1)
    return mx.allclose(whole, chunks, atol=1e-4).item()


def _probe_model():
    """A decoder with one layer whose LongRoPE tables differ, with fixed weights: the verdict is always the same."""
    phi3_v = import_mlx_vlm()
    import mlx.core as mx
    from mlx.utils import tree_map_with_path
    from mlx_vlm.models.phi3_v.phi3_v import TransformerBlock

    config = phi3_v.ModelConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        vocab_size=16,
        max_position_embeddings=64,
        original_max_position_embeddings=16,
        rope_scaling={"type": "longrope", "short_factor": [1.0] * 16, "long_factor": [8.0] * 16},
    )
    block = TransformerBlock(config)
    block.update(
        tree_map_with_path(
            lambda name, value: mx.sin(mx.arange(value.size, dtype=mx.float32) * 1.7 + len(name)).reshape(value.shape),
            block.parameters(),
        )
    )
    return SimpleNamespace(layers=[block])


_PROBES = {
    "sizes": _sizes_right,
    "tiles": _tiles_right,
    "pictures": _pictures_right,
    "prompt": _prompt_right,
    "cache": _cache_right,
    "table": _table_right,
}
