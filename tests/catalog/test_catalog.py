"""The catalog of models."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from labs_helper import catalog
from labs_helper.errors import BadRequest


def test_each_role_of_lab_01_has_a_tiny_and_a_real_model():
    for role in ("instruct", "instruct-previous"):
        assert {card.tier for card in catalog.find(role)} == {"tiny", "real"}


def test_a_name_and_a_role_find_the_same_card():
    assert catalog.find("instruct-tiny") == catalog.find("instruct", tier="tiny")


def test_every_card_names_its_source():
    assert all(card.source and card.licence for card in catalog.cards())
    assert all(card.repository for card in catalog.cards() if card.tier == "real")


def test_unknown_names_and_tiers_list_the_known_ones():
    with pytest.raises(BadRequest, match=r"instruct-previous.*instruct-tiny"):
        catalog.find("phi-9")
    with pytest.raises(BadRequest, match="auto, tiny, real"):
        catalog.find("instruct", tier="huge")


def test_the_size_of_a_bundled_model_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    assert catalog.find("instruct-tiny")[0].bytes_on_disk is None
    folder = tmp_path / "data/checkpoints/instruct-tiny"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 321)
    (folder / "README.md").write_bytes(b"not a weight")
    card = catalog.find("instruct-tiny")[0]
    assert (card.path, card.bytes_on_disk) == (folder, 321)


def test_bundled_cards_agree_with_their_folders():
    for card in catalog.cards():
        if card.tier == "tiny" and (card.path / "config.json").is_file():
            config = json.loads((card.path / "config.json").read_text(encoding="utf-8"))
            assert card.architecture == config["model_type"]
            assert card.context == config["max_position_embeddings"]


def test_names_are_unique_and_every_real_model_says_how_large_it_is():
    cards = catalog.cards()
    assert len({card.name for card in cards}) == len(cards)
    for card in cards:
        if card.tier == "real":
            assert card.bytes_on_disk and card.context and card.config
            assert card.config["model_type"] == card.architecture
            assert (card.format == "gguf") == bool(card.file)
            assert card.name == card.name.lower(), "names are typed by hand"


@pytest.mark.parametrize(
    "work",
    [
        "from labs_helper.models.selection import choose; choose('instruct', 'auto')",
        "from labs_helper.models.selection import choose; choose('vision', 'tiny'); choose('moe', 'tiny')",
        "from labs_helper.doctor import check_setup; check_setup('01')",
    ],
)
def test_the_files_of_the_catalog_are_opened_once(work):
    """Counted by Python itself (sys.addaudithook), in a program of its own in which nothing was read before."""
    code = (
        "import sys; opened = []\n"
        "def hook(event, values):\n"
        "    if event == 'open' and str(values[0]).endswith('.toml'): opened.append(str(values[0]).split('/')[-1])\n"
        f"sys.addaudithook(hook)\n{work}\n"
        "print(*sorted(name for name in opened if name in ('models.toml', 'labs.toml')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2].split() in (["models.toml"], ["labs.toml", "models.toml"])


def test_a_caller_may_change_what_it_gets():
    catalog.cards().clear()
    first, second = catalog.find("phi-3.5-mini-instruct-4bit")[0], catalog.find("phi-3.5-mini-instruct-4bit")[0]
    first.config["hidden_size"] = 1
    assert second.config["hidden_size"] == catalog.find(first.name)[0].config["hidden_size"] != 1
