"""Read PO files (gettext's text form), with nothing but the standard library.

The package shows translated sentences straight from these files: no binary catalogs to build, ship or keep fresh.
Entries that are fuzzy, obsolete or empty do not count. `labs translate` writes the files, with polib.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d+)\])?\s+)?"(.*)"\s*')
_ESCAPED = re.compile(r"\\(.)")
_PLURAL = re.compile(r"^Plural-Forms:.*\bplural=(.*?);?\s*$", re.M)


def _two_forms(count: int) -> int:
    return int(count != 1)


@dataclass(frozen=True)
class Catalog:
    """The translations of a PO file.

    Attributes:
        texts: translations by English text.
        forms: for a pair of English texts, singular and plural: the translation of each form.
        form_of: which of a language's plural forms a count takes.
    """

    texts: dict[str, str] = field(default_factory=dict)
    forms: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    form_of: Callable[[int], int] = _two_forms

    def text(self, english: str) -> str:
        """The translation of a text; the text itself where there is none."""
        return self.texts.get(english, english)

    def plural(self, one: str, many: str, count: int) -> str:
        """The translation of a sentence for a count; the English one where there is none."""
        forms = self.forms.get((one, many))
        if forms is None:
            return one if count == 1 else many
        return forms[min(self.form_of(count), len(forms) - 1)]


def read(path: Path) -> Catalog:
    """The translations of a PO file; none if the file is not there.

    Example:
        read(Path("labs_helper/locale/ko/LC_MESSAGES/labs_helper.po")).text("Ready.")
    """
    texts: dict[str, str] = {}
    forms: dict[tuple[str, str], tuple[str, ...]] = {}
    form_of: Callable[[int], int] = _two_forms
    content = path.read_text("utf-8") if path.is_file() else ""
    for block in re.split(r"\n\s*\n", content):
        entry, fuzzy = _fields(block)
        english = entry.get("msgid")
        if english == "":
            if header := _PLURAL.search(entry.get("msgstr", "")):
                form_of = gettext.c2py(header[1])
        elif english is None or fuzzy:
            continue
        elif "msgid_plural" in entry:
            translated = tuple(text for name, text in sorted(entry.items()) if name.startswith("msgstr["))
            if translated and all(translated):
                forms[english, entry["msgid_plural"]] = translated
        elif entry.get("msgstr"):
            texts[english] = entry["msgstr"]
    return Catalog(texts, forms, form_of)


def _fields(block: str) -> tuple[dict[str, str], bool]:
    """The fields of one entry, such as "msgid" and "msgstr[0]", and whether the entry is marked fuzzy."""
    entry: dict[str, str] = {}
    name, fuzzy = "", False
    for line in block.splitlines():
        if line.startswith("#"):
            fuzzy |= line.startswith("#,") and "fuzzy" in line
        elif match := _LINE.fullmatch(line.strip()):
            if match[1]:
                name = match[1] if match[2] is None else f"{match[1]}[{match[2]}]"
                entry[name] = ""
            entry[name] = entry.get(name, "") + _unescaped(match[3])
    return entry, fuzzy


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text)
