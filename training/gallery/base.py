"""What a picture of the lab is, and how it becomes a file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
        import cv2

        cv2.setNumThreads(1)
        size = picture.content[0].size
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"vp09"), picture.fps, size)
        if not writer.isOpened():
            raise OSError("This OpenCV cannot write VP9. The package opencv-python from PyPI can.")
        for frame in picture.content:
            writer.write(np.ascontiguousarray(np.asarray(frame.convert("RGB"))[:, :, ::-1]))
        writer.release()


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
