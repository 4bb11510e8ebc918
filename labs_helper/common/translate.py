"""The one door for sentences that people see: `_("... {name} ...").format(name=...)`.

The text is looked up when it is shown, never at import, so LABS_LANGUAGE may be set in a notebook. A catalog is
`labs_helper/locale/<language>/LC_MESSAGES/labs_helper.mo`; without one the English text is shown.
"""

from __future__ import annotations

import gettext
import os
from functools import cache
from pathlib import Path

DOMAIN = "labs_helper"
FOLDER = Path(__file__).resolve().parents[1] / "locale"


@cache
def _catalog(language: str, folder: Path) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, localedir=folder, languages=[language], fallback=True)


def _current() -> gettext.NullTranslations:
    # Read here and not through `settings`, whose own messages come through this door.
    return _catalog(os.environ.get("LABS_LANGUAGE", "").strip() or "en", FOLDER)


def _(text: str) -> str:
    """The sentence in the language of the learner.

    Args:
        text: English, with named places in braces; call `.format` on the result, never before.

    Example:
        _("{name} needs {size} of memory.").format(name="phi-3.5-mini", size="2.4 GB")
    """
    return _current().gettext(text)


def _n(one: str, many: str, count: int) -> str:
    """The singular or plural sentence for a count.

    Example:
        _n("{count} token", "{count} tokens", 3).format(count=3)      # '3 tokens'
    """
    return _current().ngettext(one, many, count)
