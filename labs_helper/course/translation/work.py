"""What `labs translate` does: extract, update, status, check and init."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from labs_helper.catalog import course_folder
from labs_helper.common import translate
from labs_helper.common.files import write_whole
from labs_helper.common.translate import _
from labs_helper.course.translation import catalogs, offered
from labs_helper.course.translation.offered import Language
from labs_helper.course.translation.sources import MESSAGES, Source, sources
from labs_helper.errors import BadRequest

_STYLE = """# Style

What docs/style.md says of English, and what this language adds: how learners are addressed, how numbers are written.

## Terms

Where the English on the left occurs, a translation has the word in the middle and none of those on the right. `*`
stands for an ending. `labs translate check` compares every translation with this table.

<!-- terms: begin -->

| English | here | never |
| --- | --- | --- |

<!-- terms: end -->
"""
GRACE = 30  # days that `--stale-ok` gives a translator


def extract(destination: Path | None = None, *, folder: Path | None = None) -> list[Path]:
    """Write templates (.pot) for translators who use other tools; nothing in the course reads them.

    Args:
        destination: a folder; build/pot in the course by default.
        folder: the course.

    Returns:
        The files that were written.

    Example:
        extract()
    """
    import polib

    target = course_folder() / "build" / "pot" if destination is None else destination
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for source in sources(folder):
        template = polib.POFile(wrapwidth=0)
        template.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
        for unit in source.units():
            entry = polib.POEntry(msgid=unit.text, msgid_plural=unit.plural, comment=unit.kind or unit.note)
            if unit.plural:
                entry.msgstr_plural = {0: "", 1: ""}
            template.append(entry)
        path = target / f"{source.stem}.pot"
        template.save(str(path), newline="\n")
        written.append(path)
    return written


def update(
    language: str | None = None, *, start: str | None = None, stale_ok: bool = False, folder: Path | None = None
) -> list[str]:
    """Bring the PO files of a language up to date with the English; of all languages by default.

    Args:
        language: its code.
        start: the name of a source ("04-quantize", "docs/models.md") that gets its first PO file.
        stale_ok: give translators 30 days for what is not translated now.
        folder: the course.

    Returns:
        One line for each file in which something is left to do.

    Raises:
        BadRequest: there is no such source.

    Example:
        update("ko")
    """
    until = datetime.date.today() + datetime.timedelta(days=GRACE) if stale_ok else None
    lines = []
    found = sources(folder)
    if start is not None and start not in {source.name for source in found}:
        raise BadRequest(
            _("There is no source {name}.").format(name=start),
            _("There are: {names}.").format(names=", ".join(source.name for source in found)),
        )
    for spoken in _chosen(language, folder):
        for source in found:
            if source.po(spoken.code).is_file() or source.offered(spoken) or source.name == start:
                catalogs.update(source, spoken.code, stale_ok=until, empty=_all_units(source, spoken))
                now = catalogs.state(source, spoken.code)
                if not now.whole:
                    lines.append(
                        _("{path}: {open} of {units} to translate, {fuzzy} of them fuzzy").format(
                            path=source.po(spoken.code).relative_to(source.folder),
                            open=now.units - now.translated,
                            units=now.units,
                            fuzzy=now.fuzzy,
                        )
                    )
    return lines


def status(language: str | None = None, *, folder: Path | None = None) -> list[tuple[str, ...]]:
    """How far each translation is: a table with its head.

    Example:
        status("ko")[0]      # ('language', 'source', 'units', 'translated', 'fuzzy', 'offered')
    """
    rows: list[tuple[str, ...]] = [(_("language"), _("source"), _("units"), _("translated"), _("fuzzy"), _("offered"))]
    found = sources(folder)
    for spoken in _chosen(language, folder):
        for source in found:
            now = catalogs.state(source, spoken.code)
            share = now.words[1] / now.words[0] if now.words[0] else 1.0
            rows.append(
                (
                    spoken.code,
                    source.name,
                    str(now.units),
                    f"{_floor(share):.0%}",
                    str(now.fuzzy),
                    _("yes") if source.offered(spoken) else _("no"),
                )
            )
    return rows


def check(language: str | None = None, *, folder: Path | None = None) -> list[str]:
    """What is wrong with the translations of a language, one text each with file and line; of all by default.

    Example:
        check("ko")      # []
    """
    found = sources(folder)
    return [
        problem
        for spoken in _chosen(language, folder)
        for source in found
        for problem in catalogs.problems(source, spoken.code, whole=source.offered(spoken))
    ]


def init(language: str, name: str = "", *, folder: Path | None = None) -> list[Path]:
    """Start a language: its entry in languages.toml, a style guide, and PO files: lab 00, and no message yet.

    Args:
        language: two or three small letters, such as "es".
        name: what its speakers call it, such as "español".
        folder: the course.

    Raises:
        BadRequest: that is no code of a language, or it is there already.

    Example:
        init("es", "español")
    """
    folder = course_folder() if folder is None else folder
    table = folder / "labs_helper" / "locale" / offered.TABLE
    code = translate.code(language)
    if code != language or not code.isascii() or not code.isalpha() or len(code) not in (2, 3):
        raise BadRequest(
            _("{language!r} is not the code of a language.").format(language=language[:40]),
            _("Use the two or three small letters of ISO 639, such as es."),
        )
    if code == translate.ENGLISH or code in {known.code for known in offered.languages(table)}:
        raise BadRequest(
            _("The course has {language} already.").format(language=code),
            _("Run `labs translate status {language}`.").format(language=code),
        )
    called = json.dumps(name or code, ensure_ascii=False)
    entry = f"\n[{code}]\nname = {called}\nlabs = []\nmessages = false\ndocuments = []\n"
    write_whole(table, (table.read_text("utf-8") + entry).encode())
    written = [table]
    style = folder / "docs" / code / "style.md"
    if not style.exists():
        style.parent.mkdir(parents=True, exist_ok=True)
        write_whole(style, _STYLE.encode())
        written.append(style)
    for source in sources(folder):
        if source.name == MESSAGES or source.name.startswith("00"):
            catalogs.update(source, code, empty=source.name != MESSAGES)
            written.append(source.po(code))
    return written


def _chosen(language: str | None, folder: Path | None) -> tuple[Language, ...]:
    table = None if folder is None else folder / "labs_helper" / "locale" / offered.TABLE
    return offered.languages(table) if language is None else (offered.find(language, table),)


def _all_units(source: Source, language: Language) -> bool:
    """Whether a PO file has every unit of its source, those without a translation too."""
    return source.name != MESSAGES or language.messages


def _floor(share: float) -> float:
    """Rounded down to a per cent: 100% means everything."""
    return int(share * 100) / 100


def whole(source: Source, language: str) -> bool:
    """Whether every unit of a source has a translation."""
    return catalogs.state(source, language).whole
