"""The model cards: Hugging Face's own parser reads them, and they say what such a card must say."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import ModelCard

from training.card import dialogues, header, seeds
from training.config import CHECKPOINTS, recipes
from training.world import LANGUAGES

SECTIONS = (
    "Intended use", "Out of scope", "How to use it", "Training data", "Evaluation", "Sample dialogues",
    "Bias, risks and limits", "Time and energy", "How to make it again", "Citation",
)  # fmt: skip


@pytest.mark.parametrize("name", recipes())
def test_hugging_faces_parser_reads_the_card(name):
    card = ModelCard((CHECKPOINTS / name / "MODEL_CARD.md").read_text(encoding="utf-8"))
    data, seeing = card.data.to_dict(), recipes()[name]["architecture"] == "phi3_v"
    assert data["license"] == "mit" and data["library_name"] == "mlx"
    assert data["language"] == (["en"] if seeing else list(LANGUAGES))
    assert data["pipeline_tag"] == ("image-text-to-text" if seeing else "text-generation")
    assert {"mlx", "education", "4-bit", recipes()[name]["architecture"]} <= set(data["tags"])
    assert data.get("base_model") == recipes()[name].get("start")
    # Nothing of the block is left in the text, which begins with its title.
    assert card.text.strip().startswith(f"# {name}\n") and "license:" not in card.text


@pytest.mark.parametrize("name", recipes())
def test_a_card_has_every_section_intervals_and_dialogues(name):
    text = (CHECKPOINTS / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert sorted(titles) == sorted(SECTIONS)
    assert all(part.strip() for part in text.split("\n## ")[1:])
    assert "| 95% interval |" in text and "not Microsoft's weights" in text and f'load("{name}")' in text
    result = json.loads((CHECKPOINTS / name / "evaluation.json").read_text(encoding="utf-8"))
    assert len(result["samples"]) >= 8 and dialogues(result["samples"]) in text
    assert seeds(name, result) in text and f"seed {result['seed']}" in text


def test_a_seed_that_chose_is_called_so():
    chose = recipes()["moe-tiny"]["chosen_by"][0]
    assert "too good" in seeds("moe-tiny", {"seed": chose})
    assert "Seed 5 chose nothing" in seeds("moe-tiny", {"seed": 5}) and 5 not in recipes()["moe-tiny"]["chosen_by"]


def test_the_header_is_one_block():
    assert (
        header("moe-tiny").startswith("---\n")
        and header("moe-tiny").endswith("\n---")
        and header("moe-tiny").count("---") == 2
    )
