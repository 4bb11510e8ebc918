"""Markdown from a model, made into HTML that can do no harm.

A model can be talked into writing anything. So raw HTML is escaped, links go to http, https and mailto only, and
pictures are not fetched (an address can carry what the model has read).
"""

from __future__ import annotations

import html
from functools import cache
from urllib.parse import urlsplit

import mistune

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _


class _Careful(mistune.HTMLRenderer):
    def __init__(self) -> None:
        super().__init__(escape=True)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        address = allowed_address(url)
        if address is None:
            return f"{text} <code>{escape(html.unescape(url))}</code>"
        return f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{text}</a>'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return escape(_("[picture: {words}]").format(words=html.unescape(text)))

    def heading(self, text: str, level: int, **attrs: object) -> str:
        # An answer must not break the outline of the notebook: its headings start at level 4.
        level = min(6, level + 3)
        return f"<h{level}>{text}</h{level}>\n"


def allowed_address(url: str) -> str | None:
    """The address if a learner may click it, else None.

    Example:
        >>> allowed_address("https://example.org/a"), allowed_address("java\\tscript:alert(1)")
        ('https://example.org/a', None)
    """
    # Browsers drop control characters and spaces inside a scheme, so they are dropped before looking at it.
    address = "".join(character for character in html.unescape(url) if character.isprintable()).strip()
    try:
        parts = urlsplit(address.replace(" ", ""))
    except ValueError:
        return None
    web = parts.scheme.lower() in ("http", "https") and parts.netloc
    return address if web or parts.scheme.lower() == "mailto" else None


@cache
def _converter() -> mistune.Markdown:
    return mistune.create_markdown(renderer=_Careful(), plugins=["table", "strikethrough"])


def markdown(text: str) -> str:
    """Markdown as safe HTML.

    Example:
        >>> markdown("**a** <script>")
        '<p><strong>a</strong> &lt;script&gt;</p>\\n'
    """
    rendered = _converter()(printable(text))
    return rendered if isinstance(rendered, str) else ""  # a list only without a renderer
