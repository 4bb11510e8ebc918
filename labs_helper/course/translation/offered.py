"""Which languages the course has, and what each offers: the table `labs_helper/locale/languages.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labs_helper.common import translate
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

TABLE = "languages.toml"


@dataclass(frozen=True)
class Language:
    """A language of the course besides English.

    Attributes:
        code: such as "ko".
        name: what its speakers call it.
        labs: the numbers of the labs that have an edition in it.
        messages: whether every message of the package must be translated.
        documents: files of the repository that are translated whole, such as "README.md".
        site: whether the site has its own pages in it, the front page and the page Ask.
    """

    code: str
    name: str
    labs: tuple[str, ...] = ()
    messages: bool = False
    documents: tuple[str, ...] = ()
    site: bool = False


def languages(table: Path | None = None) -> tuple[Language, ...]:
    """The languages of the course besides English.

    Args:
        table: another table than the package's.

    Example:
        [language.code for language in languages()]      # ['ko']
    """
    file = translate.FOLDER / TABLE if table is None else table
    entries = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    return tuple(
        Language(
            code,
            entry.get("name", code),
            tuple(entry.get("labs", ())),
            bool(entry.get("messages")),
            tuple(entry.get("documents", ())),
            bool(entry.get("site")),
        )
        for code, entry in entries.items()
    )


def find(name: str, table: Path | None = None) -> Language:
    """A language by its code; ko-KR and ko_KR.UTF-8 are ko.

    Raises:
        BadRequest: the course does not have it; the message lists those that it has.

    Example:
        find("ko").name      # '한국어'
    """
    known = languages(table)
    for language in known:
        if language.code == translate.code(name):
            return language
    raise BadRequest(
        _("The course has no language {name!r}.").format(name=name[:40]),
        _("It has {languages}. CONTRIBUTING.md says how another one is started.").format(
            languages=", ".join([translate.ENGLISH, *(language.code for language in known)])
        ),
    )


def file_of(document: str, language: str) -> str:
    """Where a document is in another language.

    Example:
        file_of("README.md", "ko"), file_of("docs/glossary.md", "ko")      # ('README.ko.md', 'docs/ko/glossary.md')
    """
    path = PurePosixPath(document)
    if path.parts[0] == "docs":
        return PurePosixPath("docs", language, *path.parts[1:]).as_posix()
    return f"{path.stem}.{language}.md"
