"""The reports for upstream run as they are, and agree with the probes of our corrections."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from labs_helper.corrections import longrope
from labs_helper.corrections.vision import pictures, prompt, tiles
from labs_helper.engines.worker import WORKER

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "upstream"
PROBES = {
    "rope_table": longrope.probe,
    "tile_order": tiles.probe,
    "dropped_token": prompt.probe,
    "stretched_picture": pictures.probe,
}
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_shows_what_the_probe_finds(name):
    if name == "phimoe_graph":
        pytest.importorskip("xllamacpp", exc_type=ImportError)
    ran = subprocess.run([sys.executable, FOLDER / f"{name}.py"], capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stderr[-2000:]
    verdict = ran.stdout.strip().splitlines()[-1]
    assert verdict in ("right", "wrong")
    if name in PROBES:
        assert WORKER.call(PROBES[name]) == (verdict == "right"), "program and probe disagree"


def test_every_report_is_listed_and_needs_nothing_of_ours():
    listed = re.findall(r"\[(\w+)\.py\]", (FOLDER / "README.md").read_text("utf-8"))
    assert sorted(listed) == PROGRAMS
    for name in PROGRAMS:
        assert "labs_helper" not in (FOLDER / f"{name}.py").read_text("utf-8")
