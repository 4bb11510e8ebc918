"""llama.cpp's types of weights: what their names say, what they cost, and what those that need no data lose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, LabError
from labs_helper.quantizing.rounding import relative_error
from labs_helper.serving import gguf_model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from labs_helper.models.model import Model

MADE = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")  # types that the package gguf can make

# Types that people meet in file names. The sizes of their blocks are those of the package gguf.
SHOWN = ("F16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K", "IQ2_XXS")


def package() -> Any:
    """The package gguf.

    Raises:
        LabError: it is not installed.

    Example:
        package().GGML_QUANT_SIZES
    """
    try:
        import gguf
    except ImportError as error:
        raise LabError(
            _("The package gguf is not installed."), _("Install it: pip install 'labs-helper[x86]'.")
        ) from error
    return gguf


def _told() -> dict[str, str]:
    return {
        "F16": _("a 16-bit number, not rounded to a grid"),
        "_0": _("a scale for each block; codes go both ways from zero"),
        "_1": _("a scale and a smallest value for each block, as MLX's affine groups have"),
        "_K": _("blocks of 256 in smaller groups, whose scales are rounded too; llama.cpp fits them"),
        "IQ": _("codes name entries of a table of patterns; llama.cpp chooses them with data of what matters"),
    }


def gguf_types() -> list[dict[str, Any]]:
    """The types that people meet in names of GGUF files.

    Returns:
        Rows with "type", "weights in a block", "bytes of a block", "bits per weight" and "what it is".

    Raises:
        LabError: the package gguf is not installed.

    Example:
        pandas.DataFrame(gguf_types())
    """
    gguf = package()
    told = _told()
    rows = []
    for name in SHOWN:
        weights, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
        key = "F16" if name == "F16" else "IQ" if name.startswith("IQ") else name[name.index("_") :]
        rows.append(
            {
                "type": name,
                "weights in a block": weights,
                "bytes of a block": size,
                "bits per weight": 8 * size / weights,
                "what it is": told[key],
            }
        )
    return rows


def round_as_gguf(weights: ArrayLike, kind: str) -> np.ndarray[Any, Any]:
    """A matrix as llama.cpp would read it back from a type of GGUF.

    Args:
        weights: the last axis must be a multiple of the type's block.
        kind: "Q8_0", "Q5_1", "Q5_0", "Q4_1" or "Q4_0": those that the package gguf can make.

    Raises:
        BadRequest: the package cannot make this type.
        LabError: the package gguf is not installed.

    Example:
        relative_error(matrix, round_as_gguf(matrix, "Q4_0"))
    """
    gguf = package()
    whole = np.ascontiguousarray(weights, np.float32)
    try:
        type_of = gguf.GGMLQuantizationType[kind.upper()]
        return np.asarray(gguf.quants.dequantize(gguf.quants.quantize(whole, type_of), type_of), np.float32)
    except (KeyError, NotImplementedError, gguf.quants.QuantError) as error:
        raise BadRequest(
            _("The package gguf cannot round this matrix to {kind} ({reason}).").format(kind=kind, reason=error),
            _("Use Q8_0, Q5_1, Q5_0, Q4_1 or Q4_0, and rows of whole blocks."),
        ) from error


def gguf_error(weights: ArrayLike, kind: str) -> float:
    """The relative error of a matrix in a type of GGUF; see `relative_error`.

    Example:
        gguf_error(matrix, "Q4_0")
    """
    return relative_error(weights, round_as_gguf(weights, kind))


def write_gguf(model: Model, folder: str | Path, kind: str = "Q8_0") -> Path:
    """Write a small phi3 model as a GGUF file whose matrices have one type. Returns the file.

    Types with a K in their name are fitted by llama.cpp's program `llama-quantize`: the package gguf reads them and
    cannot make them.

    Args:
        model: from `load`.
        folder: is made if it is missing.
        kind: one of `MADE`; norms and tables have 32 bits always.

    Raises:
        BadRequest: another kind, a model of another architecture, or a disk that does not take it.
        LabError: the package gguf is not installed.

    Example:
        load(write_gguf(load("instruct", tier="tiny"), "gguf/instruct-q8").parent)
    """
    if kind.upper() not in MADE:
        raise BadRequest(
            _("The package gguf cannot write {kind}.").format(kind=kind.upper()),
            _("Use one of these: {known}. The others need llama.cpp's own program.").format(known=", ".join(MADE)),
        )
    if model.card.architecture != "phi3" or model.path is None:
        raise BadRequest(
            _("{name} is no phi3 checkpoint, and only those are written here.").format(name=model.name),
            _("Use llama.cpp's own converter for other models."),
        )
    try:
        return gguf_model.convert(model.path, folder, kind.lower())
    except OSError as error:
        raise BadRequest(
            _("{folder} cannot be written ({reason}).").format(folder=folder, reason=error.strerror or error),
            _("Free some space, or name a place where you may write."),
        ) from error
