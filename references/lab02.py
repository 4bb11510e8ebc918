"""Lab 02: the cases of its exercises, and what common mistakes give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labs_helper.exercises.stored import digest
from references import Reference, solution

# --- 2.1 What a picture costs ---------------------------------------------------------------------------------------

GRIDS = ((1, 1), (2, 2), (1, 4), (4, 1), (3, 5), (4, 4))


def _tokens(
    rows: int,
    columns: int,
    *,
    views: int = 1,
    view_ends: int = 1,
    ends: Callable[[int, int], int] = lambda r, c: r * 12,
    separators: int = 1,
) -> int:
    return (rows * columns + views) * 144 + ends(rows, columns) + view_ends * 12 + separators


# --- 2.2 Tiles in order ---------------------------------------------------------------------------------------------

TILES = ((2, 2), (1, 1), (1, 4), (4, 1), (3, 5))


def tiles(rows: int, columns: int) -> np.ndarray:
    """The tiles that the check of 2.2 hands to a function."""
    from labs_helper.exercises.lab02 import tiles as made

    return made(rows, columns)


def _arranged(*axes: int) -> Callable[[np.ndarray, int, int], np.ndarray]:
    """The tiles as an array (rows, columns, line, place, channel), with its axes in another order."""

    def joined(given: np.ndarray, rows: int, columns: int) -> np.ndarray:
        side, channels = given.shape[1], given.shape[3]
        grid = given.reshape(rows, columns, side, side, channels).transpose(axes)
        return grid.reshape(rows * side, columns * side, channels)

    return joined


def _column_by_column(given: np.ndarray, rows: int, columns: int) -> np.ndarray:
    side, channels = given.shape[1], given.shape[3]
    grid = given.reshape(columns, rows, side, side, channels).transpose(1, 2, 0, 3, 4)
    return grid.reshape(rows * side, columns * side, channels)


def _backwards(given: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return _arranged(0, 2, 1, 3, 4)(given[::-1], rows, columns)


def array_digest(array: np.ndarray) -> str:
    """As the check of 2.2 makes it."""
    return digest(np.ascontiguousarray(array, dtype=np.int64).tobytes())


# --- 2.6 How well it was read ---------------------------------------------------------------------------------------

READINGS = (
    ("OPEN", "OPEN"),
    ("OPFN", "OPEN"),
    ("OPN", "OPEN"),
    ("OPPEN", "OPEN"),
    ("", "TAXI"),
    ("EXIT 7", "EXIT 77"),
    ("CAT", "DOGS"),
    ("NEPO", "OPEN"),
    ("TAXI STOP HERE", "TAXI"),
    ("open", "OPEN"),
    ("ABCDEF", "BCDEFG"),
    ("KITTEN", "SITTING"),
)


def _edits(read: str, truth: str, *, swap: int = 1, gap: int = 1) -> int:
    grid = np.zeros((len(read) + 1, len(truth) + 1), dtype=int)
    grid[:, 0], grid[0] = gap * np.arange(len(read) + 1), gap * np.arange(len(truth) + 1)
    for i in range(len(read)):
        for j in range(len(truth)):
            same = grid[i, j] + swap * (read[i] != truth[j])
            grid[i + 1, j + 1] = min(grid[i, j + 1] + gap, grid[i + 1, j] + gap, same)
    return int(grid[-1, -1])


def _place_by_place(read: str, truth: str) -> int:
    return sum(a != b for a, b in zip(read, truth, strict=False))


def _rate(edits: Callable[[str, str], float]) -> Callable[[str, str], float]:
    return lambda read, truth: edits(read, truth) / len(truth)


def references() -> list[Reference]:
    """The exercises of the lab that are checked against stored results."""
    return [
        Reference(
            "2.1",
            solution("02", "picture_tokens"),
            GRIDS,
            {
                "no global view": lambda r, c: _tokens(r, c, views=0, view_ends=0),
                "no global view at all": lambda r, c: _tokens(r, c, views=0, view_ends=0, separators=0),
                "no cells of the view": lambda r, c: _tokens(r, c, views=0),
                "no ends of the view": lambda r, c: _tokens(r, c, view_ends=0),
                "no separator": lambda r, c: _tokens(r, c, separators=0),
                "separator twice": lambda r, c: _tokens(r, c, separators=2),
                "cells alone": lambda r, c: _tokens(r, c, ends=lambda _r, _c: 0, view_ends=0, separators=0),
                "cells and separator": lambda r, c: _tokens(r, c, ends=lambda _r, _c: 0, view_ends=0),
                "exchanged": lambda r, c: _tokens(r, c, ends=lambda _r, columns: columns * 12),
                "ends in each tile": lambda r, c: _tokens(r, c, ends=lambda rows, columns: rows * columns * 12),
                "one end a row": lambda r, c: _tokens(r, c, ends=lambda rows, _c: rows, view_ends=0) + 1,
            },
            kept=int,
        ),
        Reference(
            "2.2",
            solution("02", "join_tiles"),
            TILES,
            {
                "renamed": _arranged(0, 1, 2, 3, 4),
                "turned tiles": _arranged(0, 3, 1, 2, 4),
                "mixed columns": _arranged(0, 2, 3, 1, 4),
                "turned and renamed": _arranged(0, 1, 3, 2, 4),
                "lines first": _arranged(2, 0, 1, 3, 4),
                "column by column": _column_by_column,
                "backwards": _backwards,
            },
            made=lambda rows, columns: (tiles(rows, columns), rows, columns),
            kept=array_digest,
        ),
        Reference(
            "2.6",
            solution("02", "error_rate"),
            READINGS,
            {
                "edits": _edits,
                "by read": lambda read, truth: _edits(read, truth) / (len(read) or 1),
                "by longer": lambda read, truth: _edits(read, truth) / max(len(read), len(truth)),
                "by both": lambda read, truth: _edits(read, truth) / (len(read) + len(truth)),
                "share right": lambda read, truth: 1 - _edits(read, truth) / len(truth),
                "capped": lambda read, truth: min(1.0, _edits(read, truth) / len(truth)),
                "capitals": _rate(lambda read, truth: _edits(read.upper(), truth.upper())),
                "replace is two": _rate(lambda read, truth: _edits(read, truth, swap=2)),
                "place by place": _rate(_place_by_place),
                "places and length": _rate(lambda r, t: _place_by_place(r, t) + abs(len(r) - len(t))),
                "places of the truth": _rate(lambda r, t: _place_by_place(r.ljust(len(t)), t)),
                "letters": _rate(lambda r, t: len(set(t) ^ set(r))),
                "all or nothing": lambda read, truth: float(read != truth),
            },
        ),
    ]
