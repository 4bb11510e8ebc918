"""An extension of IPython: a name that a lab makes in a cell that has not run is told in one line.

The error itself stays as it is, and so does every other NameError: a name that a learner misspells is made nowhere.
pyproject.toml installs order.json, which loads this in every kernel of the environment, because after a restart the
first cell may be the one that did not run. `check_setup` loads it too.
"""

from __future__ import annotations

import json
import os
import symtable
from pathlib import Path
from types import TracebackType
from typing import Any

from labs_helper.common.shell import running_shell
from labs_helper.common.translate import _
from labs_helper.exercises import hints

_EVENT = "post_run_cell"
_MARK = "_labs_order"  # the shell keeps our handler under this name, so that it is registered once
_LAB = "_labs_lab"  # and under this one the lab that `check_setup` named


def load_ipython_extension(shell: Any) -> None:
    """Watch the cells of a shell. Called again, it changes nothing.

    Example:
        load_ipython_extension(get_ipython())
    """
    hints.watch(shell)  # it has to see the cells before the first check
    if getattr(shell, _MARK, None) is not None:
        return

    def told(result: Any) -> None:
        if sentence := advice(shell, result.error_in_exec):
            print(sentence, flush=True)

    setattr(shell, _MARK, told)
    shell.events.register(_EVENT, told)


def unload_ipython_extension(shell: Any) -> None:
    """Watch no longer.

    Example:
        unload_ipython_extension(get_ipython())
    """
    told = getattr(shell, _MARK, None)
    if told is not None:
        shell.events.unregister(_EVENT, told)
        delattr(shell, _MARK)


def watch(stem: str | None = None) -> None:
    """Watch the cells of the notebook that calls this; elsewhere it does nothing.

    Args:
        stem: the lab's file name without ending, for editors that do not say which notebook is open.

    Example:
        watch("01-instruct")
    """
    shell = running_shell()
    if shell is not None:
        load_ipython_extension(shell)
        setattr(shell, _LAB, stem)


def advice(shell: Any, error: BaseException | None) -> str:
    """What to do about an error, if a cell above makes the name that was missing; otherwise nothing.

    Args:
        shell: of IPython.
        error: that ended a cell.

    Example:
        advice(shell, NameError(name="model"))      # "Run the cells above first: ..."
    """
    if type(error) is not NameError or not error.name or not _is_in_a_cell(shell, error.__traceback__):
        return ""
    notebook = _notebook(shell)
    if notebook is None or error.name not in _made_above(shell, notebook):
        return ""
    return _(
        "Run the cells above first: one of them makes `{name}` (in JupyterLab: Run > Run All Above Selected Cell)."
    ).format(name=error.name)


def _is_in_a_cell(shell: Any, traceback: TracebackType | None) -> bool:
    """Whether the name was looked up in the notebook and not in a package."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals is shell.user_global_ns


def _notebook(shell: Any) -> Path | None:
    """The lab that is open, or None if this notebook is none of ours."""
    from labs_helper.catalog.labs import labs

    # VS Code names the notebook for its cells, JupyterLab's server for the kernel.
    named = Path(str(shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")))
    lab = getattr(shell, _LAB, None)
    if lab is None and not any(named.stem.startswith(known.stem) for known in labs()):
        return None
    # The last two: a name without its folder, and an editor that says nothing.
    tried = (named, Path(named.name), *([Path(f"{lab}.ipynb")] if lab else []))
    return next((path for path in tried if path.suffix == ".ipynb" and path.is_file()), None)


def _made_above(shell: Any, notebook: Path) -> set[str]:
    """The names that the cells above the failing one make; of all cells if it was changed and not saved."""
    made: set[str] = set()
    failing = str(shell.history_manager.input_hist_raw[-1]).strip()
    for source in _cells(notebook):
        if source.strip() == failing:
            break
        magic, _line, code = source.partition("\n")
        made |= _names(shell.transform_cell(code if magic.startswith("%%") else source))
    return made


def _cells(notebook: Path) -> list[str]:
    """The sources of the code cells; none of a file that is half written, or no notebook at all."""
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _names(code: str) -> set[str]:
    """What a cell assigns, defines or imports."""
    try:
        table = symtable.symtable(code, "cell", "exec")
    except (SyntaxError, ValueError):
        return set()
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
