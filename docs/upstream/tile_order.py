"""mlx-vlm: phi3_v joins the tiles of a picture one after the other.

Title: phi3_v: patches of several tiles are out of order when a picture has more than one column of tiles

`VisionModel.__call__` reshapes the merged cells of all tiles, (tiles, 12, 12, 4C), straight to (1, h * 12, w * 12, 4C).
Without an exchange of axes the twelve lines of one tile fill whole lines of the picture, so with two columns nearly every
row of the decoder's input is in a wrong place. The published processor and model lay the tiles out side by side
(`reshape_hd_patches_2x2merge` in modeling_phi3_v.py).

Suggested fix, in `_reshape_and_concatenate` for `sub_img`:
    x.reshape(h, w, 12, 12, 4C).transpose(0, 2, 1, 3, 4).reshape(1, h * 12, w * 12, 4C)
"""

from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
from mlx_vlm.models.phi3_v import VisionModel

# A tower that numbers its patches, so that the order can be read off: global view and two tiles, side by side.
states = mx.arange(3 * 577, dtype=mx.float32).reshape(3, 577, 1)
model = VisionModel.__new__(VisionModel)
nn.Module.__init__(model)
model.image_dim_out, model.img_projection = 1, []
model.glb_GN, model.sub_GN = mx.full([1, 1, 4], -1.0), mx.full([1, 1, 1, 4], -1.0)
model.img_processor = SimpleNamespace(vision_model=lambda views, hidden: (None, None, (states, None)))

rows = (1 * 2 + 1) * 144 + 1 + (1 + 1) * 12
output = model(mx.zeros((1, 3, 3, 1, 1)), mx.zeros((1, rows, 4)), mx.array([[336, 672]]), [[0, i] for i in range(rows)])

first_line = output[0, :24, 0].tolist()  # the first line of the picture: 12 cells of tile 1, then 12 of tile 2
tile_1, tile_2 = 577 + 1, 2 * 577 + 1  # numbers of the first patch of each
expected = [tile_1 + 2 * i for i in range(12)] + [tile_2 + 2 * i for i in range(12)]
print("first line of the picture:", [int(value) for value in first_line])
print("expected:                 ", expected)
print("right" if first_line == expected else "wrong")
