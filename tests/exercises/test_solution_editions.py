"""The published solutions pass their own checks, and show a guess wherever one is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EDITIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))


def calls(source: str, name: str) -> int:
    """How often a cell calls a function by its plain name; `store.check()` is another one."""
    return len(re.findall(rf"(?<![.\w]){name}\(", source))


def cells_with(path: Path, call: str):
    """The code cells of an edition that call a function, with what they show as text."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or not calls(source, call):
            continue
        texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell["outputs"]]
        yield source, "\n".join("".join(text) for text in texts)


@pytest.mark.parametrize("path", EDITIONS, ids=lambda path: path.stem)
def test_every_check_of_a_solution_passes(path):
    checked = list(cells_with(path, "check"))
    assert checked
    for source, shown in checked:
        assert len(re.findall(r"Exercise [\d.]+ - PASSED", shown)) == calls(source, "check"), shown


@pytest.mark.parametrize("path", EDITIONS, ids=lambda path: path.stem)
def test_every_guess_is_there_and_revealed(path):
    shown = [text for call in ("predict", "reveal") for _source, text in cells_with(path, call)]
    assert not [text for text in shown if "No guess yet" in text]
