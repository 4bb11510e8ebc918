"""The picture of the README: both themes are one drawing, and it shows what the bundled models say today."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = spec_from_file_location("cover", ROOT / "docs" / "cover.py")
cover = sys.modules["cover"] = module_from_spec(spec)
spec.loader.exec_module(cover)

PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")


def without_pixels(svg: str) -> str:
    return PIXELS.sub("PIXELS", svg)  # how PNG files are packed depends on the version of a library


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_file_is_what_the_script_draws(theme):
    svg = cover.FILES[theme].read_text("utf-8")
    assert without_pixels(cover.draw(cover.kept(svg), cover.tiles(), theme)) == without_pixels(svg)
    assert len(set(PIXELS.findall(svg))) == 4  # four tiles, all different


def test_both_themes_show_the_same():
    light, dark = (path.read_text("utf-8") for path in cover.FILES.values())
    assert cover.kept(light) == cover.kept(dark) and light != dark
    assert re.findall(r">([^<]+)</text>", light) == re.findall(r">([^<]+)</text>", dark)


def test_the_models_still_say_what_the_picture_shows():
    assert cover.facts() == cover.kept(cover.FILES["light"].read_text("utf-8")), "run `python docs/cover.py`"


def test_the_readme_shows_both_with_alt_text():
    readme = (ROOT / "README.md").read_text("utf-8")
    (picture,) = re.findall(r"<picture>.*?</picture>", readme, re.S)
    assert 'media="(prefers-color-scheme: dark)" srcset="images/cover-dark.svg"' in picture
    assert re.search(r'<img src="images/cover-light.svg"[^>]* alt="[^"]{100,}"', picture)
