"""Notebook sources in, both editions out.

A lab is written once, as `notebooks/src/NN-slug.py` in the percent format (jupytext). From it come

- `notebooks/NN-slug.ipynb`: the learner edition, without solutions, outputs and execution counts;
- `notebooks/solutions/NN-slug.ipynb`: the solution edition, executed on the bundled checkpoints, offline.

Nobody edits the two editions by hand: `labs notebooks build` writes them, `labs notebooks check` compares them
with their source.

Two tags make the difference between the editions:

| tag | on | learner edition | solution edition |
| --- | --- | --- | --- |
| `exercise` | the code cell with the stub | kept | left out |
| `solution` | the cells that answer it, code or prose | left out | kept |

Every other cell is in both editions, the cell that calls `check` too, so that it stands once:

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

Rules that `check` holds you to: the next code cell after a stub is its solution; a stub line is either repeated in
the solution, or has `...` in it, or is only a comment. A stub runs as it stands ("Run all" reaches the end in either
edition), so fill its gaps with `...`, which `check("1.1", ...)` answers with "not yet".

Other tags (`nbval-check-output`, `nbval-skip`, `raises-exception`) and other cell metadata (`minutes=5`) pass through.
Links are written as seen from `notebooks/`: `../images/map.png`, `02-vision.ipynb`, `solutions/01-instruct.ipynb`.
The solution edition lies one folder deeper; its links are moved along.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from labs_helper.course.reset import COPIES, put
from labs_helper.errors import BadRequest, LabError

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"

# What a notebook's kernel gets while its solution edition is executed: bundled models only, no network,
# no compiler runs, and no difference between two runs from the order of sets.
EXECUTION_ENVIRONMENT = {
    "LABS_MODELS": "tiny",
    "HF_HUB_OFFLINE": "1",
    "MLX_DISABLE_COMPILE": "1",
    "PYTHONHASHSEED": "0",
    "LABS_PROGRESS": "off",
}
CELL_TIMEOUT = 120  # seconds
LARGEST_NOTEBOOK = 2_000_000  # bytes: GitHub stops rendering somewhere above, and a diff becomes useless long before

_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# Numbers with a unit of time, speed or memory, and addresses of objects: they differ from run to run.
_CHANGES_EVERY_RUN = re.compile(
    r"\d[\d.,]*\s*(?:ms|seconds?|s|minutes?|(?:tokens?|tok)(?:/s| per second)|[kKMG]i?B)\b|\b0x[0-9a-f]+\b"
    r"|\bseconds?\b[^:\n]{0,30}: '?\d[\d.,]*"
)
_LINK = re.compile(r"""(\]\(|\b(?:src|href)=["'])(\.\./|solutions/)""")


def build(names: list[str] | None = None, execute: bool = True, *, folder: Path | None = None) -> None:
    """Write both editions of the named labs.

    Args:
        names: labs by file name ("01-instruct") or number ("01"); None means all of them.
        execute: run the solution edition. Without it, stored outputs stay where no code changed; where code did
            change the solution edition is written without outputs, and `check` says so.
        folder: the notebooks folder; the course's own by default.

    Raises:
        BadRequest: no such lab, or a source breaks one of the rules in this module's description.
        LabError: a cell of the solution edition failed; nothing is written for that lab.

    Example:
        >>> build(["01"])  # doctest: +SKIP
    """
    folder = _folder(folder)
    for source in _sources(names, folder):
        cells = _read(source)
        if problems := _structure(source.name, cells):
            raise BadRequest("\n".join(problems), "The rules are in the description of labs_helper.course.authoring.")
        learner, solution = _edition(cells, "learner"), _edition(cells, "solution")
        target = folder / "solutions" / f"{source.stem}.ipynb"
        target.parent.mkdir(exist_ok=True)
        before = _load(target) if target.exists() else None
        if execute:
            _execute(solution, target)
            _keep_outputs_that_only_differ_in_timing(solution, before)
        elif before is not None:
            _copy_outputs_if_code_is_the_same(solution, before)
        _write(folder / f"{source.stem}.ipynb", learner)
        _write(target, solution)
        print(f"{source.stem}: {len(learner.cells)} learner cells, {len(solution.cells)} solution cells", flush=True)


def check(names: list[str] | None = None, *, folder: Path | None = None) -> list[str]:
    """Compare both editions with their sources, without running anything.

    Args:
        names: labs by file name or number; None means all of them, and then editions without a source are named too.
        folder: the notebooks folder; the course's own by default.

    Returns:
        One sentence per problem; an empty list when all is well.

    Raises:
        BadRequest: no such lab.

    Example:
        >>> check(["01"])  # doctest: +SKIP
        []
    """
    folder = _folder(folder)
    problems = []
    sources = _sources(names, folder)
    for source in sources:
        cells = _read(source)
        problems += _structure(source.name, cells)
        learner, solution = folder / f"{source.stem}.ipynb", folder / "solutions" / f"{source.stem}.ipynb"
        rebuild = f"Run `labs notebooks build {source.stem}`."
        for path in (learner, solution):
            if not path.exists():
                problems.append(f"{path.relative_to(folder)} is missing. {rebuild}")
        if learner.exists() and learner.read_text("utf-8") != _text(_edition(cells, "learner")):
            problems.append(f"{learner.name} differs from src/{source.name}. {rebuild}")
        if solution.exists():
            problems += [
                f"solutions/{solution.name} {problem} {rebuild}"
                for problem in _compare_solution(_load(solution), _edition(cells, "solution"))
            ]
            if solution.stat().st_size > LARGEST_NOTEBOOK:
                problems.append(f"solutions/{solution.name} is larger than {LARGEST_NOTEBOOK:,} bytes. Show less.")
    if names is None:
        known = {source.stem for source in sources}
        for path in [*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb")]:
            if path.stem not in known and not path.match(COPIES):
                problems.append(f"{path.relative_to(folder)} has no source. Write src/{path.stem}.py or remove it.")
    return problems


def learner_text(source: Path) -> str:
    """The learner edition that a source makes, as the text of its file. Runs nothing and writes nothing.

    Example:
        >>> learner_text(NOTEBOOKS / "src" / "00-start-here.py")  # doctest: +SKIP
    """
    return _text(_edition(_read(source), "learner"))


def new(number: str, slug: str, *, folder: Path | None = None) -> list[Path]:
    """Start a lab: a source with all its parts and one exercise, and the module of its checks.

    Args:
        number: two digits that no lab has, such as "08".
        slug: the rest of the file name: small letters, digits and hyphens.
        folder: the notebooks folder; the course's own by default. The checks go into `labs_helper/exercises` beside.

    Returns:
        The files that were written.

    Raises:
        BadRequest: a number that is taken, or a name that cannot be used. Nothing is written then.

    Example:
        >>> new("08", "my-lab")  # doctest: +SKIP
    """
    folder = _folder(folder)
    if not re.fullmatch(r"\d\d", number) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug):
        raise BadRequest(
            f"{number!r} and {slug!r} do not make the name of a lab.",
            "Use two digits, then small letters, digits and hyphens, such as 08 my-lab.",
        )
    taken = [path.name for path in (folder / "src").glob(f"{number}-*.py")]
    checks = folder.parent / "labs_helper" / "exercises" / f"lab{number}.py"
    if taken or checks.exists():
        raise BadRequest(f"Lab {number} is there already: {(taken or [checks.name])[0]}.", "Take another number.")
    from labs_helper.course import template

    written = [folder / "src" / f"{number}-{slug}.py", checks]
    for path, text in zip(written, template.lab(number, slug), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return written


def _folder(folder: Path | None) -> Path:
    return NOTEBOOKS if folder is None else Path(folder)


def _sources(names: list[str] | None, folder: Path) -> list[Path]:
    """The source files of the named labs, in order."""
    known = sorted((folder / "src").glob("[0-9][0-9]-*.py"))
    if names is None:
        return known
    found = []
    for name in names:
        matches = [path for path in known if name in (path.stem, path.stem[:2])]
        if not matches:
            labs = ", ".join(path.stem for path in known) or "none yet"
            raise BadRequest(f"There is no lab called {name!r} in {folder / 'src'}.", f"Known labs: {labs}.")
        found += matches
    return found


def _read(source: Path) -> list:
    """The cells of a source, with their metadata and a stable id."""
    import jupytext

    cells = jupytext.reads(source.read_text("utf-8"), fmt="py:percent").cells
    seen: dict[str, int] = {}
    for cell in cells:
        # jupytext notes blank lines for its way back to text; there is no way back here.
        for key in ("lines_to_next_cell", "lines_to_end_of_cell_marker"):
            cell.metadata.pop(key, None)
        # The id follows the text: a cell keeps it when others come and go around it.
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return cells


def _tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def _edition(cells: list, edition: str):
    """A notebook without outputs: the cells of one edition ("learner" or "solution")."""
    import nbformat

    left_out = {"learner": "solution", "solution": "exercise"}[edition]
    notebook = nbformat.v4.new_notebook(metadata=json.loads(json.dumps(_METADATA)))
    notebook.nbformat_minor = 5
    for cell in cells:
        if left_out in _tags(cell):
            continue
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        text = cell.source
        if edition == "solution" and cell.cell_type == "markdown":
            text = _LINK.sub(lambda m: m[1] + ("../../" if m[2] == "../" else ""), text)
        notebook.cells.append(new(text, id=cell.id, metadata=dict(cell.metadata)))
    return notebook


def _structure(name: str, cells: list) -> list[str]:
    """Rules on tags and stubs that a source breaks."""
    problems = []
    code = [cell for cell in cells if cell.cell_type == "code"]
    for cell in cells:
        if cell.cell_type not in ("code", "markdown"):
            problems.append(f"{name}: only code and Markdown cells are allowed, found {cell.cell_type!r}.")
        if cell.cell_type != "code" and "exercise" in _tags(cell):
            problems.append(f"{name}: the tag `exercise` belongs on the code cell with the stub, not on prose.")
    for number, cell in enumerate(code):
        if "exercise" not in _tags(cell):
            continue
        first = cell.source.strip().splitlines()[0] if cell.source.strip() else "(empty)"
        solution = []
        for following in code[number + 1 :]:
            if "solution" not in _tags(following):
                break
            solution += [line.strip() for line in following.source.splitlines()]
        if not solution:
            problems.append(f"{name}: the stub that begins {first!r} needs a `solution` code cell right after it.")
            continue
        for line in map(str.strip, cell.source.splitlines()):
            if line and not line.startswith("#") and "..." not in line and line not in solution:
                problems.append(f"{name}: the stub line {line!r} is not in its solution.")
    return problems


def _compare_solution(stored, expected) -> list[str]:
    """How a stored solution edition differs from what its source says, outputs aside."""

    def face(notebook):
        return [(cell.cell_type, cell.id, cell.source, cell.metadata) for cell in notebook.cells]

    problems = []
    if face(stored) != face(expected) or stored.metadata != expected.metadata:
        problems.append("differs from its source.")
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code" and cell.source.strip()]
    if counts != list(range(1, len(counts) + 1)):
        problems.append("was not executed from top to bottom.")
    return problems


def _execute(notebook, path: Path) -> None:
    """Run a notebook in a fresh kernel of this Python, in the folder where the notebook lies."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    before = os.environ.get("JUPYTER_PREFER_ENV_PATH")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not one registered for the user
    try:
        client.execute(env={**os.environ, **EXECUTION_ENVIRONMENT})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        what = f"{path.name} did not run to its end.\n{reason}\n"
        raise LabError(what, "Mend the source and build again.") from error
    finally:
        if before is None:
            del os.environ["JUPYTER_PREFER_ENV_PATH"]
        else:
            os.environ["JUPYTER_PREFER_ENV_PATH"] = before
    notebook.metadata = json.loads(json.dumps(_METADATA))
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            # Without a kernel a widget view is an error message. The static form beside it is what readers need.
            output.get("data", {}).pop(_WIDGET_VIEW, None)
    _shorten_paths(notebook, path.resolve().parents[2])


def _shorten_paths(notebook, root: Path) -> None:
    """Show paths as seen from the repository or the home folder: where a maintainer keeps them helps nobody."""

    def shorten(value):
        if isinstance(value, str):
            return value.replace(f"{root}/", "").replace(f"{Path.home()}/", "~/")
        if isinstance(value, list):
            return [shorten(each) for each in value]
        return value

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for holder in (output, output.get("data", {})):
                for key in holder.keys() - {"data", "metadata"}:
                    holder[key] = shorten(holder[key])


def _same_code(notebook, before) -> bool:
    def code(each):
        return [cell.source for cell in each.cells if cell.cell_type == "code"]

    return code(notebook) == code(before)


def _code_pairs(notebook, before):
    return zip(
        (cell for cell in notebook.cells if cell.cell_type == "code"),
        (cell for cell in before.cells if cell.cell_type == "code"),
        strict=True,
    )


def _copy_outputs_if_code_is_the_same(notebook, before) -> None:
    """Prose changed only: the stored run is still the run of this code."""
    if _same_code(notebook, before):
        for cell, old in _code_pairs(notebook, before):
            cell.outputs, cell.execution_count = old.outputs, old.execution_count


def _keep_outputs_that_only_differ_in_timing(notebook, before) -> None:
    """Where a new run says the same but for seconds, speeds, bytes and addresses, keep the stored output: no diff."""

    def timeless(outputs) -> str:
        return _CHANGES_EVERY_RUN.sub("#", json.dumps(outputs, sort_keys=True, ensure_ascii=False))

    if before is not None and _same_code(notebook, before):
        for cell, old in _code_pairs(notebook, before):
            if timeless(cell.outputs) == timeless(old.outputs):
                cell.outputs = old.outputs


def _load(path: Path):
    import nbformat

    return nbformat.read(path, as_version=4)


def _text(notebook) -> str:
    import nbformat

    return nbformat.writes(notebook) + "\n"


def _write(path: Path, notebook) -> None:
    """Write a valid notebook, whole or not at all."""
    import nbformat

    nbformat.validate(notebook)
    put(path, _text(notebook).encode())
