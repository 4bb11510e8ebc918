"""`look`: choose pictures, see what they cost and what the model sees of them, and ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import ipywidgets

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _
from labs_helper.errors import LabError
from labs_helper.figures.base import Figure
from labs_helper.figures.tiles import tile_view
from labs_helper.models.requests import sources
from labs_helper.pictures.images import checked_crops, layout
from labs_helper.widgets.controls import (
    Button,
    Change,
    Choice,
    Control,
    SamplingFields,
    Widget,
    button,
    checkbox,
    dropdown,
    html,
    on_change,
    row,
    text_field,
    title,
)
from labs_helper.widgets.jobs import as_model, error_words
from labs_helper.widgets.paste import PasteBox
from labs_helper.widgets.shown import (
    MOST_UPLOAD,
    Shown,
    choice_label,
    counted_pictures,
    course_choices,
    from_course,
    from_upload,
    opened,
)
from labs_helper.widgets.turns import Turn, TurnWidget

if TYPE_CHECKING:
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options
    from labs_helper.pictures.images import PictureSource

CROPS = (1, 4, 9, 16)
_LABEL = "9em"


@dataclass
class Asked(Turn):
    """One question about the pictures that were there when it was asked."""

    names: tuple[str, ...] = ()


class _Row:
    """A picture in the list, with buttons to move it and to take it out."""

    def __init__(self, number: int, move: Callable[[int, int], object], remove: Callable[[int], object]) -> None:
        self.text = html(width="32em")
        self.up = button(
            _("Move {number} up").format(number=number),
            lambda: move(number, -1),
            _("Show it to the model earlier"),
            width="10em",
        )
        self.down = button(
            _("Move {number} down").format(number=number),
            lambda: move(number, 1),
            _("Show it to the model later"),
            width="10em",
        )
        self.remove = button(
            _("Remove {number}").format(number=number),
            lambda: remove(number),
            _("Remove it from the list"),
            width="10em",
        )
        self.box = row(self.text, self.up, self.down, self.remove, centred=True)


class Look(TurnWidget[Asked]):
    """Pictures and questions about them. Made by `look`."""

    def __init__(
        self,
        model: Model | str | None = None,
        images: PictureSource | Sequence[PictureSource] | None = None,
        prompt: str = "",
        *,
        num_crops: int | None = None,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> None:
        self.log_label, self.nothing_yet = _("Questions and answers"), _("No questions yet.")
        self.refused = _("No answer. The reason is below; you can go on.")
        super().__init__(as_model("vision" if model is None else model))
        self.pictures: list[Shown] = []
        self._rows: list[_Row] = []
        self._own_crops = _own_crops(self.model)
        self.settings = SamplingFields(max_tokens=max_tokens, temperature=temperature, top_p=top_p)
        self._make_sources()
        self._make_list(num_crops)
        self.message = text_field(_("Your question"), prompt, enter=self.ask, label_width=_LABEL)
        self.ask_button: Button = button(
            _("Ask"), self.ask, _("Ask about all pictures in the list (or press Enter)"), primary=True
        )
        self._arrange()
        self._show_pictures()
        self.say(_("Choose a picture and ask about it."))
        # What the notebook names is what the learner named: no limits.
        for number, source in enumerate(sources(images), 1):
            self._extend(opened(source, number))

    # -- controls -----------------------------------------------------------------------------------------------

    def _make_sources(self) -> None:
        """The four ways in: pictures of the course, uploads, pasting, paths."""
        self._course = course_choices()
        choices = [(choice_label(name, pictures), name) for name, pictures in self._course.items()]
        self.choice: Choice[str] = dropdown(
            _("Course picture"), [(_("(choose)"), ""), *choices], "", width="30em", label_width=_LABEL
        )
        on_change(self.choice, self._preview)
        self.add_button = button(
            _("Add it"), lambda: self.add_course(self.choice.value), _("Add the chosen picture to the list")
        )
        self.preview = html()
        self.upload = ipywidgets.FileUpload(
            accept="image/*",
            multiple=True,
            description=_("Upload pictures"),
            icon="",  # an icon would be read aloud
            layout=ipywidgets.Layout(width="14em"),
        )
        self.upload.observe(self._uploaded, "value")
        self.paste = PasteBox(self._add_upload, self.say, MOST_UPLOAD)
        self.path = text_field(_("Path of a file"), enter=self._add_typed, width="30em", label_width=_LABEL)
        self.path_button = button(_("Add path"), self._add_typed, _("Open a picture or clip on this computer"))
        self.clear_button = button(_("Remove all"), self.clear, _("Empty the list of pictures"))

    def _make_list(self, num_crops: int | None) -> None:
        """The list, what it costs, and what the model sees of it."""
        self.rows: Widget = ipywidgets.VBox()
        self.cost = html()
        own = _("the model's own ({crops})") if self._own_crops else _("of the model")
        values = sorted({*CROPS, *([] if num_crops is None else [checked_crops(num_crops)])})
        self.crops: Choice[int] = dropdown(
            "num_crops",
            [(own.format(crops=self._own_crops), 0), *((str(crops), crops) for crops in values)],
            num_crops or 0,
            width="20em",
            label_width=_LABEL,
        )
        on_change(self.crops, self._show_pictures)
        self.views_box: Control[bool] = checkbox(_("Show what the model sees"))
        on_change(self.views_box, self._show_views)
        self.views = html()

    def _arrange(self) -> None:
        limit = _("at most {most} MB at once; larger ones by their path").format(most=MOST_UPLOAD // 1_000_000)
        self.children = (
            title(self._title()),
            row(self.choice, self.add_button, centred=True),
            self.preview,
            row(self.upload, html(f"<small>{escape(limit)}</small>"), centred=True),
            self.paste,
            row(self.path, self.path_button, self.clear_button, centred=True),
            self.rows,
            self.cost,
            row(self.crops, self.views_box, centred=True),
            self.views,
            self.message,
            row(self.ask_button, self.stop_button, centred=True),
            self.status,
            self.past,
            self.live,
            self.statistics,
            self.settings.row,
        )

    def _title(self) -> str:
        return _("Look with {model}").format(model=self.model.name)

    # -- pictures -----------------------------------------------------------------------------------------------

    def add(self, source: PictureSource) -> Look:
        """Put a picture (or the keyframes of a clip, by its path) at the end of the list.

        Errors appear in the widget, as they do for the buttons.

        Example:
            look("vision").add(picture("sign.png"))
        """
        return self._try(lambda: opened(source, len(self.pictures) + 1))

    def add_course(self, name: str) -> Look:
        """Put a picture, set or clip of the course into the list, by its name in images/vision/pictures.csv."""
        if name not in self._course:
            self.say(_("Choose a course picture first."))
            return self
        chosen = self._course[name]
        if not self.message.value.strip():
            self.message.value = chosen[0].question
        return self._try(lambda: from_course(chosen))

    def move(self, number: int, by: int) -> Look:
        """Move picture `number` (from 1) up (-1) or down (+1)."""
        at, to = number - 1, number - 1 + by
        if 0 <= at < len(self.pictures) and 0 <= to < len(self.pictures):
            self.pictures[at], self.pictures[to] = self.pictures[to], self.pictures[at]
            self._show_pictures()
            self.say(_("{name} is now picture {number}.").format(name=self.pictures[to].name, number=to + 1))
        return self

    def remove(self, number: int) -> Look:
        """Take picture `number` (from 1) out of the list."""
        if 0 < number <= len(self.pictures):
            gone = self.pictures.pop(number - 1)
            self._show_pictures()
            self.say(_("{name} was removed from the list.").format(name=gone.name))
        return self

    def clear(self) -> Look:
        """Empty the list."""
        self.pictures = []
        self._show_pictures()
        self.say(_("The list is empty."))
        return self

    @property
    def tokens(self) -> list[int] | None:
        """What each picture costs in the prompt; None while the model's num_crops is not known."""
        crops = self._crops
        if not crops:
            return None
        return [layout(shown.image.width, shown.image.height, crops).tokens for shown in self.pictures]

    @property
    def _crops(self) -> int | None:
        """The chosen num_crops, or else the model's own; None if that is not known."""
        return self.crops.value or self._own_crops

    def _try(self, open_them: Callable[[], list[Shown]]) -> Look:
        try:
            self._extend(open_them())
        except LabError as error:
            self.say(error_words(error))
        return self

    def _extend(self, shown: Sequence[Shown]) -> None:
        self.pictures = [*self.pictures, *shown]
        self._show_pictures()
        names = ", ".join(picture.name for picture in shown)
        self.say(_("{names}: added. {count} in the list.").format(names=names, count=len(self.pictures)))

    def _add_typed(self) -> None:
        typed = self.path.value.strip()
        if not typed:
            self.say(_("Type the path of a picture first."))
            return
        before = len(self.pictures)
        self.add(typed)
        if len(self.pictures) > before:
            self.path.value = ""

    def _uploaded(self, change: Change) -> None:
        files = change["new"]
        if not files:
            return
        self.upload.value = ()  # so that the same file can be sent again; comes back here with nothing
        for file in files:
            self._add_upload(str(file["name"]), bytes(file["content"]))

    def _add_upload(self, name: str, data: bytes) -> None:
        self._try(lambda: from_upload(name, data))

    def _preview(self) -> None:
        chosen = self._course.get(self.choice.value)
        if not chosen:
            self.preview.value = ""
            return
        try:
            shown = from_course(chosen)
        except LabError as error:
            self.preview.value = f"<p>{escape(error_words(error))}</p>"
            return
        if chosen[0].models == "both":
            words = _("A question for the tiny and the real model: {question}")
        else:
            words = _("A question for the real model: {question}")
        pictures = "".join(picture.html(200) for picture in shown)
        self.preview.value = f"<div>{pictures}<p>{escape(words.format(question=chosen[0].question))}</p></div>"

    def _show_pictures(self) -> None:
        # Rows stay and change their content: a button that was just pressed keeps the keyboard focus.
        while len(self._rows) < len(self.pictures):
            self._rows.append(_Row(len(self._rows) + 1, self.move, self.remove))
        del self._rows[len(self.pictures) :]
        for number, (line, shown, after) in enumerate(zip(self._rows, self.pictures, self._details()), 1):
            line.text.value = shown.html(90, f"{number}: ", after)
            line.up.disabled, line.down.disabled = number == 1, number == len(self.pictures)
        self.rows.children = [line.box for line in self._rows]
        self.cost.value = f"<p>{escape(self._cost_words())}</p>"
        self._show_views()

    def _details(self) -> list[str]:
        """Size and cost of each picture, for the end of a line."""
        costs = self.tokens
        if costs is None:
            return [f", {shown.size}" for shown in self.pictures]
        return [
            _(", {size}, {tokens:,} tokens").format(size=shown.size, tokens=cost)
            for shown, cost in zip(self.pictures, costs)
        ]

    def _cost_words(self) -> str:
        costs = self.tokens
        if not self.pictures:
            return _("No pictures yet.")
        pictures = counted_pictures(len(self.pictures))
        if costs is None:
            return _("{pictures}; choose num_crops to see what they cost.").format(pictures=pictures)
        words = _("{pictures}: {sum:,} tokens of the prompt.")
        if len(costs) > 1:
            words = _("{pictures}: {sum:,} tokens of the prompt ({parts}).")
        return words.format(pictures=pictures, sum=sum(costs), parts=" + ".join(f"{cost:,}" for cost in costs))

    def _show_views(self) -> None:
        crops = self._crops
        if not self.views_box.value or not self.pictures:
            self.views.value = ""
        elif not crops:
            self.views.value = f"<p>{escape(_('Choose num_crops to see the tiles.'))}</p>"
        else:
            self.views.value = "".join(
                tile_view(shown.image, crops, name=f"{number}: {shown.name}").html
                for number, shown in enumerate(self.pictures, 1)
            )

    # -- asking -------------------------------------------------------------------------------------------------

    def ask(self, question: str | None = None) -> Look:
        """Ask about all pictures of the list, in its order. Returns at once; `.wait()` waits for the answer.

        Args:
            question: replaces what is in the field.

        Example:
            look("vision", picture("sign.png")).ask("What does the sign say?").wait()
        """
        with self._lock:  # Enter and a click can arrive together, in two threads
            if question is not None:
                self.message.value = question
            text = self.message.value.strip()
            if not text or not self.pictures:
                self.say(_("Choose a picture first.") if text else _("Type a question first."))
                return self
            if not self._begin():
                return self
        options: Options = {
            **self.settings.options(),
            "images": [shown.image for shown in self.pictures],
            "num_crops": self.crops.value or None,
        }
        turn = Asked(text, names=tuple(shown.name for shown in self.pictures))
        self._ask_turn(turn, self.model.submit, **options)
        return self

    def static(self) -> Figure:
        name = self.model.name
        lines, parts = [f"{self._title()}. {self._cost_words()}"], []
        for number, (shown, after) in enumerate(zip(self.pictures, self._details()), 1):
            lines.append(printable(f"{number}: {shown.name}{after}. {shown.alt}"))
            parts.append(shown.html(160, f"{number}: ", after))
        for turn in self.turns:
            words = _("You (about {pictures}): {question}")
            lines.append(printable(words.format(pictures=", ".join(turn.names), question=turn.question)))
            lines += turn.lines(name)
        head = f"<p><strong>{escape(self._title())}.</strong> {escape(self._cost_words())}</p>"
        alt = _("{pictures} and {count} questions to {model}.")
        return Figure(
            html=f"<div>{head}{''.join(parts)}{self._finished}</div>",
            text="\n".join(lines),
            alt=alt.format(pictures=counted_pictures(len(self.pictures)), count=len(self.turns), model=name),
            rows=tuple(
                {"pictures": turn.names, "question": turn.question, "answer": turn.reply, "error": turn.error}
                for turn in self.turns
            ),
        )

    def _turn_html(self, *, growing: str | None = None, waiting: bool = False) -> str:
        about = "; ".join(f"{number}: {name}" for number, name in enumerate(self.turns[-1].names, 1))
        above = escape(_("About {pictures}").format(pictures=about))
        return f"<div><small>{above}</small></div>{super()._turn_html(growing=growing, waiting=waiting)}"

    def _set_enabled(self, enabled: bool) -> None:
        self.ask_button.disabled = not enabled


def look(
    model: Model | str | None = None,
    images: PictureSource | Sequence[PictureSource] | None = None,
    prompt: str = "",
    *,
    num_crops: int | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
) -> Look:
    """Ask a vision model about pictures.

    Pictures come from the course, from an upload or from a path; their order, their cost in tokens and the tiles that
    the model sees are shown. Each question is asked by itself, about all pictures of the list. Without a mouse:
    `look("vision", "a.png").ask("…").wait()`, or `model.ask("…", images=["a.png"])`.

    Args:
        model: a `Model`, a role, or None for "vision".
        images: one picture or a list (paths, bytes, Pillow images, arrays). The path of a clip gives its keyframes.
        prompt: the question in the field; it is not asked yet.
        num_crops: the largest number of tiles of a picture; None for the model's own.
        max_tokens: first value of the field.
        temperature: first value of the field.
        top_p: first value of the field.

    Returns:
        Look: `.add`, `.move`, `.remove`, `.clear`, `.ask`, `.stop`, `.wait`, `.last`, `.static`.

    Raises:
        BadRequest: unknown role.
        BadImage: one of `images` cannot be read.

    Example:
        look("vision", picture("sign.png"), "What does the sign say?")
    """
    return Look(model, images, prompt, num_crops=num_crops, max_tokens=max_tokens, temperature=temperature, top_p=top_p)


def _own_crops(model: Model) -> int | None:
    """The checkpoint's num_crops, from its file: the model itself is not read before the first question."""
    if model.path is None:
        return None
    try:
        settings: object = json.loads((model.path / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    crops = cast("dict[str, object]", settings).get("num_crops") if isinstance(settings, dict) else None
    return crops if isinstance(crops, int) and 1 <= crops <= 64 else None
