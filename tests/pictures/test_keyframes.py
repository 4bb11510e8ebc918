"""Frames out of clips: which ones, from which kinds of file, and what is said when some are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from labs_helper.errors import BadImage, BadRequest
from labs_helper.pictures import keyframes as module
from labs_helper.pictures.images import open_image
from labs_helper.pictures.keyframes import Keyframe, keyframes

CLIPS = Path(__file__).resolve().parents[2] / "images" / "vision"


def dot(x: float, ground: str = "white") -> Image.Image:
    picture = Image.new("RGB", (120, 90), ground)
    ImageDraw.Draw(picture).ellipse((x - 10, 35, x + 10, 55), "red")
    return picture


def indices(clip) -> list[int]:
    return [frame.index for frame in clip]


# -- choosing ------------------------------------------------------------------------------------------------------


def test_every_scene_is_found_where_even_steps_miss_some():
    scenes = ["white"] * 2 + ["blue"] * 3 + ["white"] * 9 + ["green"] * 2 + ["black"] * 2
    frames = [Image.new("RGB", (64, 48), colour) for colour in scenes]
    found = keyframes(frames, 4)
    assert {scenes[index] for index in indices(found)} == {"white", "blue", "green", "black"}
    assert {scenes[index] for index in indices(keyframes(frames, 4, "even"))} != set(scenes)


def test_movement_is_followed_though_the_histogram_never_changes():
    frames = [dot(15)] * 5 + [dot(x) for x in (35, 60, 85)] + [dot(105)] * 5
    found = keyframes(frames, 5)
    assert indices(found) == [0, 5, 6, 7, 12]
    assert max(frame.score for frame in keyframes(frames, 13, "cuts")) < 0.02


def test_cuts_are_the_frames_after_the_change():
    frames = [Image.new("RGB", (64, 48), colour) for colour in ["white"] * 4 + ["black"] * 3 + ["gray"] * 3]
    found = keyframes(frames, 3, "cuts")
    assert indices(found) == [0, 4, 7] and [frame.score for frame in found] == [0, 1, 1]


def test_equal_frames_are_spread_over_the_time():
    assert indices(keyframes([dot(60)] * 9, 3)) == [0, 4, 8]
    assert indices(keyframes([dot(60)] * 9, 1)) == [0]


@pytest.mark.parametrize("method", module.METHODS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_as_many_as_asked_for_each_once_and_in_order_of_time(method, count):
    rng = np.random.default_rng(count)
    frames = list(rng.integers(0, 255, (8, 20, 30, 3), dtype=np.uint8))
    found = keyframes(frames, count, method)
    assert len(found) == count and indices(found) == sorted(set(indices(found))) and found.note == ""
    assert all(np.array_equal(np.asarray(frame.image), frames[frame.index]) for frame in found)


def test_fewer_frames_than_asked_for_are_all_given_and_said():
    found = keyframes([dot(20), dot(80)], 6)
    assert indices(found) == [0, 1] and found.images == [frame.image for frame in found]
    assert repr(found).endswith("6 frames were asked for; the clip has only 2.")


def test_a_long_clip_is_thinned_out_and_says_so(monkeypatch):
    monkeypatch.setattr(module, "MOST_FRAMES", 10)
    frames = [dot(10 + i) for i in range(90)]
    found = keyframes(frames, 3)
    assert found.total == 90 and 10 <= found.compared <= 20 and "one frame in 8 was looked at" in repr(found)
    assert indices(found)[0] == 0 and indices(found)[-1] >= 80


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations_are_read_by_pillow(tmp_path, suffix):
    frames = [dot(x) for x in (15, 40, 65, 90)]
    path = tmp_path / f"clip.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=250, lossless=True)
    found = keyframes(path, 4)
    assert [frame.seconds for frame in found] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert all(np.abs(np.asarray(a).astype(int) - np.asarray(b)).mean() < 1 for a, b in zip(found.images, frames))


def test_the_video_of_the_lab_gives_its_frames():
    found = keyframes(CLIPS / "crossing.mp4", 10)
    assert indices(found) == list(range(10)) and found[-1].seconds == pytest.approx(4.5) and found.note == ""
    for frame in found:
        beside = np.asarray(open_image(CLIPS / f"crossing-{frame.index + 1:02}.png")).astype(int)
        assert np.abs(np.asarray(frame.image) - beside).mean() < 4, "colours in the right order"


def test_each_slide_of_the_talk_is_among_four_frames():
    assert [index // 12 for index in indices(keyframes(str(CLIPS / "slides.mp4"), 4))] == [0, 1, 2, 3]


def test_a_video_that_was_cut_short_gives_what_can_be_read(tmp_path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 120, 90, "yuvj420p"
        for x in range(15, 105, 3):
            container.mux(stream.encode(av.VideoFrame.from_image(dot(x))))
        container.mux(stream.encode())
    whole = keyframes(path, 3)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = keyframes(path, 3)
    assert whole.total == 30 and whole.note == ""
    assert 3 <= cut.total < 30 and "can be read" in repr(cut)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no clip at all",
        b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 40,
        b"GIF89a\x01",
        b"#EXTM3U\n#EXTINF:1,\nhttp://example.org/a.ts\n",
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif"])
def test_what_is_no_clip_is_refused_in_words(tmp_path, content, name, capfd):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadImage, match=name):
        keyframes(path)


@pytest.mark.posix
def test_a_play_list_never_reaches_the_video_library(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    monkeypatch.setattr(av, "open", lambda *args, **kwargs: pytest.fail("was opened as a video"))
    with pytest.raises(BadImage):
        keyframes(path)


@pytest.mark.parametrize("source", ["nowhere.mp4", "http://example.org/a.mp4", "0", "a\0b", ".", 7, None, []])
def test_sources_that_are_none(source):
    with pytest.raises(BadImage):
        keyframes(source)


@pytest.mark.posix
def test_a_path_outside_is_refused(tmp_path):
    inside = tmp_path / "images"
    inside.mkdir()
    (inside / "link.gif").symlink_to(CLIPS / "traffic.gif")
    for path in (CLIPS / "traffic.gif", inside / ".." / "x.gif", inside / "link.gif"):
        with pytest.raises(BadImage, match="not inside"):
            keyframes(path, inside=inside)
    assert len(keyframes(CLIPS / "traffic.gif", inside=CLIPS)) == 4


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 2.0}, {"count": True}, {"method": "best"}])
def test_requests_that_make_no_sense(options):
    with pytest.raises(BadRequest):
        keyframes([dot(20)], **options)


def test_importing_is_light():
    code = (
        "import sys, labs_helper.pictures.keyframes\n"
        "print([name for name in ('av', 'cv2', 'PIL', 'numpy', 'mlx') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


def test_a_frame_says_what_it_is():
    assert repr(Keyframe(dot(1), 3, 1.5, 0.25)) == "Keyframe(frame 3, 1.50 s, change 0.250)"
    assert repr(Keyframe(dot(1), 3, None, 0.0)) == "Keyframe(frame 3, change 0.000)"
