"""A few frames that stand for a clip. The model takes pictures, so a clip becomes pictures first.

The way of choosing, "change": the first and the last frame, and then again and again the frame that looks least like
all those already chosen. How much two frames differ is the mean absolute difference of their grey values after both
were shrunk to 32 x 32, so that noise counts little. This is the greedy farthest-point method (T. Gonzalez, "Clustering
to minimize the maximum intercluster distance", Theoretical Computer Science 38, 1985): what it leaves out always looks
like something that it took. It finds cuts and movement alike and never takes the same view twice while another is left.

For comparison there are "cuts" (the first frame and those whose grey-level histogram differs most from that of the
frame before; Zhang, Kankanhalli and Smoliar, "Automatic partitioning of full-motion video", Multimedia Systems 1,
1993), which is blind to movement, and "even" (equal steps in time), which is blind to everything.

Videos are read by OpenCV, animated GIF, WebP and PNG by Pillow. Both are imported when they are needed.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from labs_helper.common.numbers import is_whole
from labs_helper.common.translate import _
from labs_helper.errors import BadImage, BadRequest
from labs_helper.pictures.images import MOST_PIXELS, open_image

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from labs_helper.pictures.images import PictureSource

    ClipSource: TypeAlias = str | os.PathLike[str] | Sequence[PictureSource]
    # Number in the clip, seconds, and the picture if it was wanted.
    Frame: TypeAlias = tuple[int, float | None, Image.Image | None]

METHODS = ("change", "cuts", "even")
MOST_FRAMES = 1000  # of a clip of more than twice that, every second frame is compared, or every fourth …
SIDE = 32  # pixels of the shrunk frames
# Where a video's first bytes have which mark. The content decides, because a play list with the name of a video could
# make the video library open other files and addresses.
VIDEOS = ((4, b"ftyp"), (4, b"moov"), (0, b"\x1aE\xdf\xa3"), (8, b"AVI "))
ANIMATIONS = ("GIF", "WEBP", "PNG")


@dataclass(frozen=True)
class Keyframe:
    """One chosen frame.

    Attributes:
        image: RGB.
        index: its number in the clip, from 0.
        seconds: when it is shown, None where the clip has no time.
        score: how much it differed from its nearest neighbour among the frames chosen before it (method "cuts": from
            the frame before it), from 0 to 1; 0 for frames that were taken for their position.
    """

    image: Image.Image
    index: int
    seconds: float | None
    score: float

    def __repr__(self) -> str:
        when = "" if self.seconds is None else f", {self.seconds:.2f} s"
        return f"Keyframe(frame {self.index}{when}, change {self.score:.3f})"


class Keyframes(list[Keyframe]):
    """Keyframes in order of time, and what was done to get them.

    Attributes:
        total: frames of the clip.
        compared: how many of them were compared.
        method: the way of choosing.
        note: what a reader must know: fewer frames than asked for, frames that were skipped, a damaged end; or "".
    """

    def __init__(self, frames: Iterable[Keyframe], total: int, compared: int, method: str, note: str) -> None:
        super().__init__(frames)
        self.total, self.compared, self.method, self.note = total, compared, method, note

    @property
    def images(self) -> list[Image.Image]:
        """The pictures alone, as `ask(images=…)` takes them."""
        return [frame.image for frame in self]

    def __repr__(self) -> str:
        head = _("{count} of {total} frames, chosen by {method}:").format(
            count=len(self), total=self.total, method=self.method
        )
        lines = [head, *(f"  {frame!r}" for frame in self), self.note]
        return "\n".join(line for line in lines if line)


def keyframes(
    source: ClipSource, count: int = 4, method: str = "change", *, inside: str | Path | None = None
) -> Keyframes:
    """Choose a few frames to show for a clip.

    Args:
        source: the path of a video (MP4, MOV, WebM, MKV, AVI) or of an animated GIF, WebP or PNG; or the frames
            themselves, as a list of anything `open_image` takes.
        count: how many frames, at least 1. A clip with fewer gives all it has, and the note says so.
        method: "change", "cuts" or "even"; see the head of this module.
        inside: a folder that a path must be in.

    Raises:
        BadImage: no clip, damaged, too large, outside `inside`, or a video where OpenCV is missing.
        BadRequest: the method is unknown, or the count is not a whole number of at least 1.

    Example:
        keyframes("images/vision/slides.mp4", 4).images
    """
    if not is_whole(count) or count < 1:
        raise BadRequest(_("count is {value}.").format(value=repr(count)), _("Use a whole number from 1 on."))
    if method not in METHODS:
        raise BadRequest(
            _("There is no method {name}.").format(name=repr(method)),
            _("Use one of: {names}.").format(names=", ".join(METHODS)),
        )
    clip = _clip(source, inside)
    small, indices, step, total = _small_frames(clip)
    scores = {indices[place]: score for place, score in _choose(small, min(count, len(small)), method).items()}
    frames = [
        Keyframe(image, index, seconds, scores[index])
        for index, seconds, image in clip.frames(scores.__contains__)
        if image is not None
    ]
    notes = []
    if len(frames) < count:
        notes.append(
            _("{count} frames were asked for; the clip has only {actual}.").format(count=count, actual=len(frames))
        )
    if step > 1:
        notes.append(_("The clip is long: only one frame in {step} was looked at.").format(step=step))
    if total < clip.promised:
        notes.append(
            _("The file says it has {promised} frames, but only {total} can be read.").format(
                promised=clip.promised, total=total
            )
        )
    return Keyframes(frames, total, len(small), method, " ".join(notes))


def _small_frames(clip: _Frames | _Animation | _Video) -> tuple[list[np.ndarray], list[int], int, int]:
    """The frames to compare, shrunk, with their numbers; one in how many they are; and how many the clip has."""
    small: list[np.ndarray] = []
    indices: list[int] = []
    step, total = 1, 0

    def due(index: int) -> bool:
        return index % step == 0

    for index, _seconds, image in clip.frames(due):
        total = index + 1
        if image is not None:
            small.append(_shrunk(image))
            indices.append(index)
        if len(small) > 2 * MOST_FRAMES:  # headers of long clips are not to be trusted: thin out on the way
            small, indices, step = small[::2], indices[::2], 2 * step
    if not small:
        raise BadImage(
            _("{name} has no frame that can be read.").format(name=clip.name),
            _("Play it in a video player to see what it holds."),
        )
    return small, indices, step, total


# -- choosing ---------------------------------------------------------------------------------------------


def _shrunk(image: Image.Image) -> np.ndarray:
    """Grey values from 0 to 1, (32, 32)."""
    import numpy as np
    from PIL import Image

    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32) / 255


def _choose(small: Sequence[np.ndarray], count: int, method: str) -> dict[int, float]:
    """Place of each chosen frame in `small`, with its score."""
    import numpy as np

    length = len(small)
    if method == "even" or count == 1:
        return dict.fromkeys((round(i * (length - 1) / max(1, count - 1)) for i in range(count)), 0.0)
    if method == "cuts":
        grey = [np.histogram(frame, bins=16, range=(0, 1))[0] / frame.size for frame in small]
        change = [0.0, *(float(np.abs(a - b).sum() / 2) for a, b in itertools.pairwise(grey))]
        best = sorted(range(1, length), key=lambda place: (-change[place], place))[: count - 1]
        return {place: change[place] for place in sorted([0, *best])}
    frames, places = np.stack(small), np.arange(length)
    chosen = {0: 0.0, length - 1: 0.0}
    # To the nearest chosen frame: difference in looks, and distance in time, which decides between equals.
    looks = np.minimum(*(np.abs(frames - frames[place]).mean((1, 2)) for place in (0, length - 1)))
    while len(chosen) < count:
        away = np.min([np.abs(places - place) for place in chosen], axis=0)
        place = max((p for p in range(length) if p not in chosen), key=lambda p: (round(float(looks[p]), 4), away[p]))
        chosen[place] = float(looks[place])
        looks = np.minimum(looks, np.abs(frames - frames[place]).mean((1, 2)))
    return chosen


# -- reading ----------------------------------------------------------------------------------------------


class _Frames:
    """Pictures that are already there."""

    def __init__(self, pictures: Sequence[PictureSource]) -> None:
        self.pictures, self.promised, self.name = pictures, len(pictures), _("The clip")

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """(index, seconds, picture) of every frame; the picture only of those that are wanted."""
        for index, frame in enumerate(self.pictures):
            yield index, None, open_image(frame) if wanted(index) else None


class _Animation:
    """GIF, WebP or PNG with several frames, read by Pillow."""

    def __init__(self, path: Path) -> None:
        from PIL import Image, UnidentifiedImageError

        self.path, self.name = path, path.name
        try:
            with Image.open(path, formats=ANIMATIONS) as image:
                self.promised, (width, height) = getattr(image, "n_frames", 1), image.size
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            raise BadImage(
                _("{name} is not a clip that the labs can read.").format(name=path.name),
                _(
                    "Use MP4, MOV, WebM, MKV, AVI, an animated GIF, WebP or PNG, or give the frames as a list of "
                    "pictures."
                ),
            ) from error
        _not_too_large(path.name, width, height)

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """See `_Frames.frames`."""
        from PIL import Image

        seconds = 0.0
        with Image.open(self.path, formats=ANIMATIONS) as image:
            for index in range(self.promised):
                try:
                    image.seek(index)
                    image.load()
                except (OSError, SyntaxError, ValueError, EOFError):  # cut short: the caller counts
                    return
                yield index, seconds, open_image(image.copy()) if wanted(index) else None
                seconds += image.info.get("duration", 100) / 1000


class _Video:
    """A video, read by OpenCV's copy of FFmpeg."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        capture, cv2 = self._open()
        try:
            self.promised = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            self.fps = capture.get(cv2.CAP_PROP_FPS) or 0.0
            _not_too_large(path.name, *(capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)))
        finally:
            capture.release()

    def _open(self) -> tuple[Any, Any]:
        try:
            import cv2
        except ImportError as error:
            raise BadImage(
                _("{name} is a video, and OpenCV, which reads videos, cannot be used here ({reason}).").format(
                    name=self.name, reason=error
                ),
                _("Install it (pip install opencv-python), or use an animated GIF or a list of pictures."),
            ) from error
        capture = cv2.VideoCapture(str(self.path.resolve()), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise BadImage(
                _("{name} is a video that cannot be read.").format(name=self.name),
                _("It may be damaged; copy it again."),
            )
        return capture, cv2

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """See `_Frames.frames`."""
        from PIL import Image

        capture, cv2 = self._open()
        try:
            index = 0
            while capture.grab():
                image = None
                if wanted(index):
                    there, pixels = capture.retrieve()
                    if not there:
                        return
                    image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
                yield index, index / self.fps if self.fps > 0 else None, image
                index += 1
        finally:
            capture.release()


def _clip(source: ClipSource, inside: str | Path | None) -> _Frames | _Animation | _Video:
    if isinstance(source, (list, tuple)):
        if not source:
            raise BadImage(_("The clip has no frames."), _("Give at least one picture."))
        return _Frames(source)
    if not isinstance(source, (str, os.PathLike)):
        raise BadImage(
            _("A clip is a path or a list of pictures, not {kind}.").format(kind=type(source).__name__),
            _('Try keyframes("clip.mp4").'),
        )
    path = Path(source).expanduser()
    try:
        if inside is not None and not path.resolve().is_relative_to(Path(inside).expanduser().resolve()):
            raise BadImage(
                _("{path} is not inside {folder}.").format(path=path, folder=inside),
                _("Choose a clip from that folder."),
            )
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError) as error:
        raise BadImage(
            _("{path} cannot be opened as a clip.").format(path=str(source)[:200]), _("Check the path of the file.")
        ) from error
    kind = _Video if any(head[at : at + len(mark)] == mark for at, mark in VIDEOS) else _Animation
    return kind(path)


def _not_too_large(name: str, width: float, height: float) -> None:
    if width * height > MOST_PIXELS:
        raise BadImage(
            _("The frames of {name} have more than {most:,} pixels.").format(name=name, most=MOST_PIXELS),
            _("Make the clip smaller first."),
        )
