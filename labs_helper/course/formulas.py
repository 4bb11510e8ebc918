"""Markdown as HTML with formulas as MathML, which browsers draw without a program and without a network."""

from __future__ import annotations

from typing import ClassVar

from nbconvert.filters.markdown_mistune import IPythonRenderer

from labs_helper.common.markup import escape


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
