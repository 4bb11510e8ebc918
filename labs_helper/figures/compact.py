"""A matplotlib SVG in about half its size, with the same picture.

matplotlib writes a group with an id around each part, eleven names of fonts with each label, and six decimals. The
course stores each picture in notebooks, in every language.
"""

from __future__ import annotations

import re

# The browser's: where DejaVu is missing, Verdana has nearly its widths. For Hangul the reader's computer has its own.
FONTS = "'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif"

_HEAD = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.S)
_ID = re.compile(r' id="([^"]*)"')
_USED = re.compile(r"#([\w.-]+)")
_FAMILY = re.compile(r"font-family: 'DejaVu Sans'[^;\"]*;? ?")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_DATA = re.compile(r'(?<= )(?:d|x|y|transform|width|height)="[^"]*"')
_GROUP = re.compile(r"<g>((?:<(?:use|path|image)\b[^>]*/>|<text\b[^>]*>[^<]*</text>)*)</g>")


def compact(svg: str) -> str:
    """The same picture in fewer bytes: no unused names, one list of fonts, two decimals (four below 1).

    Args:
        svg: what matplotlib wrote, with text as text.

    Example:
        compact(buffer.getvalue().decode())
    """
    svg = _HEAD.sub("", svg)
    used = set(_USED.findall(svg))
    svg = _ID.sub(lambda name: name[0] if name[1] in used else "", svg)
    svg = _FAMILY.sub("", svg)
    svg = re.sub(r">\s*\n\s*<", "><", svg).strip()
    svg = re.sub(r' style="([^"]*)"', lambda style: _style(style[1]), svg)
    svg = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", svg)
    svg = _DATA.sub(lambda data: _short(data[0]), svg)
    svg, more = _GROUP.subn(r"\1", svg)
    while more:
        svg, more = _GROUP.subn(r"\1", svg)
    return svg.replace("<svg", f'<svg style="font-family:{FONTS}"', 1)


def _style(style: str) -> str:
    style = style.replace(": ", ":").replace("; ", ";").strip("; ")
    return f' style="{style}"' if style else ""


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
