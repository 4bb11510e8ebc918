"""Round a matrix as MLX does, in NumPy: a scale and a bias for each group, a small whole number for each weight.

MLX has no group of a whole row, and none of 16 weights. Here every size that divides the row can be tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Array = np.ndarray[Any, Any]
MOST_BITS = 8
SMALLEST_SCALE = 1e-7  # of MLX: a group of equal weights would divide by zero


@dataclass(frozen=True)
class Groups:
    """A rounded matrix, taken apart.

    Attributes:
        codes: a whole number from 0 to 2**bits - 1 for each weight, as (..., groups, weights in a group).
        scales: one for each group: how far two neighbouring codes are apart.
        biases: one for each group: what the code 0 means.

    Example:
        round_groups([[0.0, 1.0, 2.0, 3.0]], bits=2, group=4).codes
    """

    codes: Array
    scales: Array
    biases: Array

    @property
    def values(self) -> Array:
        """What the model computes with: codes * scales + biases, in the shape of the matrix."""
        whole = self.codes * self.scales[..., None] + self.biases[..., None]
        return whole.reshape(*whole.shape[:-2], -1)


def round_groups(weights: ArrayLike, bits: int, group: int | None = 32) -> Groups:
    """Round a matrix to a few bits, as MLX's affine quantization does.

    Each group keeps its end farther from zero exactly. The scale is then changed a little, so that zero stays zero too
    (source: `affine_quantize` in ml-explore/mlx; a test compares the two).

    Args:
        weights: the last axis is cut into groups.
        bits: 1 to 8.
        group: weights that share a scale; None takes the whole row.

    Raises:
        BadRequest: bits are out of range, or the group does not divide the row.

    Example:
        round_groups(matrix, bits=4, group=32).values
    """
    whole = np.asarray(weights, np.float32)
    width = whole.shape[-1] if group is None else group
    if not 1 <= bits <= MOST_BITS:
        raise BadRequest(
            _("{bits} bits are out of range.").format(bits=bits),
            _("Use a number from 1 to {most}.").format(most=MOST_BITS),
        )
    if width < 1 or whole.shape[-1] % width:
        raise BadRequest(
            _("A row of {row} weights cannot be cut into groups of {group}.").format(row=whole.shape[-1], group=width),
            _("Use a group that divides the row."),
        )
    groups = whole.reshape(*whole.shape[:-1], -1, width)
    low, high = groups.min(-1), groups.max(-1)
    top = 2**bits - 1
    scales = np.maximum((high - low) / top, SMALLEST_SCALE)
    from_low = np.abs(low) > np.abs(high)
    scales = np.where(from_low, scales, -scales)
    edge = np.where(from_low, low, high)
    zero = np.round(edge / scales)  # the code of zero, with its sign turned
    scales = np.where(zero == 0, scales, edge / np.where(zero == 0, 1, zero))
    biases = np.where(zero == 0, 0, edge)
    codes = np.clip(np.round((groups - biases[..., None]) / scales[..., None]), 0, top)
    return Groups(codes, scales, biases)


def relative_error(weights: ArrayLike, rounded: ArrayLike) -> float:
    """How far a rounded matrix is from its original: the root of the sum of squares, as a share of the original's.

    Example:
        relative_error([3.0, 4.0], [3.0, 4.5])      # 0.1
    """
    first, second = np.asarray(weights, np.float64), np.asarray(rounded, np.float64)
    size = float(np.sqrt((first**2).sum()))
    return float(np.sqrt(((first - second) ** 2).sum())) / size if size else 0.0


def bits_per_weight(bits: float, group: int, scale_bits: int = 16) -> float:
    """Bits that a weight takes with its share of the group's scale and bias.

    Args:
        bits: of a code.
        group: weights that share a scale and a bias.
        scale_bits: of the scale, and of the bias.

    Example:
        bits_per_weight(4, 64)      # 4.5
    """
    return bits + 2 * scale_bits / group


def error_table(
    weights: ArrayLike, bits: Iterable[int] = (2, 3, 4, 5, 6, 8), groups: Iterable[int | None] = (16, 32, 64, None)
) -> list[dict[str, Any]]:
    """The relative error of a matrix for every pair of bits and group.

    Returns:
        Rows with "bits", "group" (in words), "bits per weight" and "error".

    Example:
        error_table(matrix, bits=(3, 4), groups=(32, 64))
    """
    whole = np.asarray(weights, np.float32)
    row = whole.shape[-1]
    return [
        {
            "bits": number,
            "group": _("row of {width}").format(width=row) if group is None else str(group),
            "bits per weight": bits_per_weight(number, group or row),
            "error": relative_error(whole, round_groups(whole, number, group).values),
        }
        for group in groups
        for number in bits
        if group is None or (group <= row and not row % group)
    ]


def levels(weights: ArrayLike, group: int = 32) -> int:
    """The most different values that any group of a matrix has: 16 at most if it was rounded to 4 bits before.

    Example:
        levels([[0.0, 1.0, 1.0, 0.0]], group=4)      # 2
    """
    whole = np.asarray(weights, np.float32)
    rows = np.sort(whole.reshape(-1, math.gcd(group, whole.shape[-1])), axis=-1)
    return int(1 + (np.diff(rows, axis=-1) > 0).sum(axis=-1).max())
