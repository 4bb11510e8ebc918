"""The first version of a new lab, for `labs notebooks new`: every part that a lab must have, and nothing else.

Its texts are the files in `new_lab/`, in which $number is the lab's two digits and $lab its number in exercises.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

from labs_helper.common.translate import _

_TEXTS = Path(__file__).parent / "new_lab"


@dataclass(frozen=True)
class NewLab:
    """The texts of a new lab: its source, the module of its checks, and its entry in labs.toml."""

    source: str
    checks: str
    entry: str


def lab(number: str, slug: str) -> NewLab:
    """The texts of a new lab.

    Example:
        print(lab("08", "my-lab").source)
    """
    title = slug.replace("-", " ").capitalize()
    source, checks, entry = (
        Template((_TEXTS / name).read_text("utf-8")).substitute(number=number, lab=int(number), slug=slug, title=title)
        for name in ("source.py.txt", "exercises.py.txt", "labs.toml.txt")
    )
    return NewLab(source, checks, entry)


def next_steps(number: str, slug: str) -> str:
    """What the author does after `labs notebooks new`.

    Example:
        print(next_steps("08", "my-lab"))
    """
    tests = f"tests/test_project.py tests/exercises/test_exercises.py notebooks/{number}-{slug}.ipynb"
    return "\n".join(
        (
            _("Set the title, the models and the minutes of the lab in labs_helper/catalog/labs.toml."),
            _("Then write the lab, and look at it:"),
            f"  make notebooks LABS={number}",
            f'  make test TESTS="{tests}"',
            _("CONTRIBUTING.md says what a lab needs."),
        )
    )
