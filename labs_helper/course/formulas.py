"""Markdown as HTML with formulas as MathML, which browsers draw without a program and without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from labs_helper.common.markup import escape

if TYPE_CHECKING:
    from collections.abc import Mapping


class MathRenderer(IPythonRenderer):  # type: ignore[misc]  # nbconvert has no types
    """Formulas as MathML; of links, those that still lead somewhere when the page is elsewhere.

    Attributes:
        KEPT: how the address of a link begins that stays. Of any other link the words stay.
    """

    KEPT: ClassVar[tuple[str, ...]] = ("https://", "http://")

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, url, title) if url.startswith(self.KEPT) else text


class WithFormulas:
    """What an exporter of nbconvert takes in to write its markdown cells so.

    Attributes:
        RENDERER: of a markdown cell.
    """

    RENDERER: ClassVar[type[MathRenderer]] = MathRenderer

    @pass_context
    def markdown2html(self, context: Mapping[str, Any], source: str) -> str:
        """A markdown cell as HTML, its pictures inside."""
        renderer = self.RENDERER(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=True,
            path=context["resources"]["metadata"].get("path", ""),
            exclude_anchor_links=True,
        )
        return str(MarkdownWithMath(renderer=renderer).render(source))


def mathml(formula: str, display: str) -> str:
    """A formula in LaTeX as MathML, or as it was written if it cannot be read.

    Args:
        formula: without the dollar signs.
        display: "inline" or "block".

    Example:
        >>> mathml("x", "inline").startswith("<math")
        True
    """
    from latex2mathml.converter import convert

    try:
        return str(convert(formula.strip(), display=display))
    except Exception:  # one wrong formula must not cost the page; the package's own errors share no base
        return f"<code>{escape(formula.strip())}</code>"
