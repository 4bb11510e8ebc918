"""How a class begins and stays together: a link that opens the course on a hub, and the class board.

docs/instructors.md describes a whole workshop.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from labs_helper.board import rules
from labs_helper.catalog import find_lab
from labs_helper.common import addresses, personal
from labs_helper.common.markup import printable
from labs_helper.common.translate import _, _n
from labs_helper.course.release import NAME
from labs_helper.errors import BadRequest, LabError

if TYPE_CHECKING:
    from labs_helper.board.server import Board


def first_notebook() -> str:
    """The notebook that a class opens, as seen from the course folder.

    Example:
        first_notebook()      # 'notebooks/00-start-here.ipynb'
    """
    return f"notebooks/{find_lab('00').stem}.ipynb"


def class_board(
    data: Path | None = None, host: str = "127.0.0.1", port: int = rules.PORT, minutes: float | None = None
) -> Board:
    """Start the class board, which runs until it is closed.

    Args:
        data: its file; None takes one for each day, so that a restart goes on with the same code.
        host: the address to listen on, "0.0.0.0" for every network.
        port: 0 picks a free one.
        minutes: how long the caller will let it run.

    Raises:
        BadRequest: numbers that make no sense.
        LabError: packages are missing, or the file cannot be used.
        EndpointFailed: the address cannot be used.

    Example:
        board = class_board(host="0.0.0.0")
    """
    if not 0 <= port <= 65535:
        raise BadRequest(_("There is no port {port}.").format(port=port), _("Choose one from 1024 to 65535."))
    if minutes is not None and not 0 < minutes < float("inf"):
        raise BadRequest(
            _("The board cannot run for {minutes:g} minutes.").format(minutes=minutes),
            _("Give a number above 0, or leave it out."),
        )
    try:
        from labs_helper.board.server import Board
    except ImportError as error:
        raise LabError(
            _("The class board needs a package that is missing ({name}).").format(name=error.name),
            _("Run `pip install -c constraints.txt -e '.[board]'` in the course's folder."),
        ) from error
    from labs_helper.exercises import all_exercises

    return Board(
        data or _board_file(), {number: exercise.title for number, exercise in all_exercises().items()}, host, port
    )


def remove_learners(aliases: Sequence[str], data: Path | None = None) -> str:
    """Remove learners from a class board, whether it runs or not: somebody may have invented them.

    Args:
        aliases: as the page shows them; `*` stands for any characters, as in "Guest *".
        data: the board's file; None takes today's.

    Returns:
        Sentences that say who was removed.

    Raises:
        BadRequest: the board has no such learner.
        LabError: there is no such file, or it cannot be used.

    Example:
        print(remove_learners(["Guest *"]))
    """
    from labs_helper.board.storage import Storage

    file = data or _board_file()
    if not file.is_file():
        raise LabError(_("There is no class board in {file}.").format(file=file), _("Name its file with --data."))
    storage = Storage(file)
    try:
        gone = [shown for alias in aliases for shown in storage.remove(alias)]
    finally:
        storage.close()
    if not gone:
        raise BadRequest(
            _("The board has no learner {alias}.").format(alias=printable(", ".join(aliases))),
            _("Write the alias as the page shows it, in quotes if it has a space."),
        )
    removed = _n("{count} learner removed: {aliases}.", "{count} learners removed: {aliases}.", len(gone)).format(
        count=len(gone), aliases=", ".join(gone[:20]) + (", ..." if len(gone) > 20 else "")
    )
    return removed + "\n" + _("A real learner appears again with the next check.")


def _board_file() -> Path:
    return personal.folder() / f"class-board-{date.today().isoformat()}.sqlite"


def pull_link(hub: str, repository: str, branch: str = "main") -> str:
    """A link that brings the course into `phi35-labs` in a learner's home, by nbgitpuller, and opens notebook 00.

    Args:
        hub: address of the JupyterHub.
        repository: address of the course's git repository, as learners would clone it.
        branch: the branch of that repository.

    Raises:
        BadRequest: one of the two is not an address.

    Example:
        pull_link("https://hub.example.org", "https://git.example.org/phi35-labs")
    """
    example = "https://hub.example.org"
    at = addresses.parse(hub, name=_("The address of the hub"), example=example)
    cloned = addresses.parse(repository, name=_("The address of the repository"), example=f"{example}/phi35-labs")
    if not branch.strip():
        raise BadRequest(_("The branch has no name."), _("Leave --branch out, or name one."))
    # The folder is named: nbgitpuller would take the last part of the address, ".git" included.
    values = {
        "repo": str(cloned),
        "branch": branch,
        "targetpath": NAME,
        "urlpath": f"lab/tree/{NAME}/{first_notebook()}",
    }
    return f"{at}/hub/user-redirect/git-pull?{urlencode(values, quote_via=quote, safe='')}"
