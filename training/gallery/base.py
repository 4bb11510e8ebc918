"""What a picture of the lab is, and how it becomes a file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "images" / "vision"
SCENARIOS = ("memory", "latency", "general", "ocr", "charts", "compare", "clip")
COLUMNS = ("file", "set", "scenario", "models", "alt", "question", "answer")
BEGIN, END = "<!-- pictures of the vision lab: begin -->", "<!-- pictures of the vision lab: end -->"


@dataclass(frozen=True)
class Picture:
    """One file and what is known about it.

    Args:
        file: its name; .mp4 and .gif hold several frames.
        content: a picture, or the frames of a clip.
        scenario: one of SCENARIOS.
        models: "tiny" where vision-tiny was trained for it, "real" where only Phi-3.5-vision can, "both".
        alt: what it shows, in plain words.
        question, answer: one thing to ask and what is true. In a set they are about all its pictures together.
        set: pictures that are asked about together share this name; they follow each other in their order.
        fps: frames a second of a clip.
    """

    file: str
    content: Image.Image | Sequence[Image.Image]
    scenario: str
    models: str
    alt: str
    question: str
    answer: str
    set: str = ""
    fps: float = 2.0


def save(picture: Picture, folder: Path) -> None:
    """Write one picture, small: PNG with at most 64 colours, clips as GIF or as VP9 in MP4 (which browsers play)."""
    path = folder / picture.file
    if path.suffix == ".png":
        few(picture.content).save(path, optimize=True)
    elif path.suffix == ".gif":
        first, *rest = [few(frame) for frame in picture.content]
        first.save(path, save_all=True, append_images=rest, duration=round(1000 / picture.fps), loop=0, optimize=True)
    else:
        _write_video(path, picture)


def _write_video(path: Path, picture: Picture) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=Fraction(picture.fps), options={"crf": "30", "b": "0"})
        stream.width, stream.height = picture.content[0].size
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for frame in picture.content:
            container.mux(stream.encode(av.VideoFrame.from_image(frame.convert("RGB"))))
        container.mux(stream.encode())


def few(image: Image.Image) -> Image.Image:
    return image.convert("RGB").quantize(64, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def write_list(pictures: Sequence[Picture], folder: Path) -> None:
    """pictures.csv: one row a file."""
    with (folder / "pictures.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(picture, column) for column in COLUMNS] for picture in pictures)


def write_readme(pictures: Sequence[Picture], path: Path) -> None:
    """The table between the two marks of images/README.md."""
    lines = ["| file | for | alt text |", "| --- | --- | --- |"]
    lines += [f"| `vision/{p.file}` | {p.scenario}, {p.models} | {p.alt} |" for p in pictures]
    text = path.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    path.write_text("\n".join([head + BEGIN, *lines, END]) + rest.split(END)[1], encoding="utf-8")
