"""The pictures that a question is about: their order, what each costs, what came in and what did not. No widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, LabError
from labs_helper.pictures.images import layout
from labs_helper.widgets.shown import Shown, counted_pictures, not_described

MOST_PICTURES = 40  # in a list that a person fills by hand: no model here can read more


@dataclass(frozen=True)
class Arrival:
    """What became of one picture, file or path that a person gave.

    Attributes:
        words: one sentence that names it.
        refused: whether it did not come into the list.
    """

    words: str
    refused: bool = False


class PictureList:
    """Pictures in their order, each with a number of its own that moving does not change.

    Attributes:
        arrivals: what became of each picture that was given last, errors too.
        said: what happened to the list otherwise, in a sentence.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[int, Shown]] = []
        self._before: list[tuple[int, Shown]] | None = None  # the list before the last removal
        self._last = 0
        self.arrivals: tuple[Arrival, ...] = ()
        self.said = ""

    @property
    def pictures(self) -> list[Shown]:
        """The pictures in their order."""
        return [shown for _number, shown in self._entries]

    @property
    def entries(self) -> Sequence[tuple[int, Shown]]:
        """The same, each with its number."""
        return tuple(self._entries)

    @property
    def can_undo(self) -> bool:
        """Whether the last removal can be taken back."""
        return self._before is not None

    # -- in --------------------------------------------------------------------------------------------------------

    def extend(self, pictures: Sequence[Shown]) -> None:
        """Put pictures at the end of the list."""
        for shown in pictures:
            self._last += 1
            self._entries.append((self._last, shown))
        self._before, self.said = None, ""

    def begin(self) -> None:
        """Forget what became of the pictures that were given before."""
        self.arrivals = ()

    def take(self, name: str, open_them: Callable[[], Sequence[Shown]]) -> bool:
        """Open what a person gave and put it at the end; note what became of it, under its name.

        Args:
            name: of the file, picture or path.
            open_them: gives its pictures, or raises a `LabError`.

        Returns:
            Whether it is in the list now.
        """
        try:
            self._check_room()
            pictures = open_them()
        except LabError as error:
            self.refuse(name, str(error))
            return False
        self.extend(pictures)
        words = _("{name}: added.")
        if len(pictures) > 1:
            words = _("{name}: {pictures} added.")
        self._note(Arrival(words.format(name=name, pictures=counted_pictures(len(pictures)))))
        return True

    def refuse(self, name: str, reason: str) -> None:
        """Note that something did not come in. The name is said once."""
        words = reason if name and reason.startswith(name) else _("{name}: {reason}").format(name=name, reason=reason)
        self._note(Arrival(words if name else reason, refused=True))

    def _note(self, arrival: Arrival) -> None:
        self.arrivals = (*self.arrivals, arrival)

    def _check_room(self) -> None:
        if len(self._entries) >= MOST_PICTURES:
            raise BadRequest(
                _("The list is full: {most} pictures.").format(most=MOST_PICTURES), _("Remove some first.")
            )

    # -- in another order, and out ---------------------------------------------------------------------------------

    def move(self, place: int, by: int) -> None:
        """Move the picture at a place (from 0) earlier (-1) or later (+1)."""
        to = place + by
        if 0 <= place < len(self._entries) and 0 <= to < len(self._entries):
            self._entries[place], self._entries[to] = self._entries[to], self._entries[place]
            name = self._entries[to][1].name
            self._before = None
            self.said = _("{name} is now picture {number}.").format(name=name, number=to + 1)

    def remove(self, place: int) -> None:
        """Take the picture at a place (from 0) out of the list."""
        if 0 <= place < len(self._entries):
            self._before = list(self._entries)
            gone = self._entries.pop(place)[1]
            self.said = _("{name} was removed from the list.").format(name=gone.name)

    def clear(self) -> None:
        """Empty the list."""
        self._before = list(self._entries) if self._entries else None
        self._entries = []
        self.arrivals, self.said = (), _("The list is empty.")

    def undo(self) -> None:
        """Take back the last removal."""
        if self._before is not None:
            self._entries, self._before = self._before, None
            self.said = _("The list is as it was.")

    def describe(self, place: int, words: str) -> None:
        """Say what the picture at a place shows; nothing said means not described."""
        if 0 <= place < len(self._entries):
            number, shown = self._entries[place]
            self._entries[place] = number, replace(shown, alt=words.strip() or not_described())

    def place(self, number: int) -> int:
        """Where the picture with this number is, from 0; -1 if it is not in the list."""
        return next((place for place, (own, _shown) in enumerate(self._entries) if own == number), -1)

    # -- what it costs -----------------------------------------------------------------------------------------------

    def tokens(self, crops: int | None) -> list[int] | None:
        """What each picture costs in the prompt; None while num_crops is not known."""
        if not crops:
            return None
        return [layout(shown.image.width, shown.image.height, crops).tokens for shown in self.pictures]

    def facts(self, crops: int | None) -> list[str]:
        """Size and cost of each picture."""
        costs = self.tokens(crops)
        if costs is None:
            return [shown.size for shown in self.pictures]
        words = _("{size}, {tokens:,} tokens")
        return [words.format(size=shown.size, tokens=cost) for shown, cost in zip(self.pictures, costs, strict=True)]

    def total(self, crops: int | None) -> str:
        """What all of them cost, in a sentence."""
        costs = self.tokens(crops)
        if not self._entries:
            return _("No pictures yet.")
        pictures = counted_pictures(len(self._entries))
        if costs is None:
            return _("{pictures}; choose num_crops to see what they cost.").format(pictures=pictures)
        words = _("{pictures}: {sum:,} tokens of the prompt.")
        if len(costs) > 1:
            words = _("{pictures}: {sum:,} tokens of the prompt ({parts}).")
        return words.format(pictures=pictures, sum=sum(costs), parts=" + ".join(f"{cost:,}" for cost in costs))
