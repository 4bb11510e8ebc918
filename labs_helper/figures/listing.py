"""Rows as a table that can be read: words to the left, numbers to the right, long sentences wrapped."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, framed_table, records
from labs_helper.figures.text import joined, text_table

if TYPE_CHECKING:
    from labs_helper.figures.base import Table


def listing(frame: Table, *, title: str = "", takeaway: str = "", decimals: int = 2) -> Figure:
    """Show rows as a table. pandas sets long sentences to the right, where nobody can read them.

    Args:
        frame: a DataFrame or a list of dictionaries with the same keys.
        title: shown above.
        takeaway: shown below.
        decimals: digits after the point, in columns with numbers that are not whole.

    Raises:
        BadRequest: there are no rows.

    Example:
        >>> print(listing([{"asked": "Which word?", "seconds": 0.171}]))
        asked        seconds
        -----------  -------
        Which word?     0.17
    """
    rows = records(frame)
    if not rows:
        raise BadRequest(_("There is nothing to show: the table has no rows."), _("Check what should have made them."))
    columns = list(rows[0])
    numbers = [column for column in columns if all(_is_number(row.get(column)) for row in rows)]
    digits = {column: 0 if all(float(row[column]).is_integer() for row in rows) else decimals for column in numbers}
    cells = [[f"{row[c]:,.{digits[c]}f}" if c in digits else str(row.get(c, "")) for c in columns] for row in rows]
    right = [i for i, column in enumerate(columns) if column in digits]
    return Figure(
        html=framed_table(columns, cells, takeaway, title=title, right=right, grid=True),
        text=joined(title, text_table(columns, cells, right=right), takeaway),
        alt=_("Table of {count} rows: {columns}. {takeaway}").format(
            count=len(rows), columns=", ".join(columns), takeaway=takeaway
        ),
        takeaway=takeaway,
        rows=tuple(rows),
    )


def _is_number(value: object) -> bool:
    """A number of Python or of NumPy, whose sums and means are what a learner's table often holds."""
    return isinstance(value, Real) and not isinstance(value, bool)
