"""Recipes, their profiles, and what is told of published weights. Needs no torch."""

from __future__ import annotations

import pytest

from training import history
from training.config import CHECKPOINTS, PROFILES, profiles, recipe_of, recipes


def tables(recipe):
    yield recipe
    for value in recipe.values():
        if isinstance(value, dict):
            yield from tables(value)


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_has_its_plain_numbers_unless_a_profile_is_asked_for(name):
    plain = recipe_of(name)
    assert not any(profile in table for table in tables(plain) for profile in PROFILES)
    assert plain == {key: value for key, value in recipe_of(name).items() if key not in PROFILES}
    if profiles(name):
        assert recipe_of(name, "gpu") != plain and recipe_of(name, "gpu")["model"] == plain["model"]


def test_a_profile_replaces_numbers_in_every_table():
    plain, gpu = recipe_of("vision-tiny"), recipe_of("vision-tiny", "gpu")
    assert plain["tower"]["pictures"] == 8 and gpu["tower"]["pictures"] == 64
    assert plain["joint"]["steps"] == 0 < gpu["joint"]["steps"] and gpu["tower"]["rates"] == plain["tower"]["rates"]
    assert "tokens" not in recipe_of("moe-tiny") and recipe_of("moe-tiny", "gpu")["tokens"] == 98304


def test_a_profile_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no profile 'tpu'"):
        recipe_of("moe-tiny", "tpu")


@pytest.mark.parametrize("name", recipes())
def test_a_card_says_whether_one_command_repeats_its_weights(name):
    told, card = history.history(name), (CHECKPOINTS / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    section = card.split("## How to make it again")[1]
    assert f"python -m training make {name}" in section
    assert ("no single command repeats them" in section) == (told is not None)
    if told:
        assert told in section, "write the card again: python -m training card, or write_card alone"


@pytest.mark.parametrize("file", sorted(history.PUBLISHED.glob("*.md")), ids=lambda file: file.stem)
def test_every_history_is_about_the_weights_that_are_bundled(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == history.mark(CHECKPOINTS / file.stem), (
        "these weights are others: delete the file if the recipe made them in one run, or tell how they were made"
    )


def test_weights_without_a_history_are_what_one_command_makes(tmp_path):
    folder = tmp_path / "moe-tiny"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"others")
    assert history.history("moe-tiny", tmp_path) is None
    text = history.again("moe-tiny", "an hour", tmp_path)
    assert text.startswith("`python -m training make moe-tiny` makes them again, in one run: an hour.")
