"""Where the course is: notebooks, data and pictures."""

from __future__ import annotations

from pathlib import Path

from labs_helper.common import settings


def course_folder() -> Path:
    """LABS_HOME if it is set, else the folder that holds this package.

    Example:
        course_folder() / "data" / "benchmarks"
    """
    named = settings.HOME.get()
    return named.resolve() if named is not None else Path(__file__).resolve().parents[2]
