"""Notebook sources in, both editions out.

A lab is written once, as `notebooks/src/NN-slug.py` in the percent format (jupytext). From it come

- `notebooks/NN-slug.ipynb`: the learner edition, without solutions, outputs and execution counts;
- `notebooks/solutions/NN-slug.ipynb`: the solution edition, executed on the bundled checkpoints, offline.

Nobody edits the two editions by hand: `labs notebooks build` writes them, `labs notebooks check` compares them
with their source.

Three tags make the difference between the editions:

| tag | on | learner edition | solution edition |
| --- | --- | --- | --- |
| `exercise` | the code cell with the stub | kept | left out |
| `solution` | the cells that answer it, code or prose | left out | kept |
| `learner` | prose for learners only: which edition this is | kept | left out |

Every other cell is in both editions, also the cell that calls `check`:

    # %% [markdown] minutes=5
    # ### Exercise 1.1 (easy, 5 minutes): count the tokens

    # %% tags=["exercise"]
    sentence = "Where is Nairobi?"
    tokens = ...  # your turn: how many tokens is this sentence?

    # %% tags=["solution"]
    sentence = "Where is Nairobi?"
    tokens = model.count_tokens(sentence)

    # %%
    check("1.1", tokens)

The rules, which `check` enforces: the next code cell after a stub is its solution; a stub line is either repeated in
the solution, or has `...` in it, or is only a comment. A stub runs as it stands ("Run all" reaches the end in either
edition), so fill its gaps with `...`, which `check("1.1", ...)` answers with "not yet".

Other tags (`nbval-check-output`, `nbval-skip`, `raises-exception`) and other cell metadata (`minutes=5`) pass through.
Links are written as seen from `notebooks/`: `../images/map.png`, `02-vision.ipynb`, `solutions/01-instruct.ipynb`.
The solution edition is one folder deeper, and its links are changed to match.

Other languages: `notebooks/ko/NN-slug.ipynb` and `notebooks/ko/solutions/` come from the same source and the
translations in `notebooks/locale/ko/NN-slug.po`, executed with the package speaking that language.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labs_helper.catalog import course_folder
from labs_helper.catalog.labs import COPIES, SOURCES, pick
from labs_helper.common import translate
from labs_helper.common.files import write_whole
from labs_helper.common.translate import _
from labs_helper.course import editions
from labs_helper.course.translation import cells as translated_cells
from labs_helper.course.translation import offered
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    from nbformat import NotebookNode

LARGEST_NOTEBOOK = 2_000_000  # bytes; above this GitHub stops rendering, and a diff becomes useless much earlier


def build(
    names: list[str] | None = None, execute: bool = True, *, folder: Path | None = None, language: str | None = None
) -> None:
    """Write both editions of the named labs, in English and in every language that offers them.

    Args:
        names: labs by number ("01") or file name ("01-instruct"); None means all of them.
        execute: run the solution edition. Without it, stored outputs stay where no code changed; where code did
            change the solution edition is written without outputs, and `check` says so.
        folder: the notebooks folder; the course's own by default.
        language: one language only, such as "ko", whether or not it offers the lab yet; "en" is English.

    Raises:
        BadRequest: no such lab or language, or a source breaks one of the rules in this module's description.
        LabError: a cell of the solution edition failed; nothing is written for that lab.

    Example:
        build(["01"])
    """
    folder = _folder(folder)
    for source in _sources(names, folder):
        cells = editions.read(source)
        if problems := editions.broken_rules(source.name, cells):
            raise BadRequest(
                "\n".join(problems), _("The rules are in the description of labs_helper.course.authoring.")
            )
        for pair in _pairs(source, cells, folder, language):
            _write(pair, execute)


@dataclass(frozen=True)
class _Pair:
    """Both editions of a lab in one language, and where they belong."""

    language: str
    folder: Path
    name: str
    learner: NotebookNode
    solution: NotebookNode

    @property
    def paths(self) -> tuple[Path, Path]:
        return self.folder / f"{self.name}.ipynb", self.folder / "solutions" / f"{self.name}.ipynb"


def _pairs(source: Path, cells: list[NotebookNode], folder: Path, language: str | None) -> Iterator[_Pair]:
    """The editions of a lab in every language, or in one."""
    if language is None or translate.code(language) == translate.ENGLISH:
        yield _Pair(
            translate.ENGLISH,
            folder,
            source.stem,
            editions.edition(cells, "learner"),
            editions.edition(cells, "solution"),
        )
    table = folder.parent / "labs_helper" / "locale" / offered.TABLE
    if language is None:
        spoken = [each for each in offered.languages(table) if source.name[:2] in each.labs]
    elif translate.code(language) != translate.ENGLISH:
        spoken = [offered.find(language, table)]
    else:
        spoken = []
    for each in spoken:
        learner, solution = translated_cells.pair(source, each)
        yield _Pair(each.code, folder / each.code, source.stem, learner, solution)


def _write(pair: _Pair, execute: bool) -> None:
    from labs_helper.course import execution

    path, target = pair.paths
    target.parent.mkdir(parents=True, exist_ok=True)
    stored = editions.load(target) if target.exists() else None
    if execute:
        execution.run(pair.solution, target, pair.language)
    if stored is not None:
        (execution.keep_outputs if execute else execution.copy_outputs)(pair.solution, stored)
    editions.write(path, pair.learner)
    editions.write(target, pair.solution)
    print(
        _("{name}: {learner} learner cells, {solution} solution cells").format(
            name=pair.name if pair.language == translate.ENGLISH else f"{pair.language}/{pair.name}",
            learner=len(pair.learner.cells),
            solution=len(pair.solution.cells),
        ),
        flush=True,
    )


def check(names: list[str] | None = None, *, folder: Path | None = None) -> list[str]:
    """Compare both editions with their sources, in every language that offers them, without running anything.

    Args:
        names: labs by number or file name; None means all of them, and then editions without a source are named too.
        folder: the notebooks folder; the course's own by default.

    Returns:
        One sentence for each problem; an empty list when all is well.

    Raises:
        BadRequest: no such lab.

    Example:
        check(["01"])      # []
    """
    folder = _folder(folder)
    sources = _sources(names, folder)
    problems = [problem for source in sources for problem in _problems(source, folder)]
    if names is None:
        known = {source.stem for source in sources}
        problems += [
            _("{path} has no source. Write src/{name}.py or remove it.").format(
                path=path.relative_to(folder), name=path.stem
            )
            for place in ("*.ipynb", "[!.]*/*.ipynb", "[!.]*/solutions/*.ipynb")
            for path in sorted(folder.glob(place))
            if path.stem not in known and not path.match(COPIES)
        ]
    return problems


def new(number: str, slug: str, *, folder: Path | None = None) -> list[Path]:
    """Start a lab: a source with all its parts and one exercise, the module of its checks, and its entry in labs.toml.

    Args:
        number: two digits that no lab has, such as "08".
        slug: the rest of the file name: small letters, digits and hyphens.
        folder: the notebooks folder; the course's own by default. The checks and labs.toml are in `labs_helper`
            beside it.

    Returns:
        The files that were written.

    Raises:
        BadRequest: a number that is taken, or a name that cannot be used. Nothing is written then.

    Example:
        new("08", "my-lab")
    """
    from labs_helper.course import template

    folder = _folder(folder)
    if not re.fullmatch(r"\d\d", number) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug):
        raise BadRequest(
            _("{number!r} and {slug!r} do not make the name of a lab.").format(number=number, slug=slug),
            _("Use two digits, then small letters, digits and hyphens, such as 08 my-lab."),
        )
    package = folder.parent / "labs_helper"
    checks, registry = package / "exercises" / f"lab{number}.py", package / "catalog" / "labs.toml"
    entries = registry.read_text("utf-8") if registry.exists() else ""
    taken = [path.name for path in [*(folder / "src").glob(f"{number}-*.py"), checks] if path.exists()]
    if number in {lab["number"] for lab in tomllib.loads(entries).get("lab", [])}:
        taken.append(registry.name)
    if taken:
        raise BadRequest(
            _("Lab {number} is there already: {files}.").format(number=number, files=", ".join(taken)),
            _("Take another number."),
        )
    lab = template.lab(number, slug)
    source = folder / "src" / f"{number}-{slug}.py"
    for path, text in ((source, lab.source), (checks, lab.checks), (registry, f"{entries}{lab.entry}")):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    return [source, checks, registry]


def _folder(folder: Path | None) -> Path:
    return course_folder() / "notebooks" if folder is None else Path(folder)


def _sources(names: Iterable[str] | None, folder: Path) -> list[Path]:
    """The source files of the named labs, in order."""
    known = sorted((folder / "src").glob(SOURCES))
    return known if names is None else [path for name in names for path in pick(known, name)]


def _problems(source: Path, folder: Path) -> list[str]:
    """What is wrong with a source and its editions, one sentence each."""
    cells = editions.read(source)
    problems = editions.broken_rules(source.name, cells)
    for pair in _pairs(source, cells, folder, None):
        problems += _pair_problems(pair, source, folder)
    return problems


def _pair_problems(pair: _Pair, source: Path, folder: Path) -> list[str]:
    learner, solution = pair.paths
    stale = [
        _("{path} is missing.").format(path=path.relative_to(folder))
        for path in (learner, solution)
        if not path.exists()
    ]
    if learner.exists() and learner.read_text("utf-8") != editions.text(pair.learner):
        stale.append(
            _("{path} differs from src/{source}.").format(path=learner.relative_to(folder), source=source.name)
        )
    too_large = []
    if solution.exists():
        path = solution.relative_to(folder)
        stored, expected = editions.load(solution), pair.solution
        if _face(stored) != _face(expected) or stored.metadata != expected.metadata:
            stale.append(_("{path} differs from its source.").format(path=path))
        if not _was_run_in_order(stored):
            stale.append(_("{path} was not executed from top to bottom.").format(path=path))
        if solution.stat().st_size > LARGEST_NOTEBOOK:
            too_large.append(
                _("{path} is larger than {limit:,} bytes. Show less.").format(path=path, limit=LARGEST_NOTEBOOK)
            )
    rebuild = _("Run `labs notebooks build {name}`.").format(name=source.stem)
    return [*(f"{problem} {rebuild}" for problem in stale), *too_large]


def _face(notebook: NotebookNode) -> list[tuple[str, str, str, NotebookNode]]:
    """What a notebook is, outputs aside."""
    return [(cell.cell_type, cell.id, cell.source, cell.metadata) for cell in notebook.cells]


def _was_run_in_order(notebook: NotebookNode) -> bool:
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    return counts == list(range(1, len(counts) + 1))
