"""Small copies of pictures, for HTML and SVG."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def data_address(image: Image.Image, width: int, height: int) -> str:
    """A small copy of a picture as a data address, for HTML and SVG.

    It is shrunk to fit width x height (and half as much again, for sharp screens) and stored as PNG, WebP with the same
    pixels or JPEG, whichever takes the fewest bytes.

    Example:
        >>> from PIL import Image
        >>> data_address(Image.new("RGB", (600, 400)), 60, 60)[:11]
        'data:image/'
    """
    from PIL import Image, features

    small = image.convert("RGB")
    small.thumbnail((round(1.5 * width), round(1.5 * height)), Image.Resampling.LANCZOS)
    drawing, photo = io.BytesIO(), io.BytesIO()
    few = small.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(drawing, "PNG", optimize=True)
    small.save(photo, "JPEG", quality=85)
    stored = [(drawing.getvalue(), "image/png"), (photo.getvalue(), "image/jpeg")]
    if features.check("webp"):  # a Pillow that somebody built may lack it
        same = io.BytesIO()
        few.convert("RGB").save(same, "WEBP", lossless=True, quality=100, method=6)
        stored.append((same.getvalue(), "image/webp"))
    data, mime = min(stored, key=lambda pair: len(pair[0]))
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
