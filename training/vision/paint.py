"""From a scene to pixels, and to the dense targets of the tower."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from training.vision.letters import glyph
from training.vision.scene import COLOUR_INDEX, KIND_INDEX, PATCH, SIZE, Scene


def paint(scene: Scene) -> Image.Image:
    """The scene as the model sees it: 336x336, letterboxed in white where the picture is not square."""
    k = 2 if scene.smooth else 1
    picture = Image.new("RGB", (SIZE * k, SIZE * k), scene.ground)
    draw = ImageDraw.Draw(picture)
    for what, *rest in scene.steps:
        if what == "glyph":
            x, y, character, name, size, fill = rest
            draw.bitmap((x * k, y * k), glyph(character, name, size * k)[0], fill)
            continue
        points = [(x * k, y * k) for x, y in rest[0]]
        if what == "polygon":
            draw.polygon(points, fill=rest[1])
        elif what == "ellipse":
            draw.ellipse(points, fill=rest[1])
        elif what == "box":
            draw.rectangle(points, fill=rest[1], outline=rest[2], width=2 * k)
        elif what == "line":
            draw.line(points, fill=rest[1], width=rest[2] * k, joint="curve")
        else:
            draw.pieslice(points, rest[1], rest[2], fill=rest[3])
    if k > 1:
        picture = picture.reduce(k)
    if scene.area != (0, 0, SIZE, SIZE):
        framed = Image.new("RGB", (SIZE, SIZE), "white")
        framed.paste(picture.crop(scene.area), scene.area[:2])
        picture = framed
    return picture


def picture(scene: Scene) -> Image.Image:
    """The scene without the white padding, as one would save it."""
    return paint(scene).crop(scene.area)


def letterbox(image: Image.Image) -> Image.Image:
    """Any picture as one 336x336 tile, as the image processor makes it: its ratio kept, centred on white."""
    width, height = image.size
    scale = SIZE / max(width, height)
    small = image.convert("RGB").resize(
        (max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BILINEAR
    )
    framed = Image.new("RGB", (SIZE, SIZE), "white")
    framed.paste(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    return framed


def pixels(scene: Scene) -> np.ndarray:
    """uint8 (336, 336, 3)."""
    return np.asarray(paint(scene))


def dense(scene: Scene, cells: int = SIZE // PATCH) -> tuple[np.ndarray, np.ndarray]:
    """What has its centre in each cell: indices into KINDS (0: nothing) and COLOUR_NAMES (-1: nothing), each (cells,
    cells).

    Args:
        cells: 24 for patches, 12 for merged cells (where the last mark of a cell counts).
    """
    kinds, colours = np.zeros((cells, cells), np.int64), np.full((cells, cells), -1, np.int64)
    for mark in scene.marks:
        i, j = int(mark.y * cells // SIZE), int(mark.x * cells // SIZE)
        if 0 <= i < cells and 0 <= j < cells:
            kinds[i, j], colours[i, j] = KIND_INDEX[mark.kind], COLOUR_INDEX[mark.colour]
    return kinds, colours
