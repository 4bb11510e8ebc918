"""Reading clips: each frame's own time, what people's files hold, and what is said of those that are no clips."""

from __future__ import annotations

import ast
import io
import os
import struct
import subprocess
import sys
import time
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageSequence

from labs_helper.errors import BadImage
from labs_helper.figures import frames_view, side_by_side
from labs_helper.pictures import clips
from labs_helper.pictures.clips import holds_frames, open_clip
from labs_helper.pictures.images import open_image
from labs_helper.pictures.keyframes import keyframes

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ROOT / "images" / "vision"
COLOURS = ["red", "green", "blue", "yellow"]


def dot(x: float) -> Image.Image:
    picture = Image.new("RGB", (128, 96), "white")
    ImageDraw.Draw(picture).ellipse((x - 10, 35, x + 10, 55), "red")
    return picture


def film(path: Path, seconds, codec="libx264", sound=False, **options) -> Path:
    """A dot that moves to the right: one frame at each of these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        base = Fraction(1, 25 if path.suffix == ".avi" else 1000)  # AVI counts frames, and fills gaps with empty ones
        stream.codec_context.time_base = stream.time_base = base
        if sound:
            silence(container)
        for number, when in enumerate(seconds):
            frame = av.VideoFrame.from_image(dot(12 + number * 100 / len(seconds)))
            frame.pts, frame.time_base = round(when / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def silence(container, seconds=1) -> None:
    stream = container.add_stream("aac", rate=8000, layout="mono")
    for number in range(8 * seconds):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, number * 1000, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def gif(path: Path) -> Path:
    """Four colours, one after the other, each for half a second."""
    first, *rest = [Image.new("RGB", (60, 40), colour) for colour in COLOURS]
    first.save(path, save_all=True, append_images=rest, duration=500)
    return path


def colour_of(image: Image.Image) -> str:
    return {(255, 0, 0): "red", (0, 128, 0): "green", (0, 0, 255): "blue", (255, 255, 0): "yellow"}[
        image.getpixel((5, 5))
    ]


def refused(source, match: str) -> BadImage:
    with pytest.raises(BadImage, match=match) as caught:
        keyframes(source)
    assert caught.value.do
    return caught.value


# -- C1: frames of an animation, as Pillow gives them ---------------------------------------------------------------


def test_of_an_animation_opened_by_pillow_the_frame_it_is_at_is_the_picture(tmp_path):
    with Image.open(gif(tmp_path / "a.gif")) as image:
        assert colour_of(open_image(image)) == "red"
        image.seek(2)
        assert colour_of(open_image(image)) == "blue" and image.tell() == 2
        assert (
            colour_of(frames_view(frame for frame in ImageSequence.Iterator(image)) and open_image(image)) == "yellow"
        )


@pytest.mark.parametrize("how", [list, tuple, lambda iterator: iterator, lambda iterator: iterator.im])
def test_pillows_iterator_gives_its_frames(tmp_path, how):
    with Image.open(gif(tmp_path / "a.gif")) as image:
        image.seek(1)
        chosen = keyframes(how(ImageSequence.Iterator(image)), 4)
        assert [colour_of(frame.image) for frame in chosen] == COLOURS
        assert [frame.seconds for frame in chosen] == [0, 0.5, 1, 1.5]


def test_the_learners_image_stays_where_it_was(tmp_path):
    with Image.open(gif(tmp_path / "a.gif")) as image:
        image.seek(1)
        keyframes(image, 2)
        assert image.tell() == 1


def test_copied_frames_are_a_list_of_pictures(tmp_path):
    with Image.open(gif(tmp_path / "a.gif")) as image:
        frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
    assert [colour_of(frame.image) for frame in keyframes(frames, 4)] == COLOURS


@pytest.mark.parametrize("call", [keyframes, side_by_side, frames_view])
def test_one_animation_many_times_in_a_list_is_never_taken_for_its_frames(tmp_path, call):
    """All of them are at the same frame, so that a learner would see one picture three times."""
    with Image.open(gif(tmp_path / "a.gif")) as image:
        with pytest.raises(BadImage, match="several times") as caught:
            call([image] * 3)
        assert "copy()" in caught.value.do


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_content_says_what_is_a_clip(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}"
    dot(10).save(path, save_all=True, append_images=[dot(60), dot(100)], duration=100)
    still = tmp_path / f"still.{suffix}"
    dot(10).save(still)
    for source in (path, path.read_bytes()):
        assert holds_frames(source) and len(keyframes(source, 3)) == 3
    assert not holds_frames(still) and not holds_frames(still.read_bytes()) and not holds_frames(b"nothing")
    assert not holds_frames(tmp_path / "nowhere") and holds_frames(CLIPS / "crossing.mp4")


# -- C2: each frame's own time --------------------------------------------------------------------------------------

UNEVEN = [0, 0.04, 0.08, 0.12, 3.0, 3.04, 5.52, 5.8]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")])
def test_a_variable_frame_rate_shows_each_frames_own_time(tmp_path, name, codec):
    chosen = keyframes(film(tmp_path / name, UNEVEN, codec), len(UNEVEN))
    assert [frame.seconds for frame in chosen] == pytest.approx(UNEVEN, abs=0.002) and chosen.note == ""


def test_pictures_that_begin_after_the_sound_keep_their_time(tmp_path):
    path = film(tmp_path / "a.mp4", [0.5, 0.6, 0.7], sound=True)
    assert [frame.seconds for frame in keyframes(path, 3)] == pytest.approx([0.5, 0.6, 0.7], abs=0.13)


def test_times_count_from_the_start_of_the_clip(tmp_path):
    path = film(tmp_path / "a.mkv", [100, 100.5, 101])
    chosen = keyframes(path, 3)
    assert [frame.seconds for frame in chosen] == pytest.approx([0, 0.5, 1]) and chosen.note == ""


# -- C3: codecs, sound, pipes, damage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libsvtav1"),
        ("a.mkv", "libsvtav1"),
        ("a.mp4", "libx265"),
        ("a.mov", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.avi", "mjpeg"),
        ("a.webm", "libvpx"),
    ],
)
def test_codecs_of_phones_and_recorders(tmp_path, name, codec, capfd):
    steps = [number / 25 for number in range(8)]
    chosen = keyframes(film(tmp_path / name, steps, codec), 8)
    assert [frame.index for frame in chosen] == list(range(8)) and chosen.note == ""
    assert [frame.seconds for frame in chosen] == pytest.approx(steps, abs=0.045)
    for number, frame in enumerate(chosen):
        red = np.asarray(frame.image).astype(int)[45, :, 1] < 128
        assert np.flatnonzero(red).mean() == pytest.approx(12 + number * 12.5, abs=3), "the dot is where it was drawn"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.m4a"])
def test_sound_alone_is_called_sound(tmp_path, name, capfd):
    with av.open(str(tmp_path / name), "w", format="matroska" if name == "a.mkv" else "mp4") as container:
        silence(container)
    refused(tmp_path / name, f"{name} holds sound only")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 18, reason="an older PyAV reads covers and writes none")
def test_the_cover_of_a_song_is_no_clip(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 128, 96, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        silence(container)
        container.mux(cover.encode(av.VideoFrame.from_image(dot(50))))
    refused(path, "sound only")


def test_a_sound_file_of_another_kind_is_no_clip(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    refused(tmp_path / "a.wav", "not a clip that the labs can read")


def test_an_unknown_codec_is_named_as_the_cause(tmp_path, capfd):
    path = tmp_path / "a.mp4"
    path.write_bytes((CLIPS / "crossing.mp4").read_bytes().replace(b"vp09", b"zzzz"))
    assert "H.264" in refused(path, "codec").do
    assert capfd.readouterr() == ("", "")


@pytest.mark.posix
@pytest.mark.parametrize("inside", [None, "."])
def test_a_pipe_is_refused_at_once(tmp_path, inside):
    os.mkfifo(tmp_path / "a.mp4")
    code = "import sys; from labs_helper.pictures.keyframes import keyframes; keyframes(sys.argv[1])"
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp4")], capture_output=True, text=True, timeout=60, check=False
    )
    assert "is a pipe or a device" in out.stderr


@pytest.mark.posix
@pytest.mark.parametrize(("path", "what"), [("/dev/zero", "a device"), ("/dev/null", "a device"), ("/tmp", "a folder")])
def test_devices_and_folders_are_refused(path, what):
    began = time.monotonic()
    refused(path, what)
    assert not holds_frames(path) and time.monotonic() - began < 5


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1", "libx265", "libvpx-vp9", "mpeg4"])
def test_damaged_videos_speak_in_our_words_only(tmp_path, codec, capfd):
    """Bytes changed in 20 ways and cut at 20 places: frames and a note, or a refusal, and no line from the codec."""
    whole = bytearray(film(tmp_path / "whole.mkv", [number / 10 for number in range(12)], codec).read_bytes())
    capfd.readouterr()  # encoders speak for themselves
    rng, path, readable = np.random.default_rng(5), tmp_path / "a.mkv", 0
    for trial in range(40):
        data = bytearray(whole)
        if trial % 2:
            del data[rng.integers(16, len(data)) :]
        else:
            for place in rng.integers(16, len(data), 60):
                data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            readable += len(keyframes(path, 3)) > 0
        except BadImage as error:
            assert "a.mkv" in error.what and error.do
    assert readable and capfd.readouterr() == ("", "")


def test_a_cut_file_without_a_count_says_where_it_ends(tmp_path):
    path = film(tmp_path / "a.webm", [number / 5 for number in range(50)], "libvpx-vp9", g="5")
    assert keyframes(path, 3).note == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = keyframes(path, 3)
    assert "lasts 9.8 s, but nothing after" in cut.note and cut[-1].seconds < 8


def test_a_video_comes_as_bytes_too():
    data = (CLIPS / "crossing.mp4").read_bytes()
    assert [frame.index for frame in keyframes(data, 10)] == list(range(10))
    assert open_clip(bytearray(data)).promised == 10


def test_a_telephones_video_stands_upright(tmp_path):
    data = (CLIPS / "slides.mp4").read_bytes()
    matrix = data.index(b"tkhd") + 44  # in the header of the track, after its times and its volume
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # a quarter clockwise
    path = tmp_path / "turned.mp4"
    path.write_bytes(data[:matrix] + turned + data[matrix + 36 :])
    image, lying = keyframes(path, 1)[0].image, keyframes(data, 1)[0].image
    assert np.array_equal(np.asarray(image), np.asarray(lying.transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize("name", ["crossing.mp4", "traffic.gif"])
def test_frames_above_the_limit_are_refused(monkeypatch, name):
    monkeypatch.setattr(clips, "MOST_PIXELS", 10_000)
    refused(CLIPS / name, "more than 10,000 pixels")


def test_a_frame_larger_than_the_header_says_is_never_decoded(tmp_path, monkeypatch):
    """The header says 16 x 16; the decoder meets 128 x 96."""
    path = film(tmp_path / "a.mp4", [0, 0.1, 0.2])
    assert len(keyframes(path, 3)) == 3
    data = path.read_bytes()
    size = struct.pack(">HH", 128, 96)
    assert data.count(size) == 1
    path.write_bytes(data.replace(size, struct.pack(">HH", 16, 16)))
    monkeypatch.setattr(clips, "MOST_PIXELS", 10_000)
    refused(path, "pixels|no frame")


# -- C6: no OpenCV ----------------------------------------------------------------------------------------------------

WITHOUT_OPENCV = """
import sys

class NoOpenCV:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")

sys.meta_path.insert(0, NoOpenCV())
"""


def test_clips_and_the_vision_model_work_where_opencv_does_not():
    code = (
        WITHOUT_OPENCV
        + """
from labs_helper import load
from labs_helper.pictures.gallery import picture
from labs_helper.pictures.keyframes import keyframes

chosen = keyframes(picture("crossing.mp4"), 4)
told = load("vision").ask(picture("crossing.mp4").question, images=chosen.images)
print(len(chosen), len(told.image_tokens), bool(told.text), "cv2" in sys.modules)
"""
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert out.stdout.split() == ["4", "4", "True", "False"], out.stderr


def test_nothing_of_ours_imports_opencv():
    for folder in ("labs_helper", "tests", "training", "notebooks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(name.partition(".")[0] == "cv2" for name in names), path


def test_without_pyav_videos_are_refused_and_animations_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install av" in refused(CLIPS / "slides.mp4", "PyAV").do
    assert len(keyframes(CLIPS / "traffic.gif")) == 4


def test_bytes_that_are_nothing():
    refused(b"", "The clip is not a clip")
    refused(io.BytesIO(b""), "not BytesIO")
