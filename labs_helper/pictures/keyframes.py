"""A few frames that stand for a clip. The model takes pictures, so a clip becomes pictures first.

The method "change" takes the first and the last frame, and then again and again the frame that looks least like
all those already chosen. How much two frames differ is the mean absolute difference of their grey values after both
were shrunk to 32 x 32, so that noise counts little. This is the greedy farthest-point method (T. Gonzalez, "Clustering
to minimize the maximum intercluster distance", Theoretical Computer Science 38, 1985): what it leaves out always looks
like something that it took. It finds cuts and movement alike and never takes the same view twice while another is left.

For comparison there are "cuts" (the first frame and those whose grey-level histogram differs most from that of the
frame before; Zhang, Kankanhalli and Smoliar, "Automatic partitioning of full-motion video", Multimedia Systems 1,
1993), which is blind to movement, and "even" (equal steps in time), which is blind to everything.

How the frames are read is in `clips`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper.common.numbers import is_whole
from labs_helper.common.translate import _
from labs_helper.errors import BadImage, BadRequest
from labs_helper.pictures.clips import open_clip

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from labs_helper.pictures.clips import Clip, ClipSource

METHODS = ("change", "cuts", "even")
MOST_FRAMES = 1000  # of a clip of more than twice that, every second frame is compared, or every fourth …
SIDE = 32  # pixels of the shrunk frames
_MISSING = 2.0  # seconds: a last frame may be shown for a while


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
        method: how they were chosen.
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
        source: the path or the bytes of a video (MP4, MOV, WebM, MKV, AVI) or of an animated GIF, WebP or PNG; a
            Pillow image with frames; or the frames themselves, as a list of anything `open_image` takes.
        count: how many frames, at least 1. A clip with fewer gives all it has, and the note says so.
        method: "change", "cuts" or "even"; see the head of this module.
        inside: a folder that a path must be in.

    Raises:
        BadImage: no clip, damaged, too large, outside `inside`, or without moving pictures.
        BadRequest: the method is unknown, or the count is not a whole number of at least 1.

    Example:
        keyframes(picture("slides.mp4"), 4).images
    """
    if not is_whole(count) or count < 1:
        raise BadRequest(_("count is {value}.").format(value=repr(count)), _("Use a whole number of at least 1."))
    if method not in METHODS:
        raise BadRequest(
            _("There is no method {name}.").format(name=repr(method)),
            _("Use one of: {names}.").format(names=", ".join(METHODS)),
        )
    clip = open_clip(source, inside)
    small, indices, step, total, end = _small_frames(clip)
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
    elif not clip.promised and end < clip.lasts - _MISSING:
        notes.append(
            _("The file says it lasts {lasts:.1f} s, but nothing after {end:.1f} s can be read.").format(
                lasts=clip.lasts, end=end
            )
        )
    return Keyframes(frames, total, len(small), method, " ".join(notes))


def _small_frames(clip: Clip) -> tuple[list[np.ndarray], list[int], int, int, float]:
    """The frames to compare, shrunk; their numbers; one in how many they are; and how many the clip has, until when."""
    small: list[np.ndarray] = []
    indices: list[int] = []
    step, total, end = 1, 0, 0.0

    def due(index: int) -> bool:
        return index % step == 0

    for index, seconds, image in clip.frames(due):
        total, end = index + 1, seconds or 0.0
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
    return small, indices, step, total, end


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
