"""The model cards: Hugging Face's own parser reads them, and they say what such a card must say."""

from __future__ import annotations

import json
import shutil
from importlib import import_module

import pytest
from huggingface_hub import ModelCard

from training import card
from training.card import dialogues, header, read_figures, seeds
from training.config import CHECKPOINTS, recipes
from training.world import LANGUAGES

SECTIONS = (
    "Intended use", "Out of scope", "How to use it", "Training data", "Evaluation", "Sample dialogues",
    "Bias, risks and limits", "Time and energy", "How to make it again", "Citation",
)  # fmt: skip


@pytest.mark.parametrize("name", recipes())
def test_hugging_faces_parser_reads_the_card(name):
    read = ModelCard((CHECKPOINTS / name / "MODEL_CARD.md").read_text(encoding="utf-8"))
    data, seeing = read.data.to_dict(), recipes()[name]["architecture"] == "phi3_v"
    assert data["license"] == "mit" and data["library_name"] == "mlx"
    assert data["language"] == (["en"] if seeing else list(LANGUAGES))
    assert data["pipeline_tag"] == ("image-text-to-text" if seeing else "text-generation")
    assert {"mlx", "education", "4-bit", recipes()[name]["architecture"]} <= set(data["tags"])
    assert data.get("base_model") == recipes()[name].get("start")
    # Nothing of the block is left in the text, which begins with its title.
    assert read.text.strip().startswith(f"# {name}\n") and "license:" not in read.text


@pytest.mark.parametrize("name", recipes())
def test_a_card_has_every_section_intervals_and_dialogues(name):
    text = (CHECKPOINTS / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert sorted(titles) == sorted(SECTIONS)
    assert all(part.strip() for part in text.split("\n## ")[1:])
    one_line = " ".join(text.split())
    assert "| 95% interval |" in text and "not Microsoft's weights" in one_line and f'load("{name}")' in text
    result = json.loads((CHECKPOINTS / name / "evaluation.json").read_text(encoding="utf-8"))
    assert len(result["samples"]) >= 8 and dialogues(result["samples"]) in text
    assert seeds(name, result) in one_line and f"seed {result['seed']}" in text


def test_a_seed_that_chose_is_called_so():
    chose = recipes()["moe-tiny"]["chosen_by"][0]
    assert "too good" in seeds("moe-tiny", {"seed": chose})
    assert "Seed 5 chose nothing" in seeds("moe-tiny", {"seed": 5}) and 5 not in recipes()["moe-tiny"]["chosen_by"]


def test_the_header_is_one_block():
    text = header("moe-tiny")
    assert text.startswith("---\n") and text.endswith("\n---") and text.count("---") == 2


@pytest.mark.parametrize("name", recipes())
def test_a_card_says_what_its_figures_say(name, tmp_path):
    """Written anew from the figures beside it, it is the card that is there."""
    module = import_module("training.vision.card" if recipes()[name]["architecture"] == "phi3_v" else "training.card")
    shutil.copytree(CHECKPOINTS / name, tmp_path / name)
    written = module.write_card(name, tmp_path).read_text(encoding="utf-8")
    assert written == (CHECKPOINTS / name / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_without_the_run_the_last_comparison_with_16_bits_stays(monkeypatch, tmp_path):
    shutil.copytree(CHECKPOINTS / "instruct-tiny", tmp_path / "instruct-tiny")
    before = read_figures("instruct-tiny", tmp_path)
    monkeypatch.setattr(card, "evaluate", lambda *arguments: {"tasks": before["4-bit"]})
    monkeypatch.setattr(card, "as_people_ask", lambda *arguments: {"tasks": {}})
    monkeypatch.setattr(card, "asked_samples", lambda *arguments: before["samples"])
    card.measure("instruct-tiny", 5, 7, tmp_path / "no-runs", tmp_path)
    after = read_figures("instruct-tiny", tmp_path)
    assert after["rounding"] == before["rounding"] and after["rounding"]["seed"] != after["seed"] == 5
    assert after["parameters"] == before["parameters"]
