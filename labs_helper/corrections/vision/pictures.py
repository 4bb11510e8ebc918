"""Keep the shape of a picture.

What: the processor stretches a picture to whole tiles; the published one keeps its shape and adds white bars.
Where: mlx_vlm/models/phi3_v/processing_phi3_v.py, `_process_single_image` (mlx-vlm 0.7.10). No thread found upstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labs_helper.corrections.vision import upstream
from labs_helper.pictures import images

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_METHOD = "_process_single_image"


def install() -> None:
    """Put the shape-keeping step into mlx_vlm's image processor.

    Example:
        install()
    """
    upstream.replace(upstream.import_mlx_vlm().Phi3VImageProcessor, _METHOD, _process_single_image)


def _process_single_image(self: Any, image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
    """Takes the place of Phi3VImageProcessor's. Returns (views, (height, width))."""
    image = images.open_image(image)
    plan = images.layout(*image.size, self.num_crops)
    width, height = plan.padded
    return images.pixel_values(image, plan, self.image_mean, self.image_std), (height, width)


def probe() -> bool:
    """Whether a black picture of 640 x 360 gets white bars above and below.

    Example:
        probe()      # False with mlx-vlm 0.7.10
    """
    phi3_v = upstream.import_mlx_vlm()
    import numpy as np
    from PIL import Image

    black = Image.new("RGB", (640, 360))
    pixels, _size = getattr(phi3_v.Phi3VImageProcessor(num_crops=4), _METHOD)(black)
    return bool(np.allclose(pixels, images.pixel_values(black, images.layout(640, 360, 4)), atol=1e-4))
