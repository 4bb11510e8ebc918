"""The frames of a clip, one after the other, each with the time at which it is shown.

Videos are read by PyAV, which brings FFmpeg in its wheels and needs no library of the system; animated GIF, WebP and
PNG by Pillow. Both are imported when they are needed.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TypeAlias, cast

from labs_helper.common.translate import _
from labs_helper.errors import BadImage
from labs_helper.pictures.images import BROKEN, MOST_PIXELS, check_distinct, open_image, quiet_pillow

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL import Image, ImageSequence

    from labs_helper.pictures.images import PictureSource

    ClipSource: TypeAlias = (
        str
        | os.PathLike[str]
        | bytes
        | bytearray
        | Image.Image
        | ImageSequence.Iterator
        | list[PictureSource]
        | tuple[PictureSource, ...]
    )
    # Number in the clip, seconds, and the picture if it was wanted.
    Frame: TypeAlias = tuple[int, float | None, Image.Image | None]

# Where a video's first bytes have which mark, and FFmpeg's reader for it. The content decides, and no other reader is
# tried: a play list with the name of a video could make FFmpeg open other files and addresses.
VIDEOS = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (8, b"AVI ", "avi"),
)
ANIMATIONS = ("GIF", "WEBP", "PNG")
_HEAD = 16  # bytes that tell the kind
_THREADS = 4  # each holds frames: on a machine with many cores a large clip would cost gigabytes


class Clip(Protocol):
    """What has frames.

    Attributes:
        name: what messages call it.
        promised: how many frames it says it has, 0 if it does not say.
        lasts: how many seconds it says it lasts, 0 if it does not say.
    """

    name: str
    promised: int
    lasts: float

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """(index, seconds, picture) of every frame; the picture only of those that are wanted."""
        ...


def open_clip(source: ClipSource, inside: str | Path | None = None) -> Clip:
    """A clip, ready to be read.

    Args:
        source: a path, the bytes of a file, a Pillow image with frames (or Pillow's iterator over them), or a list of
            anything `open_image` takes.
        inside: a folder that a path must be in.

    Raises:
        BadImage: there is nothing to read, or it is larger than the labs allow.

    Example:
        open_clip(picture("slides.mp4").path).promised      # 48
    """
    if isinstance(source, (list, tuple)):
        return _listed(source)
    if isinstance(source, (bytes, bytearray)):
        data = bytes(source)
        return _file(data[:_HEAD], lambda: io.BytesIO(data), _("The clip"))
    if isinstance(source, (str, os.PathLike)):
        path = _checked_path(source, inside)
        return _file(_head(path), lambda: path.open("rb"), path.name)
    image = _animated(source)
    if image is None:
        raise BadImage(
            _("A clip is a path, bytes, a Pillow image or a list of pictures, not {kind}.").format(
                kind=type(source).__name__
            ),
            _('Try keyframes("clip.mp4").'),
        )
    return _Animation(lambda: _kept_in_place(image), _("The clip"))


def holds_frames(source: str | os.PathLike[str] | bytes) -> bool:
    """Whether the content of a file is a clip: a video, or an animated GIF, WebP or PNG. The name does not count.

    Example:
        holds_frames(picture("traffic.gif").path)      # True
    """
    from PIL import Image

    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else _checked_path(source, None).open("rb")
        with file:
            if _reader(file.read(_HEAD)):
                return True
            with quiet_pillow(), Image.open(file, formats=ANIMATIONS) as image:
                return bool(getattr(image, "n_frames", 1) > 1)
    except (BadImage, Image.DecompressionBombError, Image.DecompressionBombWarning, *BROKEN):
        return False


# -- what a source is -------------------------------------------------------------------------------------


def _listed(source: Sequence[PictureSource]) -> Clip:
    if not source:
        raise BadImage(_("The clip has no frames."), _("Give at least one picture."))
    # list(ImageSequence.Iterator(image)) holds one object many times. Where all its frames are meant, they can be read.
    image = _animated(source[0])
    if image is not None and all(item is image for item in source) and len(source) == getattr(image, "n_frames", 1):
        return _Animation(lambda: _kept_in_place(image), _("The clip"))
    check_distinct(source)
    return _Frames(source)


def _animated(source: object) -> Image.Image | None:
    from PIL import Image, ImageSequence

    if isinstance(source, ImageSequence.Iterator):
        source = source.im
    return source if isinstance(source, Image.Image) else None


@contextlib.contextmanager
def _kept_in_place(image: Image.Image) -> Iterator[Image.Image]:
    """The learner's own Pillow image, which is at the same frame afterwards."""
    before = image.tell()
    try:
        yield image
    finally:
        with contextlib.suppress(*BROKEN):
            image.seek(before)


def _checked_path(source: str | os.PathLike[str], inside: str | Path | None) -> Path:
    try:
        path = Path(source).expanduser()
        if inside is not None and not path.resolve().is_relative_to(Path(inside).expanduser().resolve()):
            raise BadImage(
                _("{path} is not inside {folder}.").format(path=path, folder=inside),
                _("Choose a clip from that folder."),
            )
        mode = path.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:
        raise BadImage(
            _("{path} cannot be opened as a clip.").format(path=str(source)[:200]), _("Check the path of the file.")
        ) from error
    if not stat.S_ISREG(mode):  # a pipe would be waited for, a device read without end
        what = _("{path} is a folder.") if stat.S_ISDIR(mode) else _("{path} is a pipe or a device, not a file.")
        raise BadImage(what.format(path=path), _("Save the clip as a file and give its path."))
    return path


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise BadImage(
            _("{path} cannot be opened as a clip.").format(path=path), _("Check the path of the file.")
        ) from error


def _reader(head: bytes) -> str:
    """FFmpeg's reader for a file that begins like this, "" for what is no video."""
    return next((reader for at, mark, reader in VIDEOS if head[at : at + len(mark)] == mark), "")


def _file(head: bytes, open_file: Callable[[], IO[bytes]], name: str) -> Clip:
    if reader := _reader(head):
        return _Video(open_file, name, reader)

    @contextlib.contextmanager
    def opened() -> Iterator[Image.Image]:
        from PIL import Image

        with open_file() as file, Image.open(file, formats=ANIMATIONS) as image:
            yield image

    return _Animation(opened, name)


# -- reading ----------------------------------------------------------------------------------------------


class _Frames:
    """Pictures that are already there."""

    def __init__(self, pictures: Sequence[PictureSource]) -> None:
        self.pictures, self.promised, self.lasts, self.name = pictures, len(pictures), 0.0, _("The clip")

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """See `Clip.frames`."""
        for index, frame in enumerate(self.pictures):
            yield index, None, open_image(frame) if wanted(index) else None


class _Animation:
    """A picture with several frames, read by Pillow."""

    def __init__(self, opened: Callable[[], contextlib.AbstractContextManager[Image.Image]], name: str) -> None:
        from PIL import Image

        self.opened, self.name, self.lasts = opened, name, 0.0
        try:
            with quiet_pillow(), opened() as image:
                width, height = image.size
                self.promised: int = getattr(image, "n_frames", 1)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(name) from error
        except BROKEN as error:
            raise BadImage(
                _("{name} is not a clip that the labs can read.").format(name=name),
                _(
                    "Use MP4, MOV, WebM, MKV, AVI, an animated GIF, WebP or PNG, or give the frames as a list of "
                    "pictures."
                ),
            ) from error
        _check_size(name, width, height)

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """See `Clip.frames`."""
        from PIL import Image

        seconds = 0.0
        with self.opened() as image:
            for index in range(self.promised):
                try:
                    with quiet_pillow():
                        image.seek(index)
                        image.load()
                except (Image.DecompressionBombError, Image.DecompressionBombWarning, *BROKEN):
                    return  # cut short: the caller counts
                yield index, seconds, open_image(image) if wanted(index) else None
                seconds += image.info.get("duration", 100) / 1000


class _Video:
    """A video, read by PyAV."""

    def __init__(self, open_file: Callable[[], IO[bytes]], name: str, reader: str) -> None:
        self.open_file, self.name, self.reader, self._hidden = open_file, name, reader, 0
        with self._opened() as (container, stream):
            self.promised, self.lasts = stream.frames, 0.0
            if stream.duration is not None and stream.time_base is not None:
                self.lasts = float(stream.duration * stream.time_base)
            elif len(container.streams) == 1 and container.duration:  # with sound, the whole may last longer
                self.lasts = container.duration / 1e6
            self._length = self.lasts
            _check_size(name, stream.codec_context.width, stream.codec_context.height)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        try:
            import av
        except ImportError as error:
            raise BadImage(
                _("{name} is a video, and PyAV, which reads videos, cannot be used here ({reason}).").format(
                    name=self.name, reason=error
                ),
                _("Install it (pip install av), or use an animated GIF or a list of pictures."),
            ) from error
        av.logging.set_level(None)  # what FFmpeg says about a damaged file helps no learner
        with self.open_file() as file:
            try:
                # FFmpeg gets the bytes of this file and may open nothing else.
                container = av.open(file, "r", format=self.reader, container_options={"protocol_whitelist": "none"})
            except (av.error.FFmpegError, *BROKEN) as error:
                raise BadImage(
                    _("{name} is a video that cannot be read.").format(name=self.name),
                    _("It may be damaged or cut short; copy it again."),
                ) from error
            with container:
                yield container, self._pictures_of(container)

    def _pictures_of(self, container: InputContainer) -> VideoStream:
        """The stream that moves: the cover of a song is a picture, and no clip."""
        import av

        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            sound = container.streams.audio
            what = _("{name} holds sound only.") if sound else _("{name} holds no moving pictures.")
            raise BadImage(what.format(name=self.name), _("Choose a file with moving pictures."))
        stream = streams[0]
        if stream.codec_context is None:
            raise BadImage(
                _("{name} is stored in a way (codec) that the labs cannot read.").format(name=self.name),
                _("Convert it to MP4 with H.264, as most programs that edit videos can."),
            )
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a frame may be larger than the header says
        stream.thread_type, stream.codec_context.thread_count = "AUTO", min(_THREADS, os.cpu_count() or 1)
        return stream

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """See `Clip.frames`."""
        with self._opened() as (container, stream):
            self._hidden = 0
            # PyAV's types leave out that both times may be missing.
            begins = cast("int | None", container.start_time)
            start = None if begins is None else begins / 1e6
            if start is None and len(container.streams) > 1:
                start = 0.0  # where the sound begins
            for index, frame in enumerate(self._decoded(container, stream)):
                _check_size(self.name, frame.width, frame.height)
                seconds = cast("float | None", frame.time)
                if seconds is None and stream.average_rate:  # some AVI files have no times
                    seconds = float(index / stream.average_rate) + (start or 0)
                if start is None and seconds is not None:
                    start, self.lasts = seconds, self._length - seconds
                if seconds is not None and start is not None:
                    seconds -= start
                yield index, seconds, _upright(frame) if wanted(index) else None
            self.promised = max(0, stream.frames - self._hidden)

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """All frames that can be read, in the order in which they are shown. Damaged ones are left out."""
        import av

        packets = container.demux(stream)
        while (packet := _next(packets)) is not None:  # an empty packet is one too
            self._hidden += packet.is_discard  # before the start of a clip that was cut without storing it anew
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if isinstance(frame, av.VideoFrame):
                    yield frame


def _next(packets: Iterator[Packet[VideoStream]]) -> Packet[VideoStream] | None:
    """The next packet, None at the end of the file, and where the file is cut short: the caller counts."""
    import av

    try:
        return next(packets, None)
    except av.error.FFmpegError:
        return None


def _upright(frame: VideoFrame) -> Image.Image:
    """A frame as RGB, turned as its file says. Telephones store upright videos lying."""
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV gives this one no types
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _too_large(name: str) -> BadImage:
    return BadImage(
        _("The frames of {name} have more than {most:,} pixels.").format(name=name, most=MOST_PIXELS),
        _("Make the clip smaller first."),
    )


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _too_large(name)
