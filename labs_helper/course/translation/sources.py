"""What is translated: labs, messages of the package, documents and the site, each with its units and its PO file."""

from __future__ import annotations

import ast
import csv
import io
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labs_helper.board import pages
from labs_helper.catalog import course_folder
from labs_helper.catalog.labs import SOURCES
from labs_helper.common import translate
from labs_helper.common.translate import _
from labs_helper.course import editions, home
from labs_helper.course.translation import blocks, code
from labs_helper.course.translation.blocks import Kind, Piece
from labs_helper.course.translation.offered import Language
from labs_helper.errors import LabError

MESSAGES = "messages"  # the name of the package's catalog
SITE = "site"  # that of the site's own sentences: templates, scripts and data
DOCUMENTS = (
    "README.md",
    "docs/glossary.md",
    "docs/troubleshooting.md",
    "docs/models.md",
    "docs/instructors.md",
    "docs/settings.md",
    "docs/hub.md",
    "docs/teaching/README.md",
    *(f"docs/teaching/{number:02}.md" for number in range(9)),
)
_KEYWORDS = {"_": None, "_n": (1, 2), "N_": None}  # N_ marks what is looked up later
_SITE_FILES = [("**.py", "python"), ("**.html", "jinja2"), ("**.js", "javascript")]
_CELL = re.compile(r"^# %%", re.M)
_CAPTION = re.compile(r"^:caption: (.+)$", re.M)


@dataclass(frozen=True)
class Unit:
    """A text to translate.

    Attributes:
        text: English.
        plural: its plural form, for a message that counts something; else empty.
        kind: what it is; None for a message of the package.
        note: what helps a translator: the heading above, or the file.
        line: its line in the source; 0 for a message, which may be in several places.
    """

    text: str
    plural: str = ""
    kind: Kind | None = None
    note: str = ""
    line: int = 0


@dataclass(frozen=True)
class Source:
    """A thing that is translated as a whole.

    Attributes:
        name: "00-start-here", "messages", "site" or "README.md".
        file: where its English is.
        folder: the course.
    """

    name: str
    file: Path
    folder: Path

    def po(self, language: str) -> Path:
        """The file with its translations."""
        if self.name == MESSAGES:
            return self.file / "locale" / language / "LC_MESSAGES" / f"{translate.DOMAIN}.po"
        room = "docs" if self.name.endswith(".md") or self.name == SITE else "notebooks"
        return self.folder / room / "locale" / language / f"{self.stem}.po"

    @property
    def stem(self) -> str:
        """The name of a file about it: "teaching-00" for "docs/teaching/00.md"."""
        return self.name.removesuffix(".md").removeprefix("docs/").replace("/", "-")

    def offered(self, language: Language) -> bool:
        """Whether a language must have all of it."""
        if self.name == MESSAGES:
            return language.messages
        if self.name == SITE:
            return language.site
        return self.name in language.documents or self.name[:2] in language.labs

    def units(self) -> list[Unit]:
        """Its units, each once, in order."""
        if self.name == MESSAGES:
            found: Iterator[Unit] = _messages(self.file)
        elif self.name == SITE:
            found = _of_site(self.file)
        elif self.file.suffix == ".md":
            found = _of_markdown(home.emptied(self.file.read_text("utf-8")))
        else:
            found = _of_lab(self.file)
        once: dict[tuple[str, str], Unit] = {}
        for unit in found:
            once.setdefault((unit.text, unit.plural), unit)
        return list(once.values())


def sources(folder: Path | None = None) -> list[Source]:
    """Everything that is translated.

    Example:
        [source.name for source in sources()][:2]      # ['messages', 'README.md']
    """
    folder = course_folder() if folder is None else Path(folder)
    found = [Source(MESSAGES, folder / "labs_helper", folder)]
    found += [Source(name, folder / name, folder) for name in DOCUMENTS]
    found.append(Source(SITE, folder / "docs" / "site", folder))
    found += [Source(file.stem, file, folder) for file in sorted((folder / "notebooks" / "src").glob(SOURCES))]
    return [source for source in found if source.file.exists()]


def _of_lab(file: Path) -> Iterator[Unit]:
    text = file.read_text("utf-8")
    starts = [text.count("\n", 0, match.start()) + 2 for match in _CELL.finditer(text)]
    heading = ""
    for start, cell in zip(starts, editions.read(file)):
        for piece in pieces(cell.cell_type, cell.source):
            yield Unit(piece.text, kind=piece.kind, note=heading, line=start + piece.line)
            heading = piece.text if piece.kind == "heading" else heading


def pieces(cell_type: str, text: str) -> Iterator[Piece]:
    """The units of a cell."""
    return code.units(text) if cell_type == "code" else blocks.units(text)


def _of_markdown(text: str) -> Iterator[Unit]:
    heading = ""
    for piece in blocks.units(text):
        yield Unit(piece.text, kind=piece.kind, note=heading, line=piece.line + 1)
        heading = piece.text if piece.kind == "heading" else heading


def _of_site(folder: Path) -> Iterator[Unit]:
    """What is marked in its files, and the page that lists all others with the captions of its lists."""
    yield from _marked(folder, _SITE_FILES)
    listing = folder / "index.md"
    text = listing.read_text("utf-8") if listing.is_file() else ""
    yield from _of_markdown(text)
    for caption in _CAPTION.findall(text):
        yield Unit(caption, note=listing.name)


def _marked(folder: Path, methods: list[tuple[str, str]]) -> Iterator[Unit]:
    """The sentences that are marked in the files of a folder. `methods`: how Babel reads each kind of file."""
    try:
        from babel.messages.extract import extract_from_dir
    except ImportError as error:
        raise missing(error) from error
    found = extract_from_dir(folder, methods, keywords=_KEYWORDS, directory_filter=lambda _path: True)
    for file, _line, message, _comments, _context in found:
        one, many = (message, "") if isinstance(message, str) else message[:2]
        if one:
            yield Unit(one, many, note=Path(file).as_posix())


def _messages(package: Path) -> Iterator[Unit]:
    yield from _marked(package, [("**.py", "python")])
    yield from _settings(package / "common" / "settings.py")
    yield from _addresses(package / "catalog" / "endpoints.toml")
    yield from _pictures(package.parent / "images" / "vision" / "pictures.csv")
    registry = package / "catalog" / "labs.toml"
    for lab in tomllib.loads(registry.read_text("utf-8"))["lab"] if registry.is_file() else ():
        yield Unit(lab["title"], note="catalog/labs.toml")
    plans = package / "course" / "plans.toml"
    for plan in tomllib.loads(plans.read_text("utf-8"))["plan"] if plans.is_file() else ():
        yield Unit(plan["title"], note="course/plans.toml")
    for page in sorted(package.rglob("*.html")):
        for match in pages.WORDS.finditer(page.read_text("utf-8")):
            yield Unit(match[1], note=page.relative_to(package).as_posix())


def _settings(file: Path) -> Iterator[Unit]:
    """What each setting may hold: the fourth argument of `Setting`, a text or the name of one."""
    tree = ast.parse(file.read_text("utf-8")) if file.is_file() else ast.Module([], [])
    named = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Setting":
            valid = node.args[3]
            words = named.get(valid.id) if isinstance(valid, ast.Name) else getattr(valid, "value", None)
            if isinstance(words, str):
                yield Unit(words, note="common/settings.py")


def _addresses(file: Path) -> Iterator[Unit]:
    """What was known about each address that LABS_ENDPOINT can name."""
    for preset in tomllib.loads(file.read_text("utf-8") if file.is_file() else "").values():
        for field in ("known", "ended"):
            if field in preset:
                yield Unit(preset[field], note="catalog/endpoints.toml")


def _pictures(file: Path) -> Iterator[Unit]:
    """What each picture of the vision lab shows."""
    with file.open(encoding="utf-8", newline="") if file.is_file() else io.StringIO() as rows:
        for row in csv.DictReader(rows):
            yield Unit(row["alt"], note="images/vision/pictures.csv")


def missing(error: ImportError) -> LabError:
    """The error where a package that authors need is not installed."""
    return LabError(
        _("The tools for translators are not all here ({reason}).").format(reason=error),
        _("Run `make setup`; it installs what is missing."),
    )
