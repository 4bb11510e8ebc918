"""Documents of the repository in another language, from the same source: README.ko.md, docs/ko/glossary.md."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from labs_helper.catalog import course_folder
from labs_helper.common import po
from labs_helper.common.files import write_whole
from labs_helper.common.markup import anchor
from labs_helper.common.translate import speaking
from labs_helper.course import home
from labs_helper.course.translation import blocks, offered
from labs_helper.course.translation.sources import Source, sources

_LAB = re.compile(r"notebooks/((?:solutions/)?(\d\d)-[a-z0-9-]+\.ipynb)")
_TABLE = re.compile(r"(<!-- languages: begin -->\n\n).*?(<!-- languages: end -->)", re.S)
_WITH_TABLE = "CONTRIBUTING.md"
_RELATIVE = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")


def translated(source: Source, language: offered.Language) -> str:
    """A document in another language. What has no translation stays English; the check names it.

    Args:
        source: one of `sources()` that is a document.
        language: what it is.
    """
    catalog = po.read(source.po(language.code))
    pieces = blocks.cut(home.emptied(source.file.read_text("utf-8")))
    here = source.file.relative_to(source.folder).as_posix()
    in_docs = here.startswith("docs/")
    text = _with_places(pieces, catalog) if in_docs else blocks.join(pieces, catalog.texts.get)
    text = _RELATIVE.sub(lambda link: link[1] + _leads(here, link[2], language, source.folder), text)
    with speaking(language.code):
        return home.filled(text, home.home(source.folder), root=source.folder)


def _with_places(pieces: list[blocks.Piece], catalog: po.Catalog) -> str:
    """The translated text, with the English address of each heading above it: links lead there in every language."""
    parts: list[str] = []
    for before, piece in zip([None, *pieces], pieces, strict=False):
        if piece.kind == "heading" and piece.text and before is not None and before.source != "# ":
            place = f'<a id="{anchor(piece.text)}"></a>\n\n'
            if not "".join(parts[:-1]).endswith(place):
                parts.insert(-1, place)
        parts.append(blocks.join([piece], catalog.texts.get))
    return "".join(parts)


def _leads(document: str, link: str, language: offered.Language, folder: Path) -> str:
    """Where a link of a document leads from its translation: to the same language, if that has what it leads to."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(document), link))
    lab = _LAB.fullmatch(target)
    if lab and lab[2] in language.labs:
        target = f"notebooks/{language.code}/{lab[1]}"
    elif target.endswith(".md"):
        translation = offered.file_of(target, language.code)
        if target in language.documents or (folder / translation).is_file():
            target = translation
    from_here = posixpath.relpath(target, posixpath.dirname(offered.file_of(document, language.code)) or ".")
    return from_here + "/" * link.endswith("/")


def table(folder: Path) -> str:
    """What each language offers, as a table in Markdown. How far the rest is changes daily: `labs translate status`.

    Args:
        folder: the course.
    """
    rows = ["| language | labs | documents | messages of the package |", "| --- | --- | --- | --- |"]
    for language in offered.languages(folder / "labs_helper" / "locale" / offered.TABLE):
        files = [offered.file_of(each, language.code) for each in language.documents]
        documents = ", ".join(f"[{file}]({file})" for file in files) or "none"
        messages = "all" if language.messages else "those that its labs show"
        labs = ", ".join(language.labs) or "none"
        rows.append(f"| {language.name} (`{language.code}`) | {labs} | {documents} | {messages} |")
    return "\n".join(rows)


def with_table(text: str, folder: Path) -> str:
    """A text with the table at its mark.

    Example:
        with_table(Path("CONTRIBUTING.md").read_text("utf-8"), Path("."))
    """
    return _TABLE.sub(lambda place: f"{place[1]}{table(folder)}\n\n{place[2]}", text)


def build(code: str | None = None, *, folder: Path | None = None) -> list[Path]:
    """Write the documents that languages offer, and the table of what they offer.

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
                path = folder / offered.file_of(source.name, language.code)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, translated(source, language).encode())
                written.append(path)
    page = folder / _WITH_TABLE
    if page.is_file():
        write_whole(page, with_table(page.read_text("utf-8"), folder).encode())
        written.append(page)
    return written
