"""The pictures of the vision lab: complete, small, listed alike everywhere, and true."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from PIL import Image

from training.cases import held_out
from training.gallery import large, small
from training.gallery.base import BEGIN, COLUMNS, END, FOLDER, ROOT, SCENARIOS, few

ROWS = list(csv.DictReader((FOLDER / "pictures.csv").read_text("utf-8").splitlines()))
SINGLE = {row["file"]: row for row in ROWS}


def test_list_names_every_file_once():
    files = sorted(path.name for path in FOLDER.iterdir() if path.name != "pictures.csv")
    assert sorted(row["file"] for row in ROWS) == files and len(files) >= 24
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2.5e6


@pytest.mark.parametrize("row", ROWS, ids=SINGLE)
def test_every_row_is_complete_and_every_picture_opens(row):
    assert tuple(row) == COLUMNS
    assert row["scenario"] in SCENARIOS and row["models"] in ("both", "real")
    assert all(len(row[column]) > 1 for column in ("alt", "question", "answer"))
    if not row["file"].endswith(".mp4"):
        with Image.open(FOLDER / row["file"]) as picture:
            picture.load()
            assert min(picture.size) >= 84


def test_every_scenario_has_something_for_both_models_and_for_the_real_one():
    for scenario in SCENARIOS:
        assert {row["models"] for row in ROWS if row["scenario"] == scenario} == {"both", "real"}, scenario


def test_pictures_of_a_set_share_question_and_answer_and_follow_each_other():
    sets = [row["set"] for row in ROWS if row["set"]]
    assert sets == [name for name in dict.fromkeys(sets) for _ in range(sets.count(name))]
    for name in set(sets):
        rows = [row for row in ROWS if row["set"] == name]
        assert len(rows) > 1 and len({(row["question"], row["answer"], row["scenario"]) for row in rows}) == 1


def test_readme_says_the_same_as_the_list():
    text = (ROOT / "images" / "README.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    lines = [f"| `vision/{r['file']}` | {r['scenario']}, {r['models']} | {r['alt']} |" for r in ROWS]
    assert text.strip().splitlines()[2:] == lines


def test_words_of_the_tiny_pictures_are_held_out_of_training():
    files = ("sign.png", "three-words.png", "lines.png", "huge-sign.png")
    words = re.findall(r"\b(?=\w*[A-Z]{3}|\d{3}\b)[A-Z0-9]{3,5}\b", " ".join(SINGLE[file]["answer"] for file in files))
    assert len(words) >= 6 and [word for word in words if not held_out("word", word)] == []


def test_drawing_again_gives_the_same_picture():
    for picture in (large.gauge(), next(iter(small.pairs()))):
        with Image.open(FOLDER / picture.file) as file:
            drawn, stored = (np.asarray(image.convert("RGB")).astype(int) for image in (few(picture.content), file))
        # Edges may come out a little different with another version of Pillow.
        assert drawn.shape == stored.shape and (np.abs(drawn - stored).max(-1) > 24).mean() < 0.01


def test_sums_in_the_answers_are_right():
    receipt, pages = SINGLE["receipt.png"], SINGLE["stock-page-1.png"]["alt"] + SINGLE["stock-page-2.png"]["alt"]
    prices = [float(price) for price in re.findall(r"\d+ x [A-Za-z ]+ (\d+\.\d\d)", receipt["alt"])]
    assert len(prices) == 5 and f"total {sum(prices):.2f}" in receipt["answer"]
    books = [(float(price), int(count)) for price, count in re.findall(r", (\d+\.\d\d), (\d+)", pages)]
    assert len(books) == 16 and f"{sum(count for _, count in books)} books" in SINGLE["stock-page-1.png"]["answer"]
    assert f"{sum(price * count for price, count in books):,.2f} euros" in pages
