"""Documents of the repository in another language: README.md becomes README.ko.md, from the same source."""

from __future__ import annotations

import re
from pathlib import Path

from labs_helper.catalog import course_folder
from labs_helper.common import po
from labs_helper.common.files import write_whole
from labs_helper.common.translate import speaking
from labs_helper.course import home
from labs_helper.course.translation import blocks, offered
from labs_helper.course.translation.sources import Source, sources

_LAB = re.compile(r"(\]\(notebooks/)((\d\d)-[a-z0-9-]+\.ipynb\))")
_DOCUMENT = re.compile(r"(\]\(docs/)([\w-]+\.md)")


def name(document: str, language: str) -> str:
    """What a document is called in another language.

    Example:
        name("README.md", "ko")      # 'README.ko.md'
    """
    return f"{Path(document).stem}.{language}.md"


def translated(source: Source, language: offered.Language) -> str:
    """A document in another language. What has no translation stays English; the check names it.

    Args:
        source: one of `sources()` that is a document.
        language: what it is.
    """
    catalog = po.read(source.po(language.code))
    text = blocks.join(blocks.cut(home.emptied(source.file.read_text("utf-8"))), catalog.texts.get)
    text = _LAB.sub(lambda link: f"{link[1]}{language.code}/{link[2]}" if link[3] in language.labs else link[0], text)
    there = source.folder / "docs" / language.code
    text = _DOCUMENT.sub(
        lambda link: f"{link[1]}{language.code}/{link[2]}" if (there / link[2]).is_file() else link[0], text
    )
    with speaking(language.code):
        return home.filled(text, home.home(source.folder), root=source.folder)


def build(code: str | None = None, *, folder: Path | None = None) -> list[Path]:
    """Write the documents that languages offer.

    Args:
        code: of one language; all by default.
        folder: the course.

    Returns:
        The files that were written.

    Example:
        build("ko")
    """
    folder = course_folder() if folder is None else folder
    table = folder / "labs_helper" / "locale" / offered.TABLE
    written = []
    for language in offered.languages(table) if code is None else (offered.find(code, table),):
        for source in sources(folder):
            if source.name in language.documents:
                path = folder / name(source.name, language.code)
                write_whole(path, translated(source, language).encode())
                written.append(path)
    return written
