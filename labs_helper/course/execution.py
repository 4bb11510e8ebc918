"""Run the solution edition, and keep its stored outputs where a new run says the same."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper.common import settings
from labs_helper.common.translate import _
from labs_helper.errors import LabError

if TYPE_CHECKING:
    from nbformat import NotebookNode

# What the kernel gets while a solution edition runs: bundled models only, no network, no compiler, and sets in the same
# order in every run. The language comes with each run.
ENVIRONMENT = {
    settings.MODELS.name: "tiny",
    settings.PROGRESS.name: "off",
    "HF_HUB_OFFLINE": "1",
    "MLX_DISABLE_COMPILE": "1",
    "PYTHONHASHSEED": "0",
}
CELL_TIMEOUT = 120  # seconds

_KERNEL_CHOICE = "JUPYTER_PREFER_ENV_PATH"
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# Numbers with a unit of time, speed or memory, addresses of objects and temporary folders: they differ from run to run.
# In English, Spanish and Korean, where nothing separates a unit from the ending after it.
_CHANGES_EVERY_RUN = re.compile(
    r"\d[\d.,]*\s*(?:ms|seconds?|segundos?|s|minut[eo]s?|(?:tokens?|tok)(?:/s| per second| por segundo)|[kKMG]i?B)\b"
    r"|\b0x[0-9a-f]+\b|/tmp\w{8}(?=/)|\d[\d.,]*\s*(?:초|분|토큰/초)"
    r"|(?:\bseconds?\b[^:\n]{0,30}: '?|초당 토큰 |초[^:\n\d]{0,20}: '?|\bsegundos?\b[^:\n]{0,30}: '?)\d[\d.,]*"
)


def run(notebook: NotebookNode, path: Path, language: str = "en") -> None:
    """Run a notebook in a fresh kernel of this Python, in the folder of its file. Its cells get their outputs.

    Args:
        notebook: what to run.
        path: its file; the course is three folders up, or four for a translated edition.
        language: in which the package speaks.

    Raises:
        LabError: a cell failed or took too long.

    Example:
        run(notebook, Path("notebooks/solutions/01-instruct.ipynb"))
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    metadata = deepcopy(notebook.metadata)  # the client adds what this Python is
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    before = os.environ.get(_KERNEL_CHOICE)
    os.environ[_KERNEL_CHOICE] = "1"  # this environment's kernel, not one registered for the user
    try:
        client.execute(env={**os.environ, **ENVIRONMENT, settings.LANGUAGE.name: language})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        raise LabError(
            _("{name} did not run to its end.\n{reason}\n").format(name=path.name, reason=reason),
            _("Correct the source and build again."),
        ) from error
    finally:
        if before is None:
            del os.environ[_KERNEL_CHOICE]
        else:
            os.environ[_KERNEL_CHOICE] = before
    notebook.metadata = metadata
    for output in _outputs(notebook):
        # Without a kernel a widget view is an error message. Readers need the static form beside it.
        output.get("data", {}).pop(_WIDGET_VIEW, None)
    _shorten_paths(notebook, path.resolve().parents[2 if language == "en" else 3])


def copy_outputs(notebook: NotebookNode, stored: NotebookNode) -> None:
    """Take the outputs of a stored edition, if the code is the same: its run is still a run of this code.

    Example:
        copy_outputs(notebook, load(path))
    """
    for cell, old in _cells_of_the_same_code(notebook, stored):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count


def keep_outputs(notebook: NotebookNode, stored: NotebookNode) -> None:
    """Keep each stored output that differs from the new one in seconds, speeds, bytes and addresses only.

    Otherwise every build would change every notebook.

    Example:
        keep_outputs(notebook, load(path))
    """

    def timeless(outputs: list[NotebookNode]) -> str:
        return _CHANGES_EVERY_RUN.sub("#", json.dumps(outputs, sort_keys=True, ensure_ascii=False))

    for cell, old in _cells_of_the_same_code(notebook, stored):
        if timeless(cell.outputs) == timeless(old.outputs):
            cell.outputs = old.outputs


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _cells_of_the_same_code(notebook: NotebookNode, stored: NotebookNode) -> list[tuple[NotebookNode, NotebookNode]]:
    """The code cells of both, in pairs; none if the code differs anywhere."""
    new, old = _code(notebook), _code(stored)
    same = [cell.source for cell in new] == [cell.source for cell in old]
    return list(zip(new, old, strict=True)) if same else []


def _outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def _shorten_paths(notebook: NotebookNode, root: Path) -> None:
    """Show paths as seen from the repository or the home folder: the folders of one maintainer help nobody else."""

    def shorten(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(f"{root}/", "").replace(f"{Path.home()}/", "~/")
        if isinstance(value, list):
            return [shorten(entry) for entry in value]
        return value

    for output in _outputs(notebook):
        for holder in (output, output.get("data", {})):
            for key in holder.keys() - {"data", "metadata"}:
                holder[key] = shorten(holder[key])
