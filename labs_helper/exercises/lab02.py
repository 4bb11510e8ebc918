"""The exercises of lab 02. Functions are tried on stored cases: right results, and those of common mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, stored
from labs_helper.exercises.base import (
    Exercise,
    NotYet,
    TryAgain,
    a_function,
    as_list,
    is_unfilled,
    kind,
    number,
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


def _picture_cost(value: object) -> str:
    function = a_function(value, "picture_tokens")
    tried = stored.cases("2.1")
    separators = _("The separators are missing: line ends, and one between global view and tiles.")
    diagnosis.judge(
        function,
        tried,
        {
            "no global view": _("The global view is missing: one more tile, with its 12 line ends."),
            "no global view at all": _(
                "The global view is missing: one more tile, with its 12 line ends, and the separator before the tiles."
            ),
            "no cells of the view": _("The cells of the global view are missing: one more tile."),
            "no ends of the view": _("The global view has line ends too: 12 more."),
            "no separator": _("One token is missing: the separator between the global view and the tiles."),
            "separator twice": _("There is one separator between the global view and the tiles. You counted two."),
            "cells alone": " ".join((_("You counted the cells."), separators)),
            "cells and separator": _("The line ends are missing: 12 for each row of tiles and 12 for the global view."),
            "exchanged": _("Rows and columns are exchanged. A line of cells runs across all columns and ends once."),
            "ends in each tile": _("A line of cells runs across all tiles of a row and ends once, not once a tile."),
            "one end a row": _("A row of tiles has 12 lines of cells, and each of them has an end. You counted one."),
            "": _(
                "Count three things: cells (144 a tile, one tile more), line ends (12 a row of tiles), one separator."
            ),
        },
        call=lambda rows, columns: f"picture_tokens({rows}, {columns})",
    )
    return _("Right for all {count} layouts, {tokens} tokens for four rows of four included.").format(
        count=len(tried), tokens=tried[-1].right
    )


# --- 2.2 Tiles in order -----------------------------------------------------------------------------------

SIDE, CHANNELS = 12, 2  # of the tiles that a function is tried on; the side is that of the task


def tiles(rows: int, columns: int) -> np.ndarray:
    """Tiles whose numbers are all different, of the shape (rows * columns, 12, 12, 2).

    Example:
        tiles(1, 2).shape      # (2, 12, 12, 2)
    """
    import numpy as np

    return np.arange(rows * columns * SIDE * SIDE * CHANNELS).reshape(rows * columns, SIDE, SIDE, CHANNELS)


def _join(value: object) -> str:
    import numpy as np

    function = a_function(value, "join_tiles")
    tried = stored.cases("2.2")

    def read(answer: object, call: str) -> str:
        array = np.asarray(answer)
        rows, columns = next(case.arguments for case in tried if _join_call(*case.arguments) == call)
        shape = (rows * SIDE, columns * SIDE, CHANNELS)
        if array.shape != shape:
            raise TryAgain(
                _("{call} has the shape {shape}. It must be {right}: height, width, channels.").format(
                    call=call, shape=array.shape, right=shape
                )
            )
        if array.dtype.kind not in "iuf":
            raise TryAgain(
                _("{call} must hold the numbers of the tiles. It holds {kind}.").format(call=call, kind=array.dtype)
            )
        return stored.digest(np.ascontiguousarray(array, dtype=np.int64).tobytes())

    answers = [
        read(diagnosis.called(function, (tiles(*case.arguments), *case.arguments), call), call)
        for case in tried
        for call in [_join_call(*case.arguments)]
    ]
    wrong = [_join_call(*case.arguments) for answer, case in zip(answers, tried, strict=True) if answer != case.right]
    if not wrong:
        return _("Right for all {count} layouts. With one column nothing moves: that is why the mistake hides.").format(
            count=len(tried)
        )
    sentences = {
        "renamed": _(
            "This only renames the shape, as the plain package does. A line of the picture runs through all tiles of a "
            "row, so two axes must change places before the last reshape."
        ),
        "turned tiles": _("Each tile is in its place, but turned: its lines have become its columns."),
        "turned and renamed": _("You exchanged line and place inside the tile. Exchange columns and line instead."),
        "mixed columns": _("The lines are right. In each of them the places of a tile must stay side by side."),
        "lines first": _(
            "The rows of tiles must stay the first axis: all lines of a row of tiles come before the next."
        ),
        "column by column": _("The tiles come row by row. You read them column by column."),
        "backwards": _("The tiles are in the reverse order. The first one is at the top left."),
    }
    why = next(
        (
            sentence
            for name, sentence in sentences.items()
            if all(answer == case.mistakes[name] for answer, case in zip(answers, tried, strict=True))
        ),
        _("The shape is right, but the cells are in the wrong places. Row, line, column, place: in that order."),
    )
    raise TryAgain(_("{call}: {why}").format(call=wrong[0], why=why))


def _join_call(rows: int, columns: int) -> str:
    return f"join_tiles(tiles, {rows}, {columns})"


# --- 2.6 How well it was read -----------------------------------------------------------------------------


def _reading(value: object) -> str:
    function = a_function(value, "error_rate")
    tried = stored.cases("2.6")
    places = _(
        "You compare place by place. A missing or an extra character shifts the rest, but it is one edit: insert or "
        "delete it."
    )
    diagnosis.judge(
        function,
        tried,
        {
            "edits": _("This is the number of edits. Divide it by the length of the truth."),
            "by read": _("Divide by the length of the truth, not of what was read."),
            "by longer": _("Divide by the length of the truth, even where what was read is longer."),
            "by both": _("Divide by the length of the truth alone."),
            "share right": _("This is the share that is right. The error rate is the share that is wrong."),
            "capped": _("The rate may be above 1: what was read can need more edits than the truth has characters."),
            "capitals": _("Capital and small letters are different characters: an o read for an O is an edit."),
            "replace is two": _("Replacing a character is one edit, not two."),
            "place by place": places,
            "places and length": places,
            "places of the truth": places,
            "letters": _("The order matters too: NEPO has the letters of OPEN, and four edits are needed."),
            "all or nothing": _("Count the edits: one wrong character of four is 0.25, not 1."),
            "": _("Count the fewest edits: replace, insert or delete one character."),
        },
        call=lambda read, truth: f"error_rate({read!r}, {truth!r})",
    )
    return _("Right for all {count} readings. A rate above 1 is possible: more edits than characters.").format(
        count=len(tried)
    )


# --- 2.7 From chart to table ------------------------------------------------------------------------------

LISTS = (
    ("MON 12, TUE 30, WED 7", {"MON": 12, "TUE": 30, "WED": 7}),
    ("TEA 5", {"TEA": 5}),
    ("Q1 14, Q2 9, Q3 60", {"Q1": 14, "Q2": 9, "Q3": 60}),  # labels with digits, as in the lab's own chart
    (" JAN 44,FEB 9 , MAR 80. ", {"JAN": 44, "FEB": 9, "MAR": 80}),
    ("TEN 10, ONE 0", {"TEN": 10, "ONE": 0}),
)


def _table(value: object) -> str:
    function = a_function(value, "to_table")
    for listed, right in LISTS:
        call = f"to_table({listed!r})"
        frame = diagnosis.called(function, (listed,), call)
        columns = getattr(frame, "columns", None)
        if columns is None:
            raise TryAgain(
                _("{call} must return a pandas DataFrame. It returned {kind}.").format(call=call, kind=kind(frame))
            )
        names = as_list(columns)
        if sorted(map(str, names)) == ["label", "value"] and names != ["label", "value"]:
            raise TryAgain(_('{call}: the order of the columns is "label", then "value".').format(call=call))
        if names != ["label", "value"]:
            raise TryAgain(
                _('{call} must have the columns "label" and "value". It has: {columns}.').format(
                    call=call, columns=", ".join(map(str, names))
                )
            )
        if len(frame) != len(right):
            raise TryAgain(_rows(call, listed, len(frame), len(right)))
        table = dict(zip(as_list(frame["label"]), as_list(frame["value"]), strict=True))
        if any(isinstance(v, str) for v in table.values()):
            raise TryAgain(_("{call}: the values are text. Turn them into numbers with int().").format(call=call))
        if list(table.values()) == list(right) or any(label in right.values() for label in table):
            raise TryAgain(_("{call}: label and value are exchanged.").format(call=call))
        if table != right:
            raise TryAgain(
                _("{call} gave {table}. Expected {right}: mind spaces and a full stop at the end.").format(
                    call=call, table=table, right=right
                )
            )
    return _("Right, with odd spaces and a full stop at the end too. Now the chart is data again.")


def _rows(call: str, listed: str, rows: int, count: int) -> str:
    told = _("{call} has {rows} rows; there are {count} entries.").format(call=call, rows=rows, count=count)
    if "Q1" in listed and rows < count:
        return " ".join((told, _("A label may hold digits, as those of the chart above.")))
    return told


# --- 2.9 Keyframes ----------------------------------------------------------------------------------------

CHANGES: tuple[tuple[list[float], int, list[int]], ...] = (
    ([0, 0.1, 0.9, 0.1, 0.5, 0.1], 3, [0, 2, 4]),
    ([0, 0.2, 0.1, 0.4, 0.3, 0.8, 0.1], 4, [0, 3, 4, 5]),
    ([0, 0.3, 0.2], 3, [0, 1, 2]),
    ([0, 0.5], 4, [0, 1]),
    ([0, 0.5, 0.2], 1, [0]),
    ([0], 1, [0]),
)


def _keyframes(value: object) -> str:
    function = a_function(value, "pick_frames")
    for changes, count, right in CHANGES:
        call = f"pick_frames({changes}, {count})"
        answer = diagnosis.called(function, (changes, count), call)
        if isinstance(answer, (str, bytes, Mapping)) or not hasattr(answer, "__iter__"):
            raise TryAgain(
                _("{call} must return a list of frame numbers. It returned {kind}.").format(
                    call=call, kind=kind(answer)
                )
            )
        parts = as_list(answer)
        if parts and is_unfilled(parts):
            raise NotYet
        frames = [number(part, _("Each frame number")) for part in parts]
        if frames != right:
            raise TryAgain(
                _("{call} returned {answer}. {why}").format(
                    call=call, answer=parts, why=_frames_mistake(frames, changes, count, right)
                )
            )
    return _("Right for all {count} clips, a clip with fewer frames than asked for included.").format(
        count=len(CHANGES)
    )


def _frames_mistake(frames: list[float], changes: list[float], count: int, right: list[int]) -> str:
    """What most likely went wrong in a choice of frames."""
    if not frames:
        return _("The first frame is missing. It shows where everything starts.")
    if set(frames) <= set(changes) and not all(frame.is_integer() for frame in frames):
        return _("These are the changes. Return the numbers of the frames.")
    if frames == [frame + 1 for frame in right]:
        return _("Each number is one too large. The first frame is number 0.")
    if len(set(frames)) < len(frames):
        return _("A frame is in it twice. Frame 0 has nothing before it: keep it once.")
    if sorted(frames) == right:
        return _("The frames are right, but not in the order of time. A clip that jumps back tells another story.")
    if len(frames) > count:
        return _("These are {answer} frames. Asked for: {count}, the first one included.").format(
            answer=len(frames), count=count
        )
    if 0 not in frames:
        return _("The first frame is missing. It shows where everything starts.")
    if len(frames) < min(count, len(changes)):
        return _(
            "There are more frames to take. Asked for: {count}, the first one included; fewer is right only when the "
            "clip is shorter."
        ).format(count=count)
    return _("After the first frame, take those with the largest change to the frame before.")


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
                _('A list may hold one picture several times: images=[draw_word("3")] * 3 are three frames.'),
                _(
                    "Ask with 1, 2, 3 ... frames and max_tokens=1. Keep seconds_to_first_token, until it is more "
                    "than 1 or you have asked with 12."
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
                    "Start with row = [0, 1, 2, ...]. For each character read, compute the next row from it. "
                    "Divide at the end."
                ),
            ),
        ),
        Exercise(
            "2.7",
            _("Turn an answer into a table"),
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
                _("Where the two things differ, the words before the first thing are the place: one word, or two."),
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
