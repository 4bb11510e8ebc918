"""Small copies of pictures, for HTML and SVG."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def data_address(image: Image.Image, width: int, height: int) -> str:
    """A small copy of a picture as a data address, for HTML and SVG.

    It is shrunk to fit width x height (and half as much again, for sharp screens) and stored as PNG or JPEG, whichever
    takes fewer bytes.

    Example:
        >>> from PIL import Image
        >>> data_address(Image.new("RGB", (600, 400)), 60, 60)[:22]
        'data:image/png;base64,'
    """
    from PIL import Image

    small = image.convert("RGB")
    small.thumbnail((round(1.5 * width), round(1.5 * height)), Image.Resampling.LANCZOS)
    drawing, photo = io.BytesIO(), io.BytesIO()
    small.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(drawing, "PNG", optimize=True)
    small.save(photo, "JPEG", quality=85)
    data, mime = min((drawing.getvalue(), "image/png"), (photo.getvalue(), "image/jpeg"), key=lambda pair: len(pair[0]))
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
