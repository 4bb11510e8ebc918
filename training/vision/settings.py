"""The numbers that shape the training of vision-tiny, by what they are about; sizes and steps are in recipes.toml."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.vision.tasks import MIX


@dataclass(frozen=True)
class TowerSettings:
    """The first stage: a tower that says what is in each cell."""

    parts: int = 1  # of a step
    pages: float = 0.75  # share of the pictures that are crowded pages; the others are those of the questions
    # Weights in the loss:
    empty: float = 0.3  # of an empty cell
    other: float = 2.0  # of a cell with something that is not a glyph
    colour: float = 0.3  # of a mark's colour
    place: float = 0.1  # of its cell's row and column


@dataclass(frozen=True)
class AnswerSettings:
    """Every stage in which the decoder learns to answer."""

    # On shapes alone the decoder learned more from the same pictures in steps of two parts than of one.
    parts: int = 2
    room: int = 200  # tokens of questions and answers about one picture
    in_turn: float = 0.12  # share of the pictures whose questions are asked one after the other, not side by side
    sparse: float = 0.75  # share of the parts that leave out most empty rows, while a stage is at that
    empty_shown: float = 0.1  # share of a picture's empty rows that such a part shows
    # Groups with several pictures are longer: a part holds this many times fewer of them.
    several: dict[str, int] = field(default_factory=lambda: {"pair": 2, "clip": 4})
    long_table: float = 0.15  # share of the parts that meet the long RoPE table, which is chosen for a whole request
    # Weights in the loss:
    pointing: float = 0.3  # of what tells some heads where to look
    dense: float = 0.5  # of what is in each cell, where all parts are trained together


@dataclass(frozen=True)
class SymbolSettings:
    """The second stage: kinds of pictures come in one after the other. All at once take many times longer."""

    # Share of the steps after which each kind comes in.
    enter: dict[str, float] = field(
        default_factory=lambda: {
            "lines": 0.0,
            "sign": 0.0,
            "shapes": 0.1,
            "objects": 0.1,
            "chart": 0.16,
            "table": 0.16,
            "crowd": 0.26,
            "pair": 0.32,
            "clip": 0.38,
        }
    )
    newest: float = 0.5  # share of the parts that are of the newest kinds ...
    newest_until: float = 0.44  # ... until this share of the steps


@dataclass(frozen=True)
class FitSettings:
    """The projection, fitted so that it says what the symbols say."""

    empty_share: float = 0.05  # of the empty cells that it is fitted to
    empty_weight: float = 0.3  # of each of them
    aim_steps: int = 300  # that move a separator to its row


@dataclass(frozen=True)
class FinishSettings:
    """The last stage: what pairs and clips still get wrong."""

    # Shares of the kinds of pictures.
    shares: dict[str, float] = field(
        default_factory=lambda: MIX | {"pair": 0.3, "clip": 0.7, "objects": 0.08, "sign": 0.2}
    )
    close: float = 0.2  # share of the parts that show only the rows with something in them, of pairs and clips
    close_groups: int = 6  # times as many groups fit into such a part
    pairs: float = 0.3  # share of pairs among those, and among conclusions; the others are clips
    # Weights in the loss:
    decisive: dict[str, float] = field(default_factory=lambda: {"▁different": 6.0, ";": 3.0})  # few among many tokens
    concluded: float = 4.0  # of the tokens of a conclusion from several pictures
    # Parts without pictures: a finished working, from which to conclude.
    conclusions: int = 6  # times as many texts in a part as there would be pictures
    # What follows from a working while it is written: whether two things differ.
    said: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"pair": (";", ".", "▁different"), "clip": (",", ";", ".", "▁different")}
    )


TOWER, ANSWERS, SYMBOLS, FIT, FINISH = (
    TowerSettings(), AnswerSettings(), SymbolSettings(), FitSettings(), FinishSettings()
)  # fmt: skip
BLOCK = 32  # groups whose features are put into the cache at a time
