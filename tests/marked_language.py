"""A language for tests: every sentence that goes through the door of translations is in quotation marks."""

from __future__ import annotations

import pytest

from labs_helper.common import translate


class Marked:
    """A catalog that knows every sentence."""

    def text(self, text: str) -> str:
        return f"«{text}»"

    def plural(self, one: str, many: str, count: int) -> str:
        return f"«{one if count == 1 else many}»"


def mark_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the package speaks the marked language."""
    monkeypatch.setattr(translate, "language", lambda: "marked")
    monkeypatch.setattr(translate, "_catalog", lambda spoken, folder: Marked())
