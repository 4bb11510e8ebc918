"""Move a clone forward to its branch on the server. `update` says what becomes of the learner's changes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from labs_helper.common.files import dated_copy, write_whole
from labs_helper.common.translate import _
from labs_helper.course.update import Updated
from labs_helper.errors import LabError

_PATIENCE = 600  # seconds for the server's answer; the models are part of the course
_UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")


def update(root: Path) -> Updated:
    """Fetch, keep what the learner changed, and fast-forward.

    Args:
        root: the clone's folder.

    Raises:
        LabError: git is missing, the server does not answer, or the clone is in a state that only its owner can
            judge. Nothing is changed then.

    Example:
        update(Path("phi35-labs"))
    """
    if shutil.which("git") is None:
        raise LabError(_("The course is a clone, and git is missing."), _("Install git, and try again."))
    _refuse_unusual(root)
    _git(
        root,
        "fetch",
        "--quiet",
        what=_("The server of the course could not be asked"),
        do=_("Check the network, and try again. Nothing was changed."),
    )
    if _git(root, "rev-parse", "HEAD") == _git(root, "rev-parse", "@{upstream}"):
        return Updated(())
    if not _succeeds(root, "merge-base", "--is-ancestor", "HEAD", "@{upstream}"):
        if _succeeds(root, "merge-base", "--is-ancestor", "@{upstream}", "HEAD"):
            return Updated(())  # commits of the learner's own, and nothing new
        raise LabError(
            _("This clone has commits of its own, and the course went on as well."),
            _("Bring them together yourself: git pull --rebase. Nothing was changed."),
        )
    touched = _names(root, "diff", "--name-only", "--no-renames", "HEAD", "@{upstream}")
    head = set(_names(root, "ls-tree", "-r", "--name-only", "HEAD"))
    return Updated(tuple(touched), _forward(root, head, _mine(root, head, touched)))


def _refuse_unusual(root: Path) -> None:
    """Refuse what a fast-forward could lose or cannot do."""
    folder = root / _git(root, "rev-parse", "--git-dir")
    unmerged = _git(root, "ls-files", "--unmerged")
    if unmerged or any((folder / name).exists() for name in _UNFINISHED):
        raise LabError(
            _("A merge or a rebase is not finished in this clone."),
            _("Finish it, or end it with git merge --abort or git rebase --abort. Nothing was changed."),
        )
    if not _succeeds(root, "symbolic-ref", "--quiet", "HEAD"):
        raise LabError(
            _("This clone is at a single commit and on no branch, so nothing says what is newer."),
            _("Go to a branch, for example: git switch main. Nothing was changed."),
        )
    if not _succeeds(root, "rev-parse", "--quiet", "--verify", "@{upstream}"):
        raise LabError(
            _("The branch of this clone follows no branch on a server."),
            _("Name one, for example: git branch --set-upstream-to=origin/main. Nothing was changed."),
        )


def _mine(root: Path, head: set[str], touched: list[str]) -> dict[str, bytes | None]:
    """What the learner has changed among the files that the update touches: their content, None for a removed one.

    Args:
        root: the clone's folder.
        head: the files of its commit.
        touched: the files that the update changes.
    """
    # Entries such as " M notebooks/01-instruct.ipynb": two letters, a space, the name.
    changed = {entry[3:] for entry in _names(root, "status", "--porcelain", "--no-renames", "--untracked-files=no")}
    mine: dict[str, bytes | None] = {}
    for name in touched:
        path = root / name
        # Also a file that git ignores: it would overwrite one without a word.
        if name in changed or (name not in head and path.is_file()):
            mine[name] = path.read_bytes() if path.is_file() else None
    return mine


def _forward(root: Path, head: set[str], mine: dict[str, bytes | None]) -> tuple[Path, ...]:
    """Copy the learner's versions aside and fast-forward; if that fails, everything is as before."""
    copies: list[Path] = []
    try:
        for name, content in mine.items():
            if content is not None:
                copies.append(dated_copy(root / name, content))
        known = [name for name in mine if name in head]
        if known:
            _git(root, "checkout", "--quiet", "HEAD", "--", *known)
        for name in mine.keys() - head:
            _git(root, "rm", "--quiet", "--cached", "--ignore-unmatch", "--", name)
            (root / name).unlink(missing_ok=True)
        _git(
            root,
            "merge",
            "--quiet",
            "--ff-only",
            "@{upstream}",
            what=_("git could not bring the new files in"),
            do=_("Your files are as they were. See what `git status` says."),
        )
    except BaseException as error:
        for name, content in mine.items():
            if content is None:
                (root / name).unlink(missing_ok=True)
            else:
                write_whole(root / name, content)
        for copy in copies:
            copy.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise LabError(
                _("A file could not be written ({reason}).").format(reason=error),
                _("Check that the disk has space and that you can write in this folder. Your files are as they were."),
            ) from error
        raise
    return tuple(copies)


def _run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # In English, without questions: nobody could answer them in a cell. Names as bytes of UTF-8, not quoted.
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0"}
    return subprocess.run(
        ["git", "-C", str(root), "-c", "core.quotePath=false", *words],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=_PATIENCE,
        check=False,
    )


def _succeeds(root: Path, *words: str) -> bool:
    return _run(root, *words).returncode == 0


def _git(root: Path, *words: str, what: str = "", do: str = "") -> str:
    """What a git command prints.

    Raises:
        LabError: it failed, with git's own reason.
    """
    try:
        done = _run(root, *words)
        said, failed = done.stderr.strip(), done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = _("no answer in {seconds} seconds").format(seconds=_PATIENCE), True
    if failed:
        reason = said.splitlines()[-1] if said else _("git gives no reason")
        raise LabError(
            _("{what} ({reason}).").format(what=what or _("git refuses"), reason=reason),
            do or _("Nothing was changed. See what `git status` says."),
        )
    return done.stdout.strip()


def _names(root: Path, command: str, *words: str) -> list[str]:
    """The names that a git command lists, whatever signs they hold."""
    done = _run(root, command, "-z", *words)
    if done.returncode:
        raise LabError(_("git refuses ({reason}).").format(reason=done.stderr.strip()), _("Nothing was changed."))
    return [name for name in done.stdout.split("\0") if name]
