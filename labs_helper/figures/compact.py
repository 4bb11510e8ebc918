"""A matplotlib SVG in about a third of its size, with the same picture.

matplotlib writes a group with an id around each part, eleven names of fonts with each label, the whole style with each
line and tick, and six decimals. The course stores each picture in notebooks, in every language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import count

# The browser's: where DejaVu is missing, Verdana has nearly its widths. For Hangul the reader's computer has its own.
FONTS = "'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif"

_HEAD = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.S)
_ID = re.compile(r' id="([^"]*)"')
_USED = re.compile(r"(?:url\(|href=\")#([\w.-]+)")
_STYLE = re.compile(r' style="([^"]*)"')
_SHEET = re.compile(r'<style type="text/css">(.*?)</style>', re.S)
_COLOUR = re.compile(r"#([0-9a-f])\1([0-9a-f])\2([0-9a-f])\3\b")
_ZERO = re.compile(r"(?<=:)0(?=\.\d)")
_FAMILY = re.compile(r"font-family: 'DejaVu Sans'[^;\"]*;? ?")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_DATA = re.compile(r'(?<= )(?:d|x|y|transform|width|height)="[^"]*"')
_GROUP = re.compile(r"<g>((?:<(?:use|path|image)\b[^>]*/>|<text\b[^>]*>[^<]*</text>)*)</g>")


def compact(svg: str) -> str:
    """The same picture in fewer bytes: no unused names, each font and style once, two decimals (four below 1).

    Args:
        svg: what matplotlib wrote, with text as text.

    Example:
        compact(buffer.getvalue().decode())
    """
    svg = _HEAD.sub("", svg)
    used = dict(zip(dict.fromkeys(_USED.findall(svg)), _names()))
    svg = _ID.sub(lambda name: f' id="{used[name[1]]}"' if name[1] in used else "", svg)
    svg = _USED.sub(lambda name: name[0].removesuffix(name[1]) + used[name[1]], svg).replace("xlink:href=", "href=")
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("base64,\n", "base64,")
    svg = _FAMILY.sub("", svg)
    svg = re.sub(r">\s*\n\s*<", "><", svg).strip()
    svg = _styled_once(_STYLE.sub(lambda style: _style(style[1]), svg))
    svg = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", svg)
    svg = _DATA.sub(lambda data: _short(data[0]), svg)
    svg, more = _GROUP.subn(r"\1", svg)
    while more:
        svg, more = _GROUP.subn(r"\1", svg)
    return svg.replace("<svg", f'<svg style="font-family:{FONTS}"', 1)


def _names() -> Iterator[str]:
    """Short names: a, b ... z, a1, b1 ..."""
    return (f"{chr(97 + i % 26)}{i // 26 or ''}" for i in count())


def _style(style: str) -> str:
    style = _ZERO.sub("", style.replace(": ", ":").replace("; ", ";").strip("; "))
    style = style.replace("stroke-dashoffset:0;", "")  # what it is anyway
    style = _COLOUR.sub(r"#\1\2\3", style)
    return f' style="{style}"' if style else ""


def _styled_once(svg: str) -> str:
    """A style that occurs twice or more becomes a class; matplotlib's own sheet takes its rule."""
    often = Counter(_STYLE.findall(svg))
    known = dict(zip((style for style, times in often.items() if times > 1), _names()))
    if not known or not _SHEET.search(svg):
        return svg
    rules = "".join(f".{name}{{{style}}}" for style, name in known.items())
    svg = _STYLE.sub(lambda style: f' class="{known[style[1]]}"' if style[1] in known else style[0], svg)
    return _SHEET.sub(lambda sheet: f"<style>{sheet[1].replace(': ', ':').replace('; ', ';')}{rules}</style>", svg, 1)


def _short(data: str) -> str:
    data = _NUMBER.sub(lambda number: _rounded(float(number[0])), data)
    if data.startswith("d="):
        data = re.sub(r"\s+", " ", data)
        data = re.sub(r" ?([A-Za-z]) ?", r"\1", data[3:-1]).strip()
        data = f'd="{data}"'
    return data


def _rounded(number: float) -> str:
    text = f"{number:.{2 if abs(number) >= 1 else 4}f}".rstrip("0").rstrip(".")
    if text in ("-0", "0", ""):
        return "0"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
