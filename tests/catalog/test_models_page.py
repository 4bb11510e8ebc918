"""docs/models.md promises what the course computes, to the digit that it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labs_helper import catalog
from labs_helper.capacity import estimate, limits

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "models.md").read_text("utf-8")
PART = re.split(r"^## ", TEXT, flags=re.M)
ROUTE = next(part for part in PART if part.startswith("Phi-mini-MoE at 4 bits"))


@pytest.fixture(scope="module")
def four_bits():
    """The configuration of the model that the page tells how to make."""
    card = next(card for card in catalog.cards() if card.name == "phi-mini-moe-instruct-bf16")
    return {**card.config, "quantization": {"bits": 4, "group_size": 64}}


def test_the_route_names_what_exists():
    names = {card.name for card in catalog.cards()}
    assert set(re.findall(r"labs models (?:fetch|convert) (\S+)", ROUTE)) <= names


def test_the_memory_of_the_route_is_computed(four_bits):
    rows = re.findall(r"^\| (\d+) GB \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", ROUTE, re.M)
    assert [row[0] for row in rows] == ["8", "16", "24"]
    table = estimate.table_of(four_bits)
    needs = [estimate.need(four_bits, table, tokens, on_cpu=False).total / 1e9 for tokens in (1024, 4096)]
    for memory, share, *said in rows:
        assert float(share) == round(limits.gpu_share(int(memory) * 2**30) / 1e9, 1)
        assert [float(number) for number in said] == [round(need, 1) for need in needs]
        assert all(need < float(share) for need in needs)


def test_the_sizes_of_the_route_are_those_of_the_catalog(four_bits):
    card = next(card for card in catalog.cards() if card.name == "phi-mini-moe-instruct-bf16")
    download, result = re.search(r"The download is ([\d.]+) GB, the result ([\d.]+) GB", ROUTE).groups()
    assert float(download) == round(card.bytes_on_disk / 1e9, 1)
    weights = estimate.need(four_bits, estimate.table_of(four_bits), 1024, on_cpu=False).weights
    assert float(result) == round(weights / 1e9, 1)


def test_each_machine_has_a_real_model_that_sees_and_its_memory_is_computed(four_bits):
    """The table of machines: gigabytes for 4,096 tokens and one picture of 16 crops, or of 4 where it says so."""
    (table,) = re.findall(r"^\| machine \| labs 00 and 01.*?\n\n", TEXT, re.M | re.S)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    needs = [estimate.of_card(card, on_cpu=False, views=17) for card in catalog.cards() if card.config]
    needs.append(estimate.need(four_bits, estimate.table_of(four_bits), 4096, on_cpu=False))
    needs.append(estimate.of_card(catalog.find("phi-3.5-vision-instruct-onnx")[0], 1024, on_cpu=True, views=5))
    computed = {f"{need.total / 1e9:.1f} GB" for need in needs if need}
    assert len(rows) > 8 and {machine.split(" ")[0] for machine, *_cells in rows} == {"Mac", "Linux", "the", "an"}
    for _machine, *cells in rows:
        assert set(re.findall(r"[\d.]+\.\d GB", " ".join(cells))) <= computed
        assert not cells[1].startswith("bundled")
