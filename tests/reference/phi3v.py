"""The picture path of Phi-3.5-vision in torch, written from its published description, cell by cell.

It shares no code with labs_helper or mlx-vlm. The tower is transformers' CLIPVisionModel; around it:
  1. The picture is enlarged or reduced, keeping its shape, until its long side fills as many squares of 336 pixels as
     `num_crops` allows; an upright picture is laid on its side for this. Bilinear. White above and below fills up
     whole squares.
  2. Pixels are divided by 255 and normalised with CLIP's mean and deviation.
  3. The global view is the padded picture at 336 x 336 (torch's bicubic interpolation); the tiles are its squares, row
     by row.
  4. Of the tower's last hidden state but one, without the class token, four neighbouring patches make a cell.
  5. The cells of all tiles are read line by line across the whole picture; each line ends with the separator
     `sub_GN`. Then `glb_GN`, then the global view in the same way.
  6. Two linear layers with a GELU between them project each cell and separator to the decoder's width.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModel

SQUARE, CELLS = 336, 12
MEAN, STD = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])


def hd_transform(image: Image.Image, num_crops: int) -> tuple[torch.Tensor, int, int]:
    """Steps 1 to 3: views (1 + h * w, 3, 336, 336), and h and w in tiles."""
    upright = image.height > image.width
    if upright:
        image = image.transpose(Image.TRANSPOSE)
    ratio = image.width / image.height
    across = max(n for n in range(1, num_crops + 1) if n * math.ceil(n / ratio) <= num_crops)
    size = (across * SQUARE, int(across * SQUARE / ratio))
    pixels = torch.from_numpy(np.array(image.resize(size, Image.BILINEAR))).permute(2, 0, 1).float()
    missing = math.ceil(size[1] / SQUARE) * SQUARE - size[1]
    pixels = functional.pad(pixels, (0, 0, missing // 2, missing - missing // 2), value=255.0)
    if upright:
        pixels = pixels.transpose(1, 2)
    pixels = (pixels / 255 - MEAN[:, None, None]) / STD[:, None, None]
    h, w = pixels.shape[1] // SQUARE, pixels.shape[2] // SQUARE
    views = [functional.interpolate(pixels[None], size=(SQUARE, SQUARE), mode="bicubic")[0]]
    for y in range(h):
        views += [pixels[:, y * SQUARE : (y + 1) * SQUARE, x * SQUARE : (x + 1) * SQUARE] for x in range(w)]
    return torch.stack(views), h, w


class Reference:
    """Steps 4 to 6 with weights by name.

    weights: a function of name and shape that gives the checkpoint's array.
    """

    def __init__(self, vision: dict, hidden: int, weights):
        self.tower = CLIPVisionModel(
            CLIPVisionConfig(**vision, hidden_act="quick_gelu", attn_implementation="eager")
        ).eval()
        with torch.no_grad():
            for name, parameter in self.tower.named_parameters():
                full = "img_processor.vision_model." + name.removeprefix("vision_model.")
                parameter.copy_(torch.from_numpy(weights(full, tuple(parameter.shape))))
        width = 4 * vision["hidden_size"]
        shapes = {
            "sub_GN": (1, 1, 1, width),
            "glb_GN": (1, 1, width),
            "img_projection.0.weight": (hidden, width),
            "img_projection.0.bias": (hidden,),
            "img_projection.2.weight": (hidden, hidden),
            "img_projection.2.bias": (hidden,),
        }
        self.other = {name: torch.from_numpy(weights(name, shape)) for name, shape in shapes.items()}

    @torch.no_grad()
    def rows(self, image: Image.Image, num_crops: int) -> torch.Tensor:
        """All rows of a picture: (rows, hidden)."""
        views, h, w = hd_transform(image, num_crops)
        states = self.tower(views, output_hidden_states=True).hidden_states[-2][:, 1:]

        def cell(view: int, y: int, x: int) -> torch.Tensor:
            corner = 2 * y * 2 * CELLS + 2 * x
            return torch.cat([states[view, corner + step] for step in (0, 1, 2 * CELLS, 2 * CELLS + 1)])

        line_end, between = self.other["sub_GN"].flatten(), self.other["glb_GN"].flatten()
        found = []
        for y in range(h * CELLS):
            found += [cell(1 + (y // CELLS) * w + x // CELLS, y % CELLS, x % CELLS) for x in range(w * CELLS)]
            found.append(line_end)
        found.append(between)
        for y in range(CELLS):
            found += [*(cell(0, y, x) for x in range(CELLS)), line_end]

        def projected(x: torch.Tensor, layer: int) -> torch.Tensor:
            name = f"img_projection.{layer}."
            return functional.linear(x, self.other[name + "weight"], self.other[name + "bias"])

        return projected(functional.gelu(projected(torch.stack(found), 0)), 2)
