"""Bring the course up to date, and keep what a learner changed.

A clone is moved forward to its branch on the server (`update_clone`); a folder that came as a zip takes its files from
a newer zip (`update_zip`). In both, a learner's version of a file that the update replaces is first written beside it
under a dated name, as `labs reset` does. Files that the update does not touch stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labs_helper.catalog import course_folder
from labs_helper.common import platforms
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest

_SHOWN = 20  # copies in the text
_INSTALLED = ("pyproject.toml", "constraints.txt")  # what `make lab` installs follows from these


@dataclass(frozen=True)
class Updated:
    """What `update` did.

    Attributes:
        changed: the files that are new or another now, as seen from the course's folder.
        copies: where the learner's versions are now.
    """

    changed: tuple[str, ...]
    copies: tuple[Path, ...] = ()

    def __str__(self) -> str:
        if not self.changed:
            return _("The course is up to date.")
        count = len(self.changed)
        lines = [_n("{count} file was updated.", "{count} files were updated.", count).format(count=count)]
        if self.copies:
            lines.append(_("You had changed these. Your versions are now:"))
            lines += [f"  {copy}" for copy in self.copies[:_SHOWN]]
            if len(self.copies) > _SHOWN:
                lines.append(_("  and {count} more").format(count=len(self.copies) - _SHOWN))
        if set(self.changed) & set(_INSTALLED):
            lines.append(
                _("Packages changed too: end JupyterLab and run `{command}`, which installs them.").format(
                    command=platforms.command("lab")
                )
            )
        lines.append(
            _(
                "Restart kernels that run. In JupyterLab choose File > Reload Notebook from Disk; if it says File "
                "Changed, choose Revert."
            )
        )
        return "\n".join(lines)

    __repr__ = __str__


def update(source: str | Path | None = None, *, root: Path | None = None) -> Updated:
    """Bring the course up to date.

    Args:
        source: for a folder that came as a zip, the newer zip or a folder with its content; None for a clone.
        root: the course's folder.

    Raises:
        BadRequest: a source for a clone, none for a zip, or something that is not the course.
        LabError: it cannot be updated now. Nothing is changed then.

    Example:
        update()
    """
    from labs_helper.course import update_clone, update_zip

    root = course_folder() if root is None else Path(root)
    if (root / ".git").exists():
        if source is not None:
            raise BadRequest(
                _("{root} is a clone: it is updated from its server, not from a file.").format(root=root),
                _("Run `labs update` without a file."),
            )
        return update_clone.update(root)
    if source is None:
        raise BadRequest(
            _("{root} is no clone, so there is no server to ask.").format(root=root),
            _("Get the newer zip from your instructor, and run `labs update FILE.zip`."),
        )
    return update_zip.update(root, Path(source).expanduser())
