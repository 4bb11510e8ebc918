"""A phi3_v in miniature and pictures for it, from formulas: reference and test make the same, nothing is stored."""

from __future__ import annotations

import numpy as np
from PIL import Image

HIDDEN = 16
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 336,
    "patch_size": 14,
    "num_channels": 3,
    "layer_norm_eps": 1e-5,
}
# name: (num_crops, the pictures' (width, height)); the layout that follows, as rows x columns, is part of the name.
CASES = {
    "1x1": (1, [(640, 360)]),
    "1x4": (4, [(1000, 210)]),
    "4x1": (4, [(130, 600)]),
    "2x2": (4, [(500, 420)]),
    "3x5": (16, [(640, 360)]),
    "2x2 and 1x3": (4, [(360, 300), (901, 300)]),
}


def numbers(name: str, shape) -> np.ndarray:
    """Numbers from -1 to 1 that depend on nothing but a name: a multiplicative hash of the place (Knuth)."""
    seed = sum((i + 1) * ord(letter) for i, letter in enumerate(name))
    place = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed * 7919)
    mixed = place * np.uint64(2654435761) % np.uint64(2**32)
    mixed = (mixed ^ (mixed >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(2**32)
    return (mixed.astype(np.float64) / 2**31 - 1).astype(np.float32).reshape(shape)


def weight(name: str, shape) -> np.ndarray:
    """A weight by its name in the checkpoint, in torch's layout, of a size that keeps activations near 1."""
    if name.endswith(("norm1.weight", "norm2.weight", "norm.weight")):
        return 1 + 0.3 * numbers(name, shape)
    if name.endswith(("GN", "embedding", "position_embedding.weight")):
        return numbers(name, shape)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 16
    return numbers(name, shape) * np.float32(1.7 / fan_in**0.5)


def picture(case: str, number: int) -> Image.Image:
    """The picture of a case: bands of colour under a fine grain, so that no two places look alike."""
    width, height = CASES[case][1][number]
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    bands = np.stack([x, y, (3 * x + 5 * y) % 1], axis=-1) * 160
    grain = (numbers(f"{case} {number}", (height, width, 3)) + 1) * 45
    return Image.fromarray((bands + grain).astype(np.uint8))
