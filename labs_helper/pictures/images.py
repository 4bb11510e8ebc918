"""Pictures: open them safely, and cut them into the views that Phi-3.5-vision looks at.

The cutting ("HD transform") follows the image processor published with Phi-3.5-vision: as many tiles of 336 x 336
pixels as `num_crops` allows, the aspect ratio kept, white bars where the picture does not fill its tiles, and one
small view of the whole. Nothing heavy is imported at module level, and no mlx at all.
"""

from __future__ import annotations

import io
import math
import operator
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, SupportsIndex, TypeAlias

from labs_helper.common.translate import _
from labs_helper.errors import BadImage, BadRequest
from labs_helper.pictures import deep

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    PictureSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | Image.Image | np.ndarray

TILE = 336  # pixels on each side of a view
VIEW_TOKENS = 144  # 24 x 24 patches of 14 pixels, merged two by two
MOST_PIXELS = 64_000_000
MOST_CROPS = 64
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's, for RGB in 0..1
# Only formats that hold nothing but pixels: Pillow hands EPS files to a program that runs them.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
# What Pillow raises for files that are cut short or damaged, depending on the format.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


# -- opening ----------------------------------------------------------------------------------------------


def open_image(source: PictureSource, *, inside: str | Path | None = None) -> Image.Image:
    """A picture as RGB, upright, with transparent places white.

    Of more than 8 bits the largest value tells what is white: up to 255 the values stay, up to 4095 they count as 12
    bits (what cameras, scanners and microscopes store in 16-bit files), above that as 16. A true 16-bit picture that
    never goes beyond 4095 is thus made brighter; as it is, it would be black to the eye and to the model.

    Args:
        source: the path of a file (a picture of the course is one), its bytes, a Pillow image (of an animation, the
            frame that it is at), or a numpy array (height, width, 3) of uint8.
        inside: a folder that a path must be in once links are followed.

    Raises:
        BadImage: no picture, damaged, animated, over 64 million pixels (its header tells, before it is decoded), or
            more than 336 times as long as wide.

    Example:
        open_image(picture("street.png")).size      # (width, height) in pixels
    """
    from PIL import Image

    name = _("The picture")
    if isinstance(source, Image.Image):
        return _finished(source, name)
    if isinstance(source, (bytes, bytearray)):
        return _opened(io.BytesIO(source), name)
    if isinstance(source, (str, os.PathLike)):
        path = _checked_path(source, inside)
        try:
            with path.open("rb") as file:
                return _opened(file, path.name)
        except OSError as error:
            raise BadImage(*_unreadable(path.name, error)) from error
    return _checked_size(_from_array(source), name)


def check_distinct(sources: Iterable[object]) -> None:
    """Refuse a list that holds one animated Pillow image several times.

    Pillow's `ImageSequence.Iterator` gives the same object again and again, each time at another frame. In a list, all
    of them are at the last one.

    Raises:
        BadImage: a Pillow image with frames is there twice.

    Example:
        check_distinct(["a.png", "a.png"])      # paths may repeat
    """
    seen: set[int] = set()
    for source in sources:
        if getattr(source, "n_frames", 1) > 1 and id(source) in seen:
            raise BadImage(
                _("The list holds one animated picture several times, each time at the same frame."),
                _("Copy each frame when you take it: [frame.copy() for frame in ImageSequence.Iterator(image)]."),
            )
        seen.add(id(source))


# All threads share Python's warning filters: a thread that changes them must put them back before another does.
_FILTERS = threading.RLock()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow without its warnings: the labs say in their own words what is wrong with a picture.

    What it warns of because of its size alone is an error here: it has more pixels than the labs take.
    """
    from PIL import Image

    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _opened(file: IO[bytes], name: str) -> Image.Image:
    """The picture in an open file."""
    with quiet_pillow(), _read_header(file, name) as image:
        _checked_size(image, name)
        try:
            frames = getattr(image, "n_frames", 1)
        except BROKEN as error:
            raise BadImage(*_damaged(name, error)) from error
        if frames > 1 and image.format != "MPO":  # an MPO is a photograph with a second, smaller copy in it
            if image.format == "TIFF":  # pages, of a fax or a scan: no clip to choose from
                raise BadImage(
                    _("{name} has {count} pages.").format(name=name, count=frames),
                    _("Open it with Pillow (Image.open), go to the page with seek(), and give that image."),
                )
            raise BadImage(
                _("{name} has {count} frames.").format(name=name, count=frames),
                _(
                    "Take the frames you need first: labs_helper.pictures.keyframes chooses them; of an image that "
                    "Pillow has opened, seek() takes one."
                ),
            )
        return _finished(image, name)


def _finished(image: Image.Image, name: str) -> Image.Image:
    from PIL import ImageOps

    _checked_size(image, name)
    try:
        with quiet_pillow():
            return _checked_size(_as_rgb(ImageOps.exif_transpose(deep.brightened(image) or image), name), name)
    except BROKEN as error:
        raise BadImage(*_damaged(name, error)) from error


def _checked_path(source: str | os.PathLike[str], inside: str | Path | None) -> Path:
    try:
        path = Path(source).expanduser()
        outside = inside is not None and not path.resolve().is_relative_to(Path(inside).expanduser().resolve())
        is_file = path.is_file()
    except (ValueError, RuntimeError, OSError) as error:  # a null character, an unknown ~user, a name too long
        raise BadImage(
            _("{path} is not a path ({reason}).").format(path=repr(str(source)[:80]), reason=error),
            _("Give the path of a picture file."),
        ) from error
    if outside:
        raise BadImage(
            _("{path} is not inside {folder}.").format(path=path, folder=inside),
            _("Choose a picture from that folder."),
        )
    if "://" in str(source)[:12]:
        raise BadImage(
            _("{path} is an address.").format(path=source),
            _("The labs fetch nothing: save the picture and give its path."),
        )
    if not is_file:
        what = _("{path} is a folder.") if path.is_dir() else _("{path} is not a file.")
        raise BadImage(what.format(path=path), _("Check the path of the picture; use an absolute one if in doubt."))
    return path


def _read_header(file: IO[bytes], name: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise BadImage(
            _("{name} is not a picture that the labs can read.").format(name=name),
            _("Use one of: {formats}.").format(formats=", ".join(FORMATS)),
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(*_too_many_pixels(name)) from error
    except BROKEN as error:
        raise BadImage(*_unreadable(name, error)) from error


def _unreadable(name: str, error: Exception) -> tuple[str, str]:
    reason = f"{type(error).__name__}: {error}"
    return _("{name} cannot be read ({reason}).").format(name=name, reason=reason), _("Check the file.")


def _damaged(name: str, error: Exception) -> tuple[str, str]:
    return (
        _("{name} is damaged or cut short ({reason}).").format(name=name, reason=type(error).__name__),
        _("Copy or download the file again."),
    )


def _too_many_pixels(name: str) -> tuple[str, str]:
    return (
        _("{name} has more than {most:,} pixels.").format(name=name, most=MOST_PIXELS),
        _("Make it smaller first; the model sees far fewer."),
    )


def _checked_size(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width < 1 or height < 1:
        raise BadImage(
            _("{name} has no pixels ({width} x {height}).").format(name=name, width=width, height=height),
            _("Choose another picture."),
        )
    if width * height > MOST_PIXELS:
        raise BadImage(*_too_many_pixels(name))
    if max(width, height) > TILE * min(width, height):
        raise BadImage(
            _(
                "{name} is {width} x {height} pixels: fitted into a tile of {tile}, its short side would be less than "
                "one pixel."
            ).format(name=name, width=width, height=height, tile=TILE),
            _("Crop it; the long side may be at most {tile} times the short one.").format(tile=TILE),
        )
    return image


def _from_array(array: np.ndarray) -> Image.Image:
    from PIL import Image

    # Whatever a learner hands in may come here.
    shape, dtype = getattr(array, "shape", None), str(getattr(array, "dtype", ""))
    if shape is None or len(shape) != 3 or shape[2] != 3 or dtype != "uint8" or 0 in shape:
        actual = type(array).__name__
        if shape is not None:
            actual = _("an array of {dtype} with shape {shape}").format(dtype=dtype, shape=tuple(shape))
        raise BadImage(
            _(
                "A picture is a path, bytes, a Pillow image or an array (height, width, 3) of uint8, not {actual}."
            ).format(actual=actual),
            _("Convert it first; values from 0 to 1 become uint8 by (array * 255).astype('uint8')."),
        )
    return Image.fromarray(array)


def _as_rgb(image: Image.Image, name: str) -> Image.Image:
    from PIL import Image

    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image, name)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of up to 16 bits as grey of 8; `open_image` says how. Pillow's own conversion makes all above 255 white."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise BadImage(
            _("{name} has values beyond 16-bit grey.").format(name=name), _("Save it with 8 or 16 bits per colour.")
        )
    return Image.fromarray(deep.to_eight(values))


# -- cutting ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How a picture is laid out on tiles.

    Attributes:
        rows: of tiles.
        columns: of tiles.
        size: of the picture after resizing, (width, height) in pixels.
        padded: its size with the white bars around it.
        offset: where its upper left corner is in the padded picture, (x, y) in pixels.
    """

    rows: int
    columns: int
    size: tuple[int, int]
    padded: tuple[int, int]
    offset: tuple[int, int]

    @property
    def tiles(self) -> int:
        """Tiles in all, without the global view."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """What the picture costs in the prompt."""
        return image_tokens(self.rows, self.columns)


def image_tokens(rows: int, columns: int) -> int:
    """Tokens of a picture of rows x columns tiles.

    Each tile and the global view have 144. Each line of cells ends with a separator; there are twelve lines per row
    of tiles and twelve in the global view. One more separator is between tiles and global view (the processor of
    Phi-3.5-vision-instruct).

    Example:
        image_tokens(1, 1), image_tokens(2, 2)      # (313, 757)
    """
    return (rows * columns + 1) * VIEW_TOKENS + 1 + (rows + 1) * 12


def layout(width: int, height: int, num_crops: SupportsIndex) -> Layout:
    """How a picture of width x height pixels is laid out on at most `num_crops` tiles.

    As many columns (for an upright picture: rows) as keep all tiles within `num_crops`; small pictures are
    enlarged.

    Raises:
        BadRequest: num_crops is not a whole number from 1 to 64.
        BadImage: the picture is so long that nothing of its short side would remain.

    Example:
        layout(640, 360, 4)      # 2 x 2 tiles: the picture is 672 x 378, with bars above and below
    """
    crops = checked_crops(num_crops)
    long, short = max(width, height), min(width, height)
    if short < 1 or long > TILE * short:
        raise BadImage(
            _("A picture of {width} x {height} pixels cannot be cut into tiles.").format(width=width, height=height),
            _("Crop it."),
        )
    ratio, along = long / short, 1  # `along`: tiles along the long side
    while (along + 1) * math.ceil((along + 1) / ratio) <= crops:
        along += 1
    new_long = along * TILE
    new_short = max(1, int(new_long / ratio))
    across = math.ceil(new_short / TILE)
    bar = (across * TILE - new_short) // 2
    if width < height:
        return Layout(along, across, (new_short, new_long), (across * TILE, new_long), (bar, 0))
    return Layout(across, along, (new_long, new_short), (new_long, across * TILE), (0, bar))


def checked_crops(num_crops: SupportsIndex) -> int:
    """`num_crops` as a number.

    Raises:
        BadRequest: it is not a whole number from 1 to 64.

    Example:
        checked_crops(4)      # 4
    """
    try:
        number = operator.index(num_crops)
    except TypeError:
        number = 0
    if isinstance(num_crops, bool) or not 1 <= number <= MOST_CROPS:
        raise BadRequest(
            _("num_crops is {value}.").format(value=repr(num_crops)),
            _("Use a whole number from 1 to {most}.").format(most=MOST_CROPS),
        )
    return number


def padded(image: Image.Image, plan: Layout) -> Image.Image:
    """The picture resized and with its white bars, as it is cut into tiles.

    Args:
        image: an opened picture.
        plan: from `layout`, for this picture's size.

    Example:
        padded(picture, layout(*picture.size, 4)).size      # multiples of 336
    """
    from PIL import Image

    upright = image.height > image.width
    # The published processor turns an upright picture on its side before resizing. The order decides how Pillow
    # rounds between its two passes.
    size = plan.size[::-1] if upright else plan.size
    turned = image.transpose(Image.Transpose.TRANSPOSE) if upright else image
    resized = turned.resize(size, Image.Resampling.BILINEAR)
    if upright:
        resized = resized.transpose(Image.Transpose.TRANSPOSE)
    whole = Image.new("RGB", plan.padded, "white")
    whole.paste(resized, plan.offset)
    return whole


def views(image: Image.Image, plan: Layout) -> list[Image.Image]:
    """What the model sees, 336 x 336 pixels each: the whole picture first, then the tiles row by row.

    To be looked at: the global view is rounded to whole colours here; `pixel_values` gives it as the model gets it.

    Example:
        len(views(picture, layout(*picture.size, 4)))      # 5
    """
    import numpy as np
    from PIL import Image

    whole = padded(image, plan)
    small = _shrunk(np.asarray(whole, dtype=np.float32))
    globally = Image.fromarray(np.clip(np.rint(small), 0, 255).astype(np.uint8))
    corners = [(x, y) for y in range(0, whole.height, TILE) for x in range(0, whole.width, TILE)]
    return [globally, *(whole.crop((x, y, x + TILE, y + TILE)) for x, y in corners)]


def pixel_values(
    image: Image.Image, plan: Layout, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> np.ndarray:
    """The views as numbers, normalised: (1 + tiles, 3, 336, 336) in fp32, in the order of `views`.

    Args:
        image: an opened picture.
        plan: from `layout`, for this picture's size.
        mean: of each colour in 0..1; CLIP's is the default and what Phi-3.5-vision uses.
        std: the standard deviation, likewise.

    Example:
        pixel_values(picture, layout(*picture.size, 1)).shape      # (2, 3, 336, 336)
    """
    import numpy as np

    whole = np.asarray(padded(image, plan), dtype=np.float32) / 255
    whole = (whole - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    rows, columns = whole.shape[0] // TILE, whole.shape[1] // TILE
    tiles = whole.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
    return np.concatenate([_shrunk(whole)[None], tiles]).transpose(0, 3, 1, 2).copy()


def _shrunk(array: np.ndarray) -> np.ndarray:
    """A padded picture (h, w, 3) as one view (336, 336, 3), by cubic interpolation.

    The published processor uses torch's bicubic `interpolate`: four neighbours and no smoothing, however much
    smaller the picture becomes (Keys 1981, with a = -0.75). A picture of one tile comes out unchanged.
    """
    return _cubic(_cubic(array, 1), 0)


def _cubic(array: np.ndarray, axis: int) -> np.ndarray:
    import numpy as np

    length, a = array.shape[axis], -0.75
    where = (np.arange(TILE) + 0.5) * (length / TILE) - 0.5
    first = np.floor(where).astype(int) - 1
    shape, size = [1, 1, 1], list(array.shape)
    shape[axis] = size[axis] = TILE
    total = np.zeros(size, np.float32)
    for step in range(4):
        far = np.abs(where - (first + step))
        near = ((a + 2) * far - (a + 3)) * far**2 + 1
        weight = np.where(far <= 1, near, ((far - 5) * far + 8) * far * a - 4 * a).astype(np.float32)
        total = total + array.take(np.clip(first + step, 0, length - 1), axis) * weight.reshape(shape)
    return total
