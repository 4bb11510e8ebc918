"""The exercises of lab 02. Every check computes what is right; functions are tried on cases of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.exercises.base import (
    Exercise,
    NotYet,
    TryAgain,
    a_function,
    as_list,
    is_unfilled,
    kind,
    number,
    returned,
)
from labs_helper.exercises.vision_experiments import (
    differences_listed,
    frames_in_time,
    misread_picture,
    smallest_letters,
)

if TYPE_CHECKING:
    import numpy as np

# --- 2.1 What a picture costs -----------------------------------------------------------------------------

TILE_TOKENS, TILE_SIDE = 144, 12
GRIDS = ((1, 1), (2, 2), (1, 4), (4, 1), (3, 5), (4, 4))


def picture_tokens(rows: int, columns: int) -> int:
    """Tokens of a picture of rows x columns tiles.

    (rows * columns + 1) * 144 for the tiles and the global view, 1 between the two, and one at the end of each line
    of cells: 12 for every row of tiles and 12 for the global view. Source: data/benchmarks/vision_image_tokens.csv.

    Example:
        picture_tokens(1, 1)      # 313
    """
    return (rows * columns + 1) * TILE_TOKENS + 1 + (rows + 1) * TILE_SIDE


def _picture_cost(value: object) -> str:
    function = a_function(value, "picture_tokens")
    for rows, columns in GRIDS:
        call, right = f"picture_tokens({rows}, {columns})", picture_tokens(rows, columns)
        answer = number(returned(function(rows, columns)), call)
        if answer == right:
            continue
        if answer == right - TILE_TOKENS - TILE_SIDE:
            why = _("The global view is missing: one more tile, with its 12 line ends.")
        elif answer == right - TILE_TOKENS:
            why = _("The cells of the global view are missing: one more tile.")
        elif answer == right - 1:
            why = _("One token is missing: the separator between the global view and the tiles.")
        elif answer == right - 1 - (rows + 1) * TILE_SIDE:
            why = _(
                "You counted the cells. The separators are missing: line ends, and one between global view and tiles."
            )
        elif answer == picture_tokens(columns, rows):
            why = _("Rows and columns are exchanged. A line of cells runs across all columns and ends once.")
        elif answer == right + (columns - 1) * rows * TILE_SIDE:
            why = _("A line of cells runs across all tiles of a row and ends once, not once a tile.")
        else:
            why = _(
                "Count three things: cells (144 a tile, one tile more), line ends (12 a row of tiles), one separator."
            )
        raise TryAgain(_("{call} returned {answer:g}. {why}").format(call=call, answer=answer, why=why))
    return _("Right for all {count} layouts, {tokens} tokens for four rows of four included.").format(
        count=len(GRIDS), tokens=picture_tokens(4, 4)
    )


# --- 2.2 Tiles in order -----------------------------------------------------------------------------------

TILE_GRIDS = ((1, 1), (1, 4), (4, 1), (2, 2), (3, 5))


def join_tiles(tiles: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Cells of tiles as one picture, in the order of the reference implementation of Phi-3.5-vision's image path.

    Args:
        tiles: of the shape (rows * columns, side, side, channels), row by row.
        rows: rows of tiles.
        columns: tiles in a row.

    Returns:
        The cells, of the shape (rows * side, columns * side, channels).

    Example:
        join_tiles(numpy.zeros((4, 12, 12, 8)), 2, 2).shape      # (24, 24, 8)
    """
    _count, side, _side, channels = tiles.shape
    grid = tiles.reshape(rows, columns, side, side, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * side, columns * side, channels)


def _join(value: object) -> str:
    import numpy as np

    function, side, channels = a_function(value, "join_tiles"), 3, 2
    for rows, columns in TILE_GRIDS:
        call = f"join_tiles(tiles, {rows}, {columns})"
        tiles = np.arange(rows * columns * side * side * channels).reshape(rows * columns, side, side, channels)
        right = join_tiles(tiles, rows, columns)
        answer = np.asarray(returned(function(tiles.copy(), rows, columns)))
        if answer.shape != right.shape:
            raise TryAgain(
                _("{call} has the shape {shape}. It must be {right}: height, width, channels.").format(
                    call=call, shape=answer.shape, right=right.shape
                )
            )
        if (answer == right).all():
            continue
        if (answer == tiles.reshape(right.shape)).all():
            raise TryAgain(
                _(
                    "{call}: this only renames the shape, as the plain package does. A line of the picture "
                    "runs through all tiles of a row, so two axes must change places before the last "
                    "reshape."
                ).format(call=call)
            )
        raise TryAgain(
            _("{call} has the right shape, but the cells are in the wrong places. Exchange which two axes?").format(
                call=call
            )
        )
    return _("Right for all {count} layouts. With one column nothing moves: that is why the mistake hides.").format(
        count=len(TILE_GRIDS)
    )


# --- 2.6 How well it was read -----------------------------------------------------------------------------

READINGS = (
    ("OPEN", "OPEN"),
    ("OPFN", "OPEN"),
    ("OPN", "OPEN"),
    ("OPPEN", "OPEN"),
    ("", "TAXI"),
    ("EXIT 7", "EXIT 77"),
    ("CAT", "DOGS"),
    ("NEPO", "OPEN"),
)


def error_rate(read: str, truth: str) -> float:
    """Character error rate: the fewest edits that make `truth` from `read`, divided by the length of `truth`.

    An edit inserts, deletes or replaces one character (Levenshtein 1966).

    Example:
        error_rate("OPFN", "OPEN")      # 0.25
    """
    row = list(range(len(truth) + 1))
    for i, a in enumerate(read, 1):
        before, row = row, [i]
        for j, b in enumerate(truth, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1] / len(truth)


def _reading(value: object) -> str:
    function = a_function(value, "error_rate")
    for read, truth in READINGS:
        call, right = f"error_rate({read!r}, {truth!r})", error_rate(read, truth)
        answer = number(returned(function(read, truth)), call)
        if abs(answer - right) < 1e-6:
            continue
        if abs(answer - right * len(truth)) < 1e-6:
            why = _("This is the number of edits. Divide it by the length of the truth.")
        elif read and abs(answer - right * len(truth) / len(read)) < 1e-6:
            why = _("Divide by the length of the truth, not of what was read.")
        elif abs(answer - (1 - right)) < 1e-6:
            why = _("This is the share that is right. The error rate is the share that is wrong.")
        elif len(read) != len(truth):
            why = _("A missing or an extra character moves the rest, but it is one edit: insert or delete it.")
        else:
            why = _("Count the fewest edits: replace, insert or delete one character.")
        raise TryAgain(_("{call} returned {answer:g}. {why}").format(call=call, answer=answer, why=why))
    return _("Right for all {count} readings. A rate above 1 is possible: more edits than characters.").format(
        count=len(READINGS)
    )


# --- 2.7 From chart to table ------------------------------------------------------------------------------

LISTS = (
    ("MON 12, TUE 30, WED 7", {"MON": 12, "TUE": 30, "WED": 7}),
    ("TEA 5", {"TEA": 5}),
    (" JAN 44,FEB 9 , MAR 80. ", {"JAN": 44, "FEB": 9, "MAR": 80}),
)


def _table(value: object) -> str:
    function = a_function(value, "to_table")
    for listed, right in LISTS:
        call, frame = f"to_table({listed!r})", returned(function(listed))
        columns = getattr(frame, "columns", None)
        if columns is None:
            raise TryAgain(
                _("{call} must return a pandas DataFrame. It returned {kind}.").format(call=call, kind=kind(frame))
            )
        if as_list(columns) != ["label", "value"]:
            raise TryAgain(
                _('{call} must have the columns "label" and "value". It has: {columns}.').format(
                    call=call, columns=", ".join(map(str, columns))
                )
            )
        if len(frame) != len(right):
            raise TryAgain(
                _("{call} has {rows} rows; there are {count} entries.").format(
                    call=call, rows=len(frame), count=len(right)
                )
            )
        table = dict(zip(as_list(frame["label"]), as_list(frame["value"]), strict=True))
        if any(isinstance(v, str) for v in table.values()):
            raise TryAgain(
                _("{call}: the values are text. Make numbers of them, or nobody can add them up.").format(call=call)
            )
        if table != right:
            raise TryAgain(
                _("{call} gave {table}. Expected {right}: mind spaces and a full stop at the end.").format(
                    call=call, table=table, right=right
                )
            )
    return _("Right, with odd spaces and a full stop at the end too. Now the chart is data again.")


# --- 2.9 Keyframes ----------------------------------------------------------------------------------------

CHANGES = (
    ([0, 0.1, 0.9, 0.1, 0.5, 0.1], 3, [0, 2, 4]),
    ([0, 0.2, 0.1, 0.4, 0.3, 0.8, 0.1], 4, [0, 3, 4, 5]),
    ([0, 0.3, 0.2], 3, [0, 1, 2]),
    ([0, 0.5], 4, [0, 1]),
    ([0], 1, [0]),
)


def _keyframes(value: object) -> str:
    function = a_function(value, "pick_frames")
    for changes, count, right in CHANGES:
        call = f"pick_frames({changes}, {count})"
        answer = returned(function(list(changes), count))
        if isinstance(answer, (str, bytes, Mapping)) or not hasattr(answer, "__iter__"):
            raise TryAgain(
                _("{call} must return a list of frame numbers. It returned {kind}.").format(
                    call=call, kind=kind(answer)
                )
            )
        if is_unfilled(answer := as_list(answer)):
            raise NotYet
        answer = [int(number(part, _("Each frame number"))) for part in answer]
        if answer == right:
            continue
        if sorted(answer) == right:
            why = _("The frames are right, but not in the order of time. A clip that jumps back tells another story.")
        elif len(answer) > count:
            why = _("These are {answer} frames. Asked for: {count}, the first one included.").format(
                answer=len(answer), count=count
            )
        elif 0 not in answer:
            why = _("The first frame is missing. It shows where everything starts.")
        elif len(answer) < min(count, len(changes)):
            why = _("There are more frames to take: fewer than asked for is right only when the clip is shorter.")
        else:
            why = _("After the first frame, take those with the largest change to the frame before.")
        raise TryAgain(_("{call} returned {answer}. {why}").format(call=call, answer=answer, why=why))
    return _("Right for all {count} clips, a clip with fewer frames than asked for included.").format(
        count=len(CHANGES)
    )


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 02, in their order, with titles and hints in the learner's language."""
    # Long because it is a list, as long as the lab has exercises.
    return (
        Exercise(
            "2.1",
            _("Write the cost of a picture as a function"),
            _picture_cost,
            (
                _("Cells first: every tile has 12 x 12 of them, and the global view counts as one more tile."),
                _(
                    "Each line of cells ends with one separator: 12 lines for each row of tiles, and 12 for "
                    "the global view."
                ),
                _("return (rows * columns + 1) * 144 + 1 + (rows + 1) * 12"),
            ),
        ),
        Exercise(
            "2.2",
            _("Put the tiles in order"),
            _join,
            (
                _("Give each thing its own axis: rows, columns, line in the tile, place in the line, channels."),
                _(
                    "A line of the picture runs through all tiles of a row. So the order must be: row, "
                    "line, column, place."
                ),
                _("tiles.reshape(rows, columns, side, side, -1).transpose(0, 2, 1, 3, 4), then one more reshape."),
            ),
        ),
        Exercise(
            "2.3",
            _("Find the smallest letters that the model reads"),
            smallest_letters,
            (
                _(
                    "Write a loop over sizes, such as 32, 28, 24, 20 and 16. For each, count the words in their"
                    " answers."
                ),
                _(
                    "word in answer.text is True for a word that was read. Stop when words are missing, then look "
                    "at the sizes in between."
                ),
                _(
                    "scores[size] = sum(word in vision.ask(question, images=draw_word(word, size=size)).text "
                    "for word in words)"
                ),
            ),
        ),
        Exercise(
            "2.4",
            _("Find how many frames are answered within a second"),
            frames_in_time,
            (
                _("A list may hold one picture several times: images=[shot] * 3 are three frames."),
                _(
                    "Ask with 1, 2, 3 ... frames and max_tokens=1. Keep seconds_to_first_token, until it is more "
                    "than 1."
                ),
                _("most = max(frames for frames, seconds in waits.items() if seconds <= 1)"),
            ),
        ),
        Exercise(
            "2.5",
            _("Draw a picture that the model misreads"),
            misread_picture,
            (
                _(
                    "What was rare in its training? Two shapes of one colour, shapes that touch, a shape "
                    "between two places."
                ),
                _(
                    'A place may be a point: ("red", "circle", (112, 168)) is on the border between left and '
                    "middle. Two shapes may overlap."
                ),
                _('Try [("red", "circle", "top left"), ("red", "square", "bottom right")], and compare the places.'),
            ),
        ),
        Exercise(
            "2.6",
            _("Measure how well a text was read"),
            _reading,
            (
                _(
                    "Think of a grid: characters read go down, characters of the truth across. A step is "
                    "one edit or none."
                ),
                _(
                    "A cell is the smallest of: the one above + 1, the one to the left + 1, the one above "
                    "left + (0 or 1)."
                ),
                _(
                    "Start with row = [0, 1, 2, ...]. For each character read, make the next row of it. "
                    "Divide at the end."
                ),
            ),
        ),
        Exercise(
            "2.7",
            _("Make a table of an answer"),
            _table,
            (
                _("Split at commas first. Then each part is a label, a space and a number: part.split() gives both."),
                _("strip() takes spaces from both ends; strip(' .') takes a full stop as well. int() makes a number."),
                _(
                    'pd.DataFrame([(p.split()[0], int(p.split()[1])) for p in answer.strip(" .").split(",")], '
                    'columns=["label", "value"])'
                ),
            ),
        ),
        Exercise(
            "2.8",
            _("Trust the list, not the conclusion"),
            differences_listed,
            (
                _(
                    'Cut the list out first: it begins after ": " and ends at the first full stop. Split it at '
                    "semicolons."
                ),
                _(
                    "Split each entry at its comma. The thing before the comma is its last two words, or its last "
                    "word if that is nothing. Take the mark different away from the thing after it."
                ),
                _("Where the two things differ, what stands before the first thing is the place: one word, or two."),
            ),
        ),
        Exercise(
            "2.9",
            _("Choose keyframes by change"),
            _keyframes,
            (
                _(
                    "Rank the frame numbers by their change, the largest first. Frame 0 has nothing before it: "
                    "keep it anyway."
                ),
                _("sorted(range(1, len(changes)), key=lambda i: -changes[i]) ranks them. Take count - 1 of them."),
                _("Then sort again, by time: sorted([0, *ranked[: count - 1]])."),
            ),
        ),
    )
