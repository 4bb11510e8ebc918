"""The PO files that translators edit: bring them up to date, and say what is wrong with them.

An entry has no line numbers and no wrapped lines, so that a change in one sentence changes one entry. Three states:

- translated;
- *fuzzy*: its English changed since. Readers get the English until the translation is touched and the mark removed;
- empty; of the package's messages, a language that need not have all of them leaves these out.

A fuzzy or empty entry of a lab that is offered fails the check. A translator's comment `stale-ok until 2026-12-31`
lets it pass until that day. polib reads and writes the files.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.course.translation import gate
from labs_helper.course.translation.sources import Source, Unit, missing

if TYPE_CHECKING:
    import polib

_CLOSE = 0.6  # how alike two English texts are if one is a new wording of the other
_STALE_OK = re.compile(r"stale-ok until (\d{4}-\d\d-\d\d)")
_PLURALS = {"ko": "nplurals=1; plural=0;", "zh": "nplurals=1; plural=0;", "ja": "nplurals=1; plural=0;"}
_TWO_FORMS = "nplurals=2; plural=(n != 1);"


@dataclass(frozen=True)
class State:
    """How far one PO file is.

    Attributes:
        units: of its source.
        translated: of them.
        fuzzy: whose English changed.
        words: of English in all units, and in the translated ones.
    """

    units: int
    translated: int
    fuzzy: int
    words: tuple[int, int]

    @property
    def whole(self) -> bool:
        """Whether nothing is left to do."""
        return self.translated == self.units


def load(path: Path) -> polib.POFile:
    """A PO file; an empty one if it is not there.

    Raises:
        LabError: polib is missing, or the file is no PO file.
    """
    try:
        import polib
    except ImportError as error:
        raise missing(error) from error
    from labs_helper.errors import LabError

    if not path.is_file():
        return polib.POFile(wrapwidth=0)
    try:
        return polib.pofile(str(path), wrapwidth=0, check_for_duplicates=True)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise LabError(
            _("{path} cannot be read ({reason}).").format(path=path, reason=error),
            _("Correct that line, or take the file's last version from git."),
        ) from error


def update(source: Source, language: str, *, stale_ok: datetime.date | None = None, empty: bool = True) -> polib.POFile:
    """Bring a PO file up to date with its English source, and write it.

    A text that is there already keeps its translation. A new wording of a text that is gone takes its translation over,
    marked fuzzy. Everything else begins empty, and what has no English any more is dropped.

    Args:
        source: what is translated.
        language: its code.
        stale_ok: mark what is not translated now as good enough until that day.
        empty: also write what has no translation yet. A language that translates a hundred of the package's 3,000
            messages keeps those alone; the template of `labs translate extract` has the others.

    Example:
        update(sources()[1], "ko")
    """
    import polib

    path = source.po(language)
    old = {(entry.msgid, entry.msgid_plural): entry for entry in load(path) if not entry.obsolete}
    units = source.units()
    free = {key: entry for key, entry in old.items() if key not in {(unit.text, unit.plural) for unit in units}}
    fresh = polib.POFile(wrapwidth=0)
    plural = _PLURALS.get(language, _TWO_FORMS)
    fresh.metadata = {
        "Project-Id-Version": "Phi-3.5 Labs",
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": plural,
    }
    forms = range(int(plural[len("nplurals=")]))
    for unit in units:
        entry = old.get((unit.text, unit.plural)) or _reworded(unit, free, forms)
        if not empty and not _has_words(entry):
            continue
        entry.comment = "; ".join(part for part in (unit.kind, unit.note) if part)
        if not entry.fuzzy:
            entry.previous_msgid = entry.previous_msgid_plural = None
        if stale_ok is not None and not _done(entry) and not _STALE_OK.search(entry.tcomment):
            entry.tcomment = f"{entry.tcomment}\nstale-ok until {stale_ok}".strip()
        elif _done(entry) and _STALE_OK.search(entry.tcomment):
            entry.tcomment = _STALE_OK.sub("", entry.tcomment).strip()
        fresh.append(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh.save(str(path), newline="\n")
    return fresh


def state(source: Source, language: str) -> State:
    """How far a translation is."""
    entries = {(entry.msgid, entry.msgid_plural): entry for entry in load(source.po(language))}
    units = source.units()
    done = [unit for unit in units if (found := entries.get((unit.text, unit.plural))) and _done(found)]
    return State(
        len(units),
        len(done),
        sum(entry.fuzzy for entry in entries.values()),
        (_words(units), _words(done)),
    )


def problems(source: Source, language: str, *, whole: bool, today: datetime.date | None = None) -> list[str]:
    """What is wrong with a PO file, one text each, with its file and line.

    Args:
        source: what is translated.
        language: its code.
        whole: whether nothing may be missing.
        today: the day on which `stale-ok` is judged.

    Example:
        problems(sources()[1], "ko", whole=False)      # []
    """
    path = source.po(language)
    today = today or datetime.date.today()
    entries = {(entry.msgid, entry.msgid_plural): entry for entry in load(path) if not entry.obsolete}
    found = []
    for unit in source.units():
        entry = entries.get((unit.text, unit.plural))
        place = f"{path.relative_to(source.folder)}:{entry.linenum if entry else 0}"
        english = f"{source.file.relative_to(source.folder)}{f':{unit.line}' if unit.line else ''}"
        if entry is None:
            if whole:
                found.append(
                    _("{english}: {text!r} is not in {path}. Run `labs translate update {language}`.").format(
                        english=english, text=unit.text, path=path.name, language=language
                    )
                )
            continue
        if not _done(entry):
            if whole and not _may_wait(entry, today):
                state_now = _("its English changed") if entry.fuzzy else _("it has no translation")
                found.append(f"{place}: {state_now} ({english}): {unit.text!r}")
            continue
        for original, translation in _pairs(entry):
            found += [
                f"{place}: {problem}\n    {original!r}\n    {translation!r}"
                for problem in gate.problems(original, translation, unit.kind, language)
            ]
    return found


def _pairs(entry: polib.POEntry) -> list[tuple[str, str]]:
    if not entry.msgid_plural:
        return [(entry.msgid, entry.msgstr)]
    return [(entry.msgid_plural, text) for text in entry.msgstr_plural.values()]


def _has_words(entry: polib.POEntry) -> bool:
    return bool(entry.msgstr or any(entry.msgstr_plural.values()))


def _done(entry: polib.POEntry) -> bool:
    translated = all(entry.msgstr_plural.values()) if entry.msgid_plural else bool(entry.msgstr)
    return bool(translated and not entry.fuzzy)


def _may_wait(entry: polib.POEntry, today: datetime.date) -> bool:
    match = _STALE_OK.search(entry.tcomment)
    try:
        return match is not None and today <= datetime.date.fromisoformat(match[1])
    except ValueError:
        return False


def _reworded(unit: Unit, free: dict[tuple[str, str], polib.POEntry], forms: Iterable[int]) -> polib.POEntry:
    """A new entry for a unit. If it is a new wording of an entry in `free`, it takes that translation, marked fuzzy."""
    import polib

    entry = polib.POEntry(msgid=unit.text, msgid_plural=unit.plural)
    if unit.plural:
        entry.msgstr_plural = dict.fromkeys(forms, "")
    best, likeness = None, _CLOSE
    for key, old in free.items():
        if bool(key[1]) != bool(unit.plural) or not _has_words(old):
            continue
        matcher = difflib.SequenceMatcher(None, key[0], unit.text, autojunk=False)
        if matcher.real_quick_ratio() > likeness and matcher.quick_ratio() > likeness and matcher.ratio() > likeness:
            best, likeness = key, matcher.ratio()
    if best is not None:
        old = free.pop(best)
        entry.msgstr, entry.flags, entry.previous_msgid = old.msgstr, ["fuzzy"], old.msgid
        if unit.plural:
            entry.msgstr_plural = dict(old.msgstr_plural)
    return entry


def _words(units: list[Unit]) -> int:
    return sum(len(unit.text.split()) for unit in units)
