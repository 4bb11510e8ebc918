"""Colour pictures of 16 bits in which fewer are used: cameras and scanners store 12 bits in 16.

Pillow keeps the upper eight bits of a 16-bit colour file, so that 12 bits become 4 and the picture nearly black. PyAV
reads all of them. Grey needs none of this: Pillow has a mode for it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FULL = (255, 4095, 65535)  # the largest value of 8, 12 and 16 bits
# FFmpeg's readers by Pillow's names of the formats. No other one is tried.
_READERS = {"PNG": "png_pipe", "TIFF": "tiff_pipe", "PPM": "ppm_pipe"}
_ORIENTATION = 0x0112  # the tag that tells which side is up


def to_eight(values: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 to 65535 as 8 bits. The largest tells which value is full.

    Example:
        to_eight(np.array([0, 4095]))      # array([  0, 255], dtype=uint8)
    """
    import numpy as np

    full = next(most for most in FULL if values.max(initial=0) <= most)
    table = (np.arange(full + 1, dtype=np.uint32) * 255 + full // 2) // full
    return cast("np.ndarray", table.astype(np.uint8)[values])


def brightened(image: Image.Image) -> Image.Image | None:
    """A picture of at most 12 bits in a 16-bit colour file, as 8 bits. None for every other one.

    Args:
        image: as Pillow has opened it from a file, not read yet.

    Example:
        brightened(Image.open("scan.png"))      # None, if it uses all 16 bits or has 8
    """
    reader = _READERS.get(image.format or "")
    file = getattr(image, "fp", None)
    # ("raw", (0, 0, 640, 480), 41, "RGB;16B"): what is in the file, before Pillow makes 8 bits of it. A PPM names its
    # largest value instead, and Pillow is right about one that says 4095.
    deep = any(";16" in str(tile[3]) or tile[3] == ("RGB", FULL[-1]) for tile in getattr(image, "tile", ()))
    if reader is None or file is None or not deep or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    at = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(at)
    values = _values(data, reader)
    if values is None or values.shape[:2] != (image.height, image.width) or values[..., :3].max(initial=0) > FULL[1]:
        return None
    return _picture(values, image)


def _values(data: bytes, reader: str) -> np.ndarray | None:
    """All bits of a file, (height, width, 3 or 4); None if FFmpeg cannot read it, where Pillow may."""
    try:
        import av
    except ImportError:
        return None
    av.logging.set_level(None)  # what FFmpeg says about a damaged file helps no learner
    try:
        # FFmpeg gets these bytes and may open nothing else.
        with av.open(
            io.BytesIO(data), "r", format=reader, container_options={"protocol_whitelist": "none"}
        ) as container:
            frame = next(container.decode(video=0))
            clear = "a" in frame.format.name.partition("16")[0]  # rgba64be, ya16be; rgb48be has no such place
            return frame.to_ndarray(format="rgba64le" if clear else "rgb48le")
    except (av.FFmpegError, ValueError, StopIteration, MemoryError, IndexError):
        return None


def _picture(values: np.ndarray, image: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image

    colours = to_eight(values[..., :3])
    if values.shape[2] == 4:
        colours = np.concatenate([colours, to_eight(values[..., 3:])], axis=2)
    picture = Image.fromarray(np.ascontiguousarray(colours))
    if side := image.getexif().get(_ORIENTATION):
        picture.getexif()[_ORIENTATION] = side
    return picture
