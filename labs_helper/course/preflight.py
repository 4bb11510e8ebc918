"""Check a machine before a class: everything that a learner will need, in one OK or a list of what to do."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labs_helper import catalog, doctor, store
from labs_helper.common import platforms
from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.course.timetable import lab_notebooks
from labs_helper.errors import BadRequest, LabError
from labs_helper.store import wheels


@dataclass(frozen=True)
class Preflight:
    """Whether a machine is ready for a class.

    Attributes:
        host: the name of the machine.
        ready: what to say if it is.
        problems: what is wrong and what to do, one line each.
    """

    host: str
    ready: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"OK   {self.host}: {self.ready}"
        return printable("\n".join(f"FIX  {self.host}: {problem}" for problem in self.problems))

    __repr__ = __str__


def preflight(
    labs: Sequence[str] | None = None,
    *,
    models: Sequence[str] | None = None,
    ask: bool = True,
    wheelhouse: Path | None = None,
) -> Preflight:
    """Check this machine for a class: everything of `check_setup`, the notebooks, JupyterLab, and one real question.

    Args:
        labs: numbers such as "01"; None takes all.
        models: real models that must be here and whole, by catalog name.
        ask: ask the bundled model something, which loads it (a few seconds).
        wheelhouse: a folder with packages that must be whole; every byte is read.

    Example:
        print(preflight(["01"]))
    """
    problems: list[str] = []
    for lab in labs or (None,):
        problems += [
            f"{row.name}: {row.detail} {row.advice}".strip()
            for row in doctor.check_setup(lab).rows
            if row.status == doctor.FIX
        ]
    problems += _notebook_problems(labs)
    for name in models or ():
        problems += _model_problems(name)
    if wheelhouse is not None:
        problems += _wheelhouse_problems(wheelhouse)
    ready = _("ready")
    if ask and not problems:
        try:
            ready = _ask()
        except LabError as error:
            problems.append(str(error))
    return Preflight(platform.node() or _("this machine"), ready, tuple(dict.fromkeys(problems)))


def _notebook_problems(labs: Sequence[str] | None) -> list[str]:
    """Notebooks that are missing or cannot be saved, and a JupyterLab that is missing."""
    problems, folder = [], catalog.course_folder() / "notebooks"
    try:
        if not lab_notebooks(labs):
            problems.append(_("There are no notebooks in {folder}. Get the whole course again.").format(folder=folder))
    except BadRequest as error:
        problems.append(str(error))
    if folder.is_dir() and not os.access(folder, os.W_OK):
        problems.append(
            _("Nothing can be saved in {folder}. Copy the course to a folder that the learner can write to.").format(
                folder=folder
            )
        )
    if doctor.version("jupyterlab") is None:
        problems.append(_("JupyterLab is missing. Run `{command}`.").format(command=platforms.command("setup")))
    return problems


def _model_problems(name: str) -> list[str]:
    """Why a real model cannot be used here, by its name or its role; empty if it can."""
    try:
        card = next((card for card in catalog.find(name) if card.name == name or card.tier == "real"), None)
        if card is None:
            return [_("There is no real model for {name!r}.").format(name=name)]
        store.verify(store.locate(card), ships_code=card.ships_code)
    except LabError as error:
        return [str(error)]
    return []


def _wheelhouse_problems(folder: Path) -> list[str]:
    """Why nothing could be installed from a wheelhouse on a computer like this one; empty if it could."""
    try:
        packages = wheels.Wheelhouse.read(folder)
        packages.check(folder)
    except LabError as error:
        return [str(error)]
    here = f"{platforms.system()}/{sys.version_info[0]}.{sys.version_info[1]}"
    if here in packages.sets:
        return []
    return [
        _("The wheelhouse {folder} has nothing for {here}, only {sets}. Make one that does.").format(
            folder=folder, here=here, sets=", ".join(packages.sets)
        )
    ]


def _ask() -> str:
    from labs_helper.models.load import load

    model = load("instruct", tier="tiny")
    try:
        answer = model.ask("What is the capital of Kenya?", max_tokens=30, temperature=0)
    finally:
        model.release()
    if not answer.text.strip():
        raise LabError(
            _("{name} answered nothing.").format(name=model.name),
            _("Run `labs doctor`, and restore data/checkpoints."),
        )
    return _("ready; {name} answered in {seconds:.1f} s").format(name=model.name, seconds=answer.seconds)
