"""Put the tiles of a picture side by side.

What: the patches of several tiles are joined without putting the tiles side by side: with more than one column of
    tiles nearly every row is in a wrong place.
Where: mlx_vlm/models/phi3_v/vision.py, `_reshape_and_concatenate` (mlx-vlm 0.7.10). No thread found upstream.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from labs_helper.corrections.vision import sizes, upstream
from labs_helper.pictures import images

if TYPE_CHECKING:
    import mlx.core as mx


def features(tower: Any, pixels: mx.array) -> mx.array:
    """What the tower sees in views: the last hidden state but one, without the class token, merged two by two.

    The last layer is in the format but not used, so it is not computed.

    Args:
        tower: a VisionModel.
        pixels: (n, 3, 336, 336).

    Returns:
        (n, 12, 12, 4 * width): the four patches of a cell side by side, in reading order.

    Example:
        features(model.vision_model, pixels).shape
    """
    clip = tower.img_processor.vision_model
    x: mx.array = clip.pre_layrnorm(clip.embeddings(pixels.transpose(0, 2, 3, 1)))
    for layer in clip.encoder.layers[:-1]:
        x = layer(x)
    n, patches, width = x.shape[0], x.shape[1] - 1, x.shape[2]
    half = round(patches**0.5) // 2
    x = x[:, 1:].reshape(n, half, 2, half, 2, width)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, half, half, 4 * width)


def arrange(tower: Any, cells: mx.array, rows: int, columns: int) -> mx.array:
    """The merged cells of a picture as rows for the decoder: tiles, separator, global view.

    Args:
        tower: a VisionModel.
        cells: (1 + rows * columns, 12, 12, 4 * width) from `features`, the global view first.
        rows: of tiles.
        columns: of tiles.

    Returns:
        (images.image_tokens(rows, columns), hidden). Each line of cells ends with a separator.

    Example:
        arrange(tower, features(tower, pixels), 2, 2).shape[0]      # 757
    """
    import mlx.core as mx

    half, width = cells.shape[1], cells.shape[3]
    # Tiles side by side: without this exchange of axes the cells of one tile fill whole lines of the picture.
    tiles = cells[1:].reshape(rows, columns, half, half, width).transpose(0, 2, 1, 3, 4)

    def lines(grid: mx.array) -> mx.array:
        ends = mx.broadcast_to(tower.sub_GN.reshape(1, 1, width), (grid.shape[0], 1, width))
        return mx.concatenate([grid, ends], axis=1).reshape(-1, width)

    x = mx.concatenate(
        [lines(tiles.reshape(rows * half, columns * half, width)), tower.glb_GN.reshape(1, width), lines(cells[0])]
    )
    for layer in tower.img_projection:
        x = layer(x)
    return x


@cache
def repaired_model() -> Any:
    """mlx-vlm's VisionModel with the sizes of `vision_config` and its tiles in order.

    Example:
        repaired_model()(config)
    """

    class RepairedVisionModel(sizes.sized_model()):  # type: ignore[misc]  # mlx-vlm has no types
        def __call__(
            self,
            img_embeds: Any,
            txt_embeds: Any = None,
            img_sizes: Any = None,
            positions: Any = None,
            output_hidden_states: bool | None = None,
        ) -> Any:
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

    return RepairedVisionModel


def vision_model() -> Any:
    """The VisionModel to build: mlx-vlm's own if it obeys `vision_config`, else ours.

    Example:
        vision_model()(config)
    """
    return upstream.import_mlx_vlm().VisionModel if upstream.is_right(sizes.probe) else repaired_model()


def install() -> None:
    """Put the repaired tower into mlx_vlm.

    Example:
        install()
    """
    sizes.install_model(repaired_model())


def probe() -> bool:
    """Whether one row of two tiles whose patches are numbered comes out in order.

    Example:
        probe()      # False with mlx-vlm 0.7.10
    """
    phi3_v = upstream.import_mlx_vlm()
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
    rows = phi3_v.VisionModel.__call__(
        tower,
        mx.zeros((1, 3, 3, 1, 1)),
        mx.zeros((1, count, 4 * width)),
        mx.array([[images.TILE, 2 * images.TILE]]),
        [[0, i] for i in range(count)],
    )
    cells = states[:, 1:].reshape(3, 12, 2, 12, 2, width).transpose(0, 1, 3, 2, 4, 5).reshape(3, 12, 12, 4 * width)
    return bool(mx.array_equal(rows, arrange(tower, cells, 1, 2)[None]).item())


class _NumberedPatches:
    """A tower that sees the same in every picture: for upstream's way of asking it, and for `features`."""

    encoder = SimpleNamespace(layers=[None])

    def __init__(self, states: mx.array) -> None:
        self.embeddings: Callable[[mx.array], mx.array] = lambda views: states[: len(views)]
        self.pre_layrnorm: Callable[[mx.array], mx.array] = lambda x: x

    def __call__(
        self, views: mx.array, output_hidden_states: bool | None = None
    ) -> tuple[None, None, tuple[Any, None]]:
        return None, None, (self.embeddings(views), None)
