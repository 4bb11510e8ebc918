"""The SVG pictures in the HTML of a figure, as a browser reads them from their addresses."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

_ADDRESS = re.compile(r"data:image/svg\+xml(?:;base64,([A-Za-z0-9+/=]+)|,([^\"<>]+))")
_TAG = re.compile(r"<[^<>]*>")
_VALUE = re.compile(r"='([^']*)'")


def drawings(html: str) -> list[str]:
    """Every SVG in the addresses of some HTML, its attributes in double quotes.

    Example:
        drawings('<img src="data:image/svg+xml,%3Csvg width=\\'3\\'/%3E">')      # ['<svg width="3"/>']
    """
    return [_one(packed, text) for packed, text in _ADDRESS.findall(html)]


def _one(packed: str, text: str) -> str:
    if packed:
        return base64.b64decode(packed).decode("utf-8", "replace")
    return _TAG.sub(lambda tag: _VALUE.sub(_in_double_quotes, tag[0]), unquote(text))


def _in_double_quotes(value: re.Match[str]) -> str:
    return '="{}"'.format(value[1].replace("&apos;", "'"))
