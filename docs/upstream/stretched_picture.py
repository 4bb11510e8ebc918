"""mlx-vlm: phi3_v's processor stretches pictures to whole tiles.

Title: phi3_v: pictures are stretched; the published processor keeps their shape and adds white bars

`_hd_transform` resizes a picture to a multiple of 336 in both directions. The published image_processing_phi3_v.py
(`HD_transform`, `padding_336`) resizes with the shape kept and pads with white, in equal parts above and below. A circle
in a 16:9 picture reaches the model as an ellipse.

Suggested fix: resize to (scale * 336, int(scale * 336 / ratio)), then paste in the middle of a white canvas of whole
tiles.
"""

import numpy as np
from mlx_vlm.models.phi3_v import Phi3VImageProcessor
from PIL import Image

processor = Phi3VImageProcessor(num_crops=4)
pixels, _size = processor._process_single_image(Image.new("RGB", (640, 360)))  # black, 16:9: two by two tiles
values = np.asarray(pixels)[1:] * np.reshape(processor.image_std, (3, 1, 1)) + np.reshape(
    processor.image_mean, (3, 1, 1)
)
white = float((values > 0.99).mean())
expected = 1 - (672 / 640 * 360) / 672  # bars above and below a picture of 672 x 378
print(f"white part of the tiles: {white:.3f}")
print(f"expected:                {expected:.3f}")
print("right" if abs(white - expected) < 0.01 else "wrong")
