"""Turn a prompt with picture tags into ids without losing a token.

What: the text after each picture loses its first token, and tags are taken in any order and number.
Where: mlx_vlm/models/phi3_v/processing_phi3_v.py, `_convert_images_texts_to_inputs` (mlx-vlm 0.7.10). No thread found
    upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from labs_helper.corrections.vision import upstream
from labs_helper.pictures.tags import TAG, check_tags, numbers_in

_METHOD = "_convert_images_texts_to_inputs"


def encode(encode_text: Callable[[str], Sequence[int]], text: str, tokens_of_pictures: Sequence[int]) -> list[int]:
    """A prompt with picture tags as ids: -i holds the place of picture i, as often as it has rows.

    The text after a tag is encoded by itself. SentencePiece-like tokenizers put a dummy space before each text; it
    is taken off, and nothing else.

    Args:
        encode_text: turns a text without tags into ids.
        text: the prompt.
        tokens_of_pictures: rows of picture 1, 2, ...

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


def install() -> None:
    """Put the step that loses nothing into mlx_vlm's processor.

    Example:
        install()
    """
    upstream.replace(upstream.import_mlx_vlm().Phi3VProcessor, _METHOD, _convert_images_texts_to_inputs)


def _convert_images_texts_to_inputs(self: Any, images: Any, texts: str, **_options: Any) -> Any:
    """Takes the place of Phi3VProcessor's: no token is lost, tags and pictures must fit."""
    import mlx.core as mx
    from mlx_vlm.models.phi3_v.processing_phi3_v import BatchFeature

    images = images or []
    check_tags(numbers_in(texts), len(images))

    def encode_text(text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    counts = [self.image_processor.calc_num_image_tokens(image) for image in images]
    ids = encode(encode_text, texts, counts)
    data = {"input_ids": mx.array([ids]), "attention_mask": mx.ones((1, len(ids)), mx.int32)}
    return BatchFeature(data=data | (dict(self.image_processor(images)) if images else {}))


def probe() -> bool:
    """Whether "<|image_1|>Hi" keeps its H where each character is a token.

    Example:
        probe()      # False with mlx-vlm 0.7.10
    """
    phi3_v = upstream.import_mlx_vlm()
    from PIL import Image

    letters = SimpleNamespace(encode=lambda text, add_special_tokens=True: [ord(c) for c in text], bos_token_id=None)
    processor = SimpleNamespace(tokenizer=letters, image_processor=phi3_v.Phi3VImageProcessor(num_crops=1))
    convert = getattr(phi3_v.Phi3VProcessor, _METHOD)
    ids = convert(processor, images=[Image.new("RGB", (9, 9))], texts="<|image_1|>Hi")["input_ids"]
    return bool(ids[0, -2:].tolist() == [ord("H"), ord("i")])
