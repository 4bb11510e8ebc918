"""Where this system keeps what belongs to one person: progress, and the settings of the class board."""

from __future__ import annotations

from pathlib import Path

from labs_helper.common import settings


def folder() -> Path:
    """LABS_DATA_DIR if it is set, else the folder where this system keeps a person's data. It may not exist yet.

    Example:
        folder()      # ~/.local/share/phi35-labs on Linux
    """
    named = settings.DATA_DIR.get()
    if named is not None:
        return named.resolve()
    from platformdirs import user_data_path

    return user_data_path("phi35-labs", appauthor=False)


def board_file() -> Path:
    """Where the class board that this person has joined is written down; there only after `labs board join`.

    Example:
        board_file().exists()
    """
    return folder() / "board.json"
