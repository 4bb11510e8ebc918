"""Pictures: what may be opened and how, and how they are cut into tiles."""

from __future__ import annotations

import contextlib
import csv
import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labs_helper.errors import BadImage, BadRequest
from labs_helper.pictures import images
from labs_helper.pictures.images import layout, open_image, padded, pixel_values, views
from labs_helper.pictures.keyframes import keyframes

ROOT = Path(__file__).resolve().parents[2]


def picture(width=40, height=30, mode="RGB", colour=(200, 30, 60)) -> Image.Image:
    """A plain colour with a black upper left quarter."""
    image = Image.new("RGB", (width, height), colour)
    image.paste((0, 0, 0), (0, 0, width // 2, height // 2))
    return image.convert(mode)


def encoded(image: Image.Image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_with_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def close(image: Image.Image, at, colour, tolerance=0) -> bool:
    return max(abs(a - b) for a, b in zip(image.getpixel(at), colour)) <= tolerance


# -- opening --------------------------------------------------------------------------------------------


def test_paths_bytes_pillow_and_arrays_give_the_same(tmp_path):
    plain = picture()
    file = tmp_path / "a.png"
    file.write_bytes(encoded(plain))
    sources = [file, str(file), file.read_bytes(), bytearray(file.read_bytes()), plain, np.asarray(plain)]
    opened = [open_image(source) for source in sources]
    assert all(image.mode == "RGB" and image.tobytes() == plain.tobytes() for image in opened)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_formats(kind):
    image = open_image(encoded(picture(), kind))
    assert image.size == (40, 30) and close(image, (38, 28), (200, 30, 60), 12) and close(image, (2, 2), (0, 0, 0), 12)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "LA", "RGBA"])
def test_colour_modes(mode):
    grey = picture(mode=mode, colour=(255, 255, 255))
    image = open_image(grey)
    assert image.mode == "RGB" and close(image, (38, 28), (255, 255, 255), 3) and close(image, (2, 2), (0, 0, 0), 3)


def test_a_cmyk_file():
    image = open_image(encoded(picture(mode="CMYK"), "JPEG", quality=95))
    assert close(image, (38, 28), (200, 30, 60), 6)


def test_sixteen_bits_keep_their_greys():
    steps = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for image in (Image.fromarray(steps), Image.fromarray(steps.astype(np.int32))):
        opened = np.asarray(open_image(image))
        assert np.array_equal(opened[..., 0].ravel(), np.arange(256)) and np.ptp(opened, axis=-1).max() == 0
    assert np.array_equal(np.asarray(open_image(encoded(Image.fromarray(steps))))[..., 1].ravel(), np.arange(256))


@pytest.mark.parametrize("most", [255, 4095, 65535])
@pytest.mark.parametrize("kind", ["array", "int32 array", "PNG", "TIFF"])
def test_fewer_bits_than_their_file_has_room_for_are_not_black(most, kind):
    """8 and 12 bits in 16: the largest value tells, and is white."""
    ramp = np.linspace(0, most, 256).round().astype(np.uint16).reshape(16, 16)
    image = Image.fromarray(ramp.astype(np.int32) if kind == "int32 array" else ramp)
    opened = np.asarray(open_image(encoded(image, kind) if kind in ("PNG", "TIFF") else image))[..., 0]
    assert np.abs(opened.ravel().astype(int) - np.arange(256)).max() <= 1 and opened.max() == 255


def test_black_stays_black():
    assert np.asarray(open_image(Image.fromarray(np.zeros((4, 4), np.uint16)))).max() == 0


def test_transparent_places_are_white():
    clear = Image.new("RGBA", (20, 20), (10, 20, 30, 0))
    clear.paste((10, 20, 30, 255), (0, 0, 10, 20))
    image = open_image(encoded(clear))
    assert close(image, (15, 5), (255, 255, 255)) and close(image, (5, 5), (10, 20, 30))
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    assert close(open_image(encoded(palette, transparency=1)), (1, 1), (255, 255, 255))
    assert close(open_image(encoded(picture(), transparency=(200, 30, 60))), (38, 28), (255, 255, 255))


def test_photographs_stand_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: the first column is the top
    image = open_image(encoded(picture(), "JPEG", exif=exif.tobytes(), quality=95))
    assert image.size == (30, 40) and close(image, (28, 2), (0, 0, 0), 5) and close(image, (2, 2), (200, 30, 60), 5)


def test_one_pixel():
    image = open_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3))))
    assert image.size == (1, 1) and [view.size for view in views(image, layout(*image.size, 1))] == [(336, 336)] * 2
    assert views(image, layout(*image.size, 1))[0].getpixel((100, 300)) == (1, 2, 3)


def refused(source, match, **options) -> BadImage:
    with pytest.raises(BadImage, match=match) as caught:
        open_image(source, **options)
    assert caught.value.do, "every refusal says what to do"
    return caught.value


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7", b"<svg></svg>", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_no_picture(content, tmp_path):
    refused(content, "not a picture")
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", "a.png is not a picture")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_short(kind, share):
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8))
    whole = encoded(noise, kind)
    refused(whole[: int(len(whole) * share)], "damaged|cannot be read|not a picture")


def test_bombs_are_refused_before_they_are_decoded():
    for width, height in ((30_000, 30_000), (8001, 8000), (2**31 - 1, 2**31 - 1)):
        refused(png_with_header(width, height), "64,000,000 pixels")


@pytest.mark.parametrize("size", [(9_500, 9_500), (13_000, 13_000), (14_000, 14_000)])
@pytest.mark.parametrize("filters", ["default", "error"])
def test_large_pictures_are_refused_in_our_words_alone(size, filters, tmp_path):
    """Pillow warns from 89 megapixels on and refuses from 179 on. No word of its own, and no other kind of error."""
    path = tmp_path / "large.png"
    path.write_bytes(png_with_header(*size))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter(filters)
        refused(path, "large.png has more than 64,000,000 pixels")
        refused(path.read_bytes(), "64,000,000 pixels")
        with pytest.raises(BadImage, match="64,000,000 pixels"):
            keyframes(path)
    assert said == []


def test_what_pillow_warns_of_is_not_repeated():
    """A TIFF with a damaged list of tags can be read; Pillow warns of it."""
    whole = bytearray(encoded(picture(), "TIFF"))
    start = struct.unpack("<I", whole[4:8])[0]
    (count,) = struct.unpack("<H", whole[start : start + 2])
    for number in range(count):
        entry = start + 2 + 12 * number
        if struct.unpack("<H", whole[entry : entry + 2])[0] == 0x0117:  # bytes of each strip: far beyond the file
            whole[entry + 4 : entry + 12] = struct.pack("<II", 90, 2**31)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with contextlib.suppress(BadImage):
            open_image(bytes(whole))
    assert said == []


def test_too_many_pixels_in_an_array():
    refused(np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (8001, 8000, 3)), "64,000,000 pixels")


@pytest.mark.parametrize(("kind", "name"), [("GIF", "GIF"), ("WEBP", "WEBP"), ("PNG", "APNG")])
def test_animations_are_for_keyframes(kind, name):
    film = encoded(picture(), kind, save_all=True, append_images=[picture(colour=(0, 255, 0))])
    assert "keyframes" in refused(film, "2 frames").do
    assert keyframes(film, 2).total == 2, "the advice works"


def test_of_several_pages_one_is_taken_with_pillow():
    """They are no clip: `keyframes` refuses them, so nobody is sent there."""
    fax = encoded(picture(), "TIFF", save_all=True, append_images=[picture(colour=(0, 255, 0))])
    advice = refused(fax, "2 pages").do
    assert "keyframes" not in advice and "seek()" in advice
    with Image.open(io.BytesIO(fax)) as opened:
        opened.seek(1)
        assert open_image(opened).getpixel((38, 28)) == (0, 255, 0), "the advice works"


@pytest.mark.parametrize("size", [(20_000, 20), (20, 20_000), (337, 1)])
def test_too_long(size):
    refused(Image.new("RGB", size), "short side")
    with pytest.raises(BadImage):
        layout(*size, 4)
    assert open_image(Image.new("RGB", (336, 1))).size == (336, 1)


@pytest.mark.parametrize(
    "source",
    [
        None,
        5,
        [1, 2],
        np.zeros((3, 3)),
        np.zeros((3, 3, 3)),
        np.zeros((3, 3, 4), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
    ],
)
def test_things_that_are_no_source(source):
    refused(source, "A picture is a path")


def test_an_empty_pillow_image():
    refused(Image.new("RGB", (0, 0)), "no pixels")


def test_values_beyond_sixteen_bits():
    refused(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "16-bit")
    refused(Image.fromarray(np.ones((4, 4), np.float32)), "16-bit")


@pytest.mark.parametrize(
    "path", ["nowhere.png", "", "a\0b.png", "x" * 5000, "https://example.org/a.png", "~no-such-user/a"]
)
def test_paths_that_lead_nowhere(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(path, "not a path|not a file|an address|a folder")


@pytest.mark.posix
def test_a_path_outside_the_named_folder(tmp_path):
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    (outer / "a.png").write_bytes(encoded(picture()))
    (inner / "link.png").symlink_to(outer / "a.png")
    for path in (outer / "a.png", inner / ".." / "outer" / "a.png", inner / "link.png"):
        refused(path, "not inside", inside=inner)
    (inner / "b.png").write_bytes(encoded(picture()))
    assert open_image(inner / "b.png", inside=inner).size == (40, 30)


def test_html_in_a_file_name_stays_text(tmp_path):
    name = "<img src=x onerror=alert(1)>.png"
    (tmp_path / name).write_bytes(b"nothing")
    error = refused(tmp_path / name, "not a picture")
    # Jupyter shows these lines as plain text, never as HTML.
    assert not hasattr(error, "_repr_html_") and name in error._render_traceback_()[0]


# -- cutting --------------------------------------------------------------------------------------------


def test_layouts_cost_what_the_facts_say():
    rows = list(csv.DictReader((ROOT / "data/benchmarks/vision_image_tokens.csv").read_text("utf-8").splitlines()))
    for row in rows:
        plan = layout(int(row["image_width"]), int(row["image_height"]), int(row["num_crops"]))
        found = (plan.rows, plan.columns, plan.tiles, plan.tokens)
        assert found == tuple(int(row[key]) for key in ("grid_rows", "grid_cols", "tiles", "image_tokens"))
    assert len(rows) > 20


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (1, 1), (100, 31), (333, 1000), (5000, 15), (15, 5000)])
@pytest.mark.parametrize("crops", [1, 4, 16])
def test_pictures_keep_their_shape_between_white_bars(size, crops):
    plan = layout(*size, crops)
    assert plan.tiles <= crops and plan.padded == (plan.columns * 336, plan.rows * 336)
    assert max(plan.size) == max(plan.padded) or plan.rows == plan.columns
    exact = max(plan.size) * min(size) / max(size)
    assert exact - 1 < min(plan.size) <= exact or min(plan.size) == 1
    whole = np.asarray(padded(Image.new("RGB", size, "black"), layout(*size, crops)))
    x, y = plan.offset
    inner = whole[y : y + plan.size[1], x : x + plan.size[0]]
    assert whole.shape[:2] == plan.padded[::-1] and inner.max() == 0
    assert whole.sum() == 255 * 3 * (whole.shape[0] * whole.shape[1] - inner.shape[0] * inner.shape[1])
    other = [whole.shape[1] - x - plan.size[0], whole.shape[0] - y - plan.size[1]]
    assert 0 <= other[0] - x <= 1 and 0 <= other[1] - y <= 1, "centred"


def test_views_are_the_whole_and_then_the_tiles_row_by_row():
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    image = Image.fromarray(colours.repeat(100, 0).repeat(100, 1))
    seen = views(image, layout(*image.size, 4))
    assert [view.getpixel((168, 168)) for view in seen[1:]] == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)]
    assert [seen[0].getpixel(at) for at in ((80, 80), (250, 80), (80, 250))] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


@pytest.mark.parametrize("size", [(640, 360), (300, 900)])
def test_numbers_and_pictures_agree(size):
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    values = pixel_values(image, layout(*image.size, 4))
    assert values.dtype == np.float32 and values.shape == (1 + layout(*size, 4).tiles, 3, 336, 336)
    back = values.transpose(0, 2, 3, 1) * np.float32(images.STD) + np.float32(images.MEAN)
    drawn = np.stack([np.asarray(view) for view in views(image, layout(*image.size, 4))]) / 255
    assert np.abs(back[1:] - drawn[1:]).max() < 1e-6
    assert np.abs(np.clip(back[0], 0, 1) - drawn[0]).max() < 0.5 / 255 + 1e-5, "rounded only for looking at"


def test_one_tile_is_the_global_view():
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (200, 310, 3), dtype=np.uint8))
    values = pixel_values(image, layout(*image.size, 1))
    assert np.array_equal(values[0], values[1])


@pytest.mark.parametrize("crops", [0, -1, 65, 2.0, "4", None, True])
def test_crops_that_make_no_sense(crops):
    for call in (lambda: layout(10, 10, crops), lambda: layout(20, 10, crops)):
        with pytest.raises(BadRequest, match="num_crops"):
            call()
