"""Colour pictures with 12 bits in 16 are not dark, and all others stay as they were."""

from __future__ import annotations

import io
import struct
import zlib
from functools import partial

import av
import numpy as np
import pytest
from PIL import Image

from labs_helper.errors import BadImage
from labs_helper.pictures import deep
from labs_helper.pictures.images import open_image

COLOUR_TYPES = {2: 4, 3: 2, 4: 6}  # of a PNG, by the number of channels: grey and alpha, RGB, RGBA
UPSIDE_DOWN = Image.Exif()
UPSIDE_DOWN[0x0112] = 3


def png(values: np.ndarray, exif: bytes = b"") -> bytes:
    """A 16-bit PNG with exactly these values."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"eXIf", exif) if exif else b"",
            chunk(b"IDAT", zlib.compress(lines)),
            chunk(b"IEND", b""),
        )
    )


def tiff(values: np.ndarray) -> bytes:
    """A 16-bit TIFF with these colours."""
    file = io.BytesIO()
    with av.open(file, "w", format="image2pipe") as container:
        stream = container.add_stream("tiff", rate=1)
        stream.width, stream.height, stream.pix_fmt = values.shape[1], values.shape[0], "rgb48le"
        for packet in (
            *stream.encode(av.VideoFrame.from_ndarray(values.astype(np.uint16), "rgb48le")),
            *stream.encode(),
        ):
            container.mux(packet)
    return file.getvalue()


def ppm(values: np.ndarray, largest: int = 65535, plain: bool = False) -> bytes:
    """A PPM that may have values up to `largest`, as bytes or in plain numbers."""
    numbers = " ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes()
    return b"P%d %d %d %d\n" % (3 if plain else 6, values.shape[1], values.shape[0], largest) + numbers


def ramp(most: int, channels: int = 3) -> np.ndarray:
    """A picture whose first channel climbs from 0 to `most`; the others are other ramps, alpha is full."""
    steps = np.linspace(0, most, 256).round().astype(np.uint16).reshape(16, 16)
    layers = [steps, steps[::-1], steps.T][: channels if channels == 3 else channels - 1]
    return np.stack([*layers, *([np.full_like(steps, most)] if channels != 3 else [])], axis=2)


@pytest.mark.parametrize("most", [255, 4095, 65535])
@pytest.mark.parametrize(
    ("made", "channels"),
    [(png, 3), (png, 4), (png, 2), (tiff, 3), (ppm, 3), (partial(ppm, plain=True), 3)],
    ids=["PNG", "PNG with alpha", "grey PNG with alpha", "TIFF", "PPM", "plain PPM"],
)
@pytest.mark.parametrize("by_pillow", [False, True], ids=["", "opened by Pillow"])
def test_the_largest_value_is_white(most, made, channels, by_pillow):
    data = made(ramp(most, channels))
    opened = np.asarray(open_image(Image.open(io.BytesIO(data)) if by_pillow else data))
    wanted = np.arange(256).reshape(16, 16)
    assert np.abs(opened[..., 0].astype(int) - wanted).max() <= 1
    if channels != 2:
        assert np.abs(opened[..., 1].astype(int) - wanted[::-1]).max() <= 1
        assert np.abs(opened[..., 2].astype(int) - wanted.T).max() <= 1


def test_a_file_on_the_disk(tmp_path):
    path = tmp_path / "scan.png"
    path.write_bytes(png(ramp(4095)))
    assert np.asarray(open_image(path)).max() == 255


def test_all_sixteen_bits_are_left_to_pillow():
    data = png(ramp(65535))
    assert deep.brightened(Image.open(io.BytesIO(data))) is None
    assert open_image(data).tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_a_ppm_that_names_its_largest_value_is_believed():
    """Dark on purpose: 255 of 4095."""
    assert np.asarray(open_image(ppm(ramp(255), 4095))).max() == 16
    assert np.asarray(open_image(ppm(ramp(4095), 4095))).max() == 255


def test_eight_bits_are_not_looked_at_twice(monkeypatch):
    monkeypatch.setattr(av, "open", None)
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(file, "PNG")
    assert open_image(file.getvalue()).getpixel((0, 0)) == (9, 9, 9)


def test_black_stays_black():
    assert np.asarray(open_image(png(np.zeros((4, 4, 3))))).max() == 0


def test_transparent_places_are_white():
    values = ramp(4095, 4)
    values[:8, :, 3] = 0
    opened = np.asarray(open_image(png(values)))
    assert opened[:8].min() == 255 and opened[8:].min() < 20


def test_it_is_turned_upright():
    values = ramp(4095)
    turned, straight = open_image(png(values, UPSIDE_DOWN.tobytes()[6:])), open_image(png(values))
    assert turned.tobytes() == straight.rotate(180).tobytes()


@pytest.mark.parametrize("cut", [60, 200, 400])
def test_a_file_that_is_cut_short_is_refused(cut):
    noise = np.random.default_rng(0).integers(0, 4096, (16, 16, 3))
    with pytest.raises(BadImage, match=r"damaged|cannot be read"):
        open_image(png(noise)[:cut])


def test_without_pyav_it_opens_as_pillow_sees_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert np.asarray(open_image(png(ramp(4095)))).max() == 15
