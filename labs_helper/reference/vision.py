"""What happens to a picture in Phi-3.5-vision: views, patches, a CLIP tower, cells of four, rows for the decoder.

T is the number of patches and one class token, C the width of the tower, W that of the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.pictures import images
from labs_helper.reference import parts
from labs_helper.reference.model import Reference

if TYPE_CHECKING:
    from PIL import Image

    from labs_helper.common.types import Config
    from labs_helper.reference.weights import Array, Weights

PICTURE = "model.vision_embed_tokens."
TOWER = PICTURE + "img_processor.vision_model."
LINE_END, BETWEEN = "sub_GN", "glb_GN"  # learned rows: one ends each line of cells, one parts tiles and global view


def embed(reference: Reference, ids: Sequence[int], pictures: Sequence[Image.Image], num_crops: int = 1) -> Array:
    """What goes into the first layer: embeddings of tokens, and rows of picture i where the id is -i. (T, W).

    Args:
        reference: a phi3_v.
        ids: from `model.prompt(..., images=[...]).ids`.
        pictures: in their order.
        num_crops: tiles that a picture is cut into at most, the same as in the prompt.

    Raises:
        BadRequest: the model takes no pictures, or the prompt has another number of rows for one.

    Example:
        reference.run(ids, rows=embed(reference, ids, [picture]))
    """
    if reference.shape.kind != "phi3_v":
        raise BadRequest(_("This model takes no pictures."), _('Use one that does: load("vision").'))
    places = np.asarray(ids)
    rows: Array = reference.weights["model.embed_tokens.weight"][np.maximum(places, 0)].copy()
    for number, image in enumerate(pictures, start=1):
        seen = picture_rows(reference, image, num_crops)
        if (places == -number).sum() != len(seen):
            raise BadRequest(
                _("The prompt has {count} rows for picture {number}, and the picture makes {rows}.").format(
                    count=(places == -number).sum(), number=number, rows=len(seen)
                ),
                _("Give the same pictures and num_crops as for the prompt."),
            )
        rows[places == -number] = seen
    return rows


def picture_rows(reference: Reference, image: Image.Image, num_crops: int = 1) -> Array:
    """A picture as the decoder gets it: tiles line by line, a separator, the global view. (rows, W).

    Example:
        picture_rows(reference, open_image("a.png")).shape      # (313, 256) for one tile
    """
    plan = images.layout(*image.size, num_crops)
    views = images.pixel_values(image, plan)
    cells = [merge(tower(reference.weights, reference.config["vision_config"], view)) for view in views]
    lines = [np.concatenate(cells[1 + y * plan.columns :][: plan.columns], axis=1) for y in range(plan.rows)]
    between = reference.weights[PICTURE + BETWEEN].reshape(1, -1)
    end = reference.weights[PICTURE + LINE_END].reshape(1, -1)

    def with_ends(grid: Array) -> list[Array]:
        return [part for line in grid for part in (line, end)]

    tiles = [part for grid in lines for part in with_ends(grid)]
    return project(reference.weights, np.concatenate([*tiles, between, *with_ends(cells[0])]))


def tower(weights: Weights, config: Config, view: Array) -> Array:
    """What the CLIP tower makes of one view: the last state but one, without the class token. (T - 1, C).

    Args:
        weights: of the checkpoint.
        config: its `vision_config`.
        view: (3, 336, 336).

    Source: Radford et al. 2021, arXiv:2103.00020.
    """
    x = np.concatenate([weights[TOWER + "embeddings.class_embedding"][None], patches(weights, view)])
    x = x + weights[TOWER + "embeddings.position_embedding.weight"]
    x = _norm(weights, "pre_layrnorm", x)  # the format spells it so
    for layer in range(config["num_hidden_layers"] - 1):  # the last layer is in the format, and not used
        x = _tower_layer(weights, f"encoder.layers.{layer}.", x, config["num_attention_heads"])
    return x[1:]


def patches(weights: Weights, view: Array) -> Array:
    """Squares of 14 x 14 pixels, each multiplied out to the width of the tower. (patches, C)."""
    kernel = weights[TOWER + "embeddings.patch_embedding.weight"]  # (C, 3, 14, 14)
    side, count = kernel.shape[-1], view.shape[-1] // kernel.shape[-1]
    squares = view.reshape(3, count, side, count, side).transpose(1, 3, 0, 2, 4).reshape(count * count, -1)
    seen: Array = squares.astype(np.float32) @ kernel.reshape(len(kernel), -1).T
    return seen


def _tower_layer(weights: Weights, name: str, x: Array, heads: int) -> Array:
    """A layer of the tower: every patch looks at every patch, without a mask. (T, C) in and out."""
    y = _norm(weights, name + "layer_norm1", x)
    q, k, v = (parts.split_heads(_linear(weights, f"{name}self_attn.{part}_proj", y), heads) for part in "qkv")
    looked = parts.softmax(q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(q.shape[-1])))
    x = x + _linear(weights, name + "self_attn.out_proj", (looked @ v).transpose(1, 0, 2).reshape(len(x), -1))
    inner = _linear(weights, name + "mlp.fc1", _norm(weights, name + "layer_norm2", x))
    return x + _linear(weights, name + "mlp.fc2", inner * parts.sigmoid(np.float32(1.702) * inner))  # quick GELU


def merge(states: Array) -> Array:
    """Four neighbouring patches side by side make a cell. (24 * 24, C) becomes (12, 12, 4 * C)."""
    half = math.isqrt(len(states)) // 2
    grid = states.reshape(half, 2, half, 2, -1).transpose(0, 2, 1, 3, 4)
    return grid.reshape(half, half, -1)


def project(weights: Weights, rows: Array) -> Array:
    """Cells and separators as rows of the decoder's width: two linear layers with a GELU between them. (rows, W)."""
    inner = _linear(weights, "img_projection.0", rows, PICTURE)
    return _linear(weights, "img_projection.2", inner * np.float32(0.5) * (1 + _erf(inner / math.sqrt(2))), PICTURE)


def _erf(x: Array) -> Array:
    """NumPy has no error function. Python's takes one number at a time, which is enough for a picture."""
    return np.array([math.erf(value) for value in x.ravel().tolist()], np.float32).reshape(x.shape)


def _norm(weights: Weights, name: str, x: Array) -> Array:
    return parts.layer_norm(x, weights[f"{TOWER}{name}.weight"], weights[f"{TOWER}{name}.bias"], 1e-5)


def _linear(weights: Weights, name: str, x: Array, prefix: str = TOWER) -> Array:
    return x @ weights[f"{prefix}{name}.weight"].T + weights[f"{prefix}{name}.bias"]
