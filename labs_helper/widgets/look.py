"""`look`: choose pictures, see what they cost and what the model sees of them, and ask."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, cast

import traitlets

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _
from labs_helper.errors import BadImage
from labs_helper.figures.base import Figure
from labs_helper.figures.tiles import tile_view
from labs_helper.models.requests import sources
from labs_helper.pictures.gallery import Picture
from labs_helper.pictures.images import checked_crops
from labs_helper.pictures.thumbnails import data_address
from labs_helper.widgets.jobs import as_model, still_answering
from labs_helper.widgets.look_words import page_words
from labs_helper.widgets.numbers import Sampling
from labs_helper.widgets.picture_list import PictureList
from labs_helper.widgets.shown import (
    MOST_UPLOAD,
    Shown,
    about_choice,
    counted_pictures,
    course_choices,
    from_course,
    from_upload,
    not_described,
    opened,
)
from labs_helper.widgets.turns import Turn, TurnView, turn_html

if TYPE_CHECKING:
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options
    from labs_helper.pictures.images import PictureSource

CROPS = (1, 4, 9, 16)
_THUMB = (88, 66)  # pixels of a small picture of the course, as in look.js
_MOST_WORDS = 500  # characters of a description


@dataclass
class Asked(Turn):
    """One question about the pictures that were there when it was asked."""

    names: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """The pictures, in their order."""
        names = "; ".join(f"{number}: {name}" for number, name in enumerate(self.names, 1))
        return _("About {pictures}").format(pictures=names)


class Look(TurnView[Asked]):
    """Pictures and questions about them. Made by `look`.

    Attributes:
        question: what is proposed in the field of the question, and what `ask` without a question asks.
        sampling: the settings of an answer.
        crops: the chosen num_crops; 0 for the model's own.
        tiles_open: whether what the model sees is shown.
        arrived: what became of each picture that was given last: {words, refused}.
    """

    PAGE: ClassVar[tuple[str, ...]] = ("look",)

    title = traitlets.Unicode().tag(sync=True)
    cards: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    small = traitlets.Dict().tag(sync=True)  # number of a picture -> a small copy; apart, as it is large
    total = traitlets.Unicode().tag(sync=True)
    arrived: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    list_said = traitlets.Unicode().tag(sync=True)
    can_undo = traitlets.Bool().tag(sync=True)
    crops = traitlets.Int().tag(sync=True)
    crop_choices: traitlets.List[list[str | int]] = traitlets.List().tag(sync=True)
    tiles_open = traitlets.Bool().tag(sync=True)
    tiles: traitlets.List[str] = traitlets.List().tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)
    suggestions: traitlets.List[str] = traitlets.List().tag(sync=True)
    numbers: traitlets.List[dict[str, object]] = traitlets.List().tag(sync=True)
    most_bytes = traitlets.Int(MOST_UPLOAD).tag(sync=True)

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
        own = as_model("vision" if model is None else model)
        self.refused = _("No answer. The reason is with the question; you can go on.")
        self.sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
        self._list = PictureList()
        self._batch = 0  # of the files that came last
        self._course = course_choices()
        self._own_crops = _own_crops(own)
        self._prompt = prompt
        super().__init__(
            own,
            words=page_words(),
            title=_("Look with {model}").format(model=printable(own.name)),
            crops=0 if num_crops is None else checked_crops(num_crops),
            crop_choices=_crop_choices(self._own_crops, num_crops),
            question=prompt,
            numbers=self.sampling.page(),
        )
        self._listen()
        self._show_list()
        self.say(_("Choose a picture and ask about it."))
        # What the notebook names is what the learner named: no limits.
        for number, source in enumerate(sources(images), 1):
            self._list.extend(opened(source, number))
            self._show_list()

    def _listen(self) -> None:
        """What the page may ask for."""
        self.on_page("strip", self._send_strip)
        self.on_page("course", self._add_chosen, name=str)
        self.on_page("file", self._add_file, batch=int, name=str, data=bytes)
        self.on_page("too_large", self._too_large, batch=int, name=str, tenths=int)
        self.on_page("unreadable", self._unreadable, batch=int, name=str)
        self.on_page("no_file", self._no_file, batch=int)
        self.on_page("path", self._add_typed, text=str)
        self.on_page("move", lambda picture, by: self._change(self._list.move, picture, by), picture=int, by=int)
        self.on_page("remove", lambda picture: self._change(self._list.remove, picture), picture=int)
        self.on_page("describe", self._describe, picture=int, text=str)
        self.on_page("clear", lambda: self._done(self.clear()))
        self.on_page("undo", lambda: self._done(self.undo()))
        self.on_page("crops", self._choose_crops, value=int)
        self.on_page("tiles", self._open_tiles, on=bool)
        self.on_page("set", self._set, name=str, text=str)
        self.on_page("ask", self._ask, text=str)

    # -- pictures -----------------------------------------------------------------------------------------------

    @property
    def pictures(self) -> list[Shown]:
        """The pictures of the list, in their order."""
        return self._list.pictures

    def add(self, source: PictureSource) -> Look:
        """Put a picture (or the keyframes of a clip, by its path) at the end of the list.

        Errors appear in the widget, as they do for the buttons.

        Example:
            look("vision").add(picture("sign.png"))
        """
        number = len(self.pictures) + 1
        name = source if isinstance(source, str) else getattr(source, "name", "") or _("picture")
        self._list.begin()
        self._list.take(str(name), lambda: opened(source, number))
        return self._done()

    def add_course(self, name: str) -> Look:
        """Put a picture, set or clip of the course into the list, by its name in images/vision/pictures.csv."""
        self._list.begin()
        chosen = self._course.get(name)
        if chosen is None:
            self._list.refuse(name, _("The course has no such picture."))
        elif self._list.take(name, lambda: from_course(chosen)) and not self.question:
            self.question = chosen[0].question
        return self._done()

    def move(self, number: int, by: int) -> Look:
        """Move picture `number` (from 1) up (-1) or down (+1)."""
        self._list.move(number - 1, by)
        return self._done()

    def remove(self, number: int) -> Look:
        """Take picture `number` (from 1) out of the list."""
        self._list.remove(number - 1)
        return self._done()

    def clear(self) -> Look:
        """Empty the list."""
        self._list.clear()
        return self._done()

    def undo(self) -> Look:
        """Take back the last `remove` or `clear`."""
        self._list.undo()
        return self._done()

    @property
    def tokens(self) -> list[int] | None:
        """What each picture costs in the prompt; None while the model's num_crops is not known."""
        return self._list.tokens(self._crops)

    @property
    def _crops(self) -> int | None:
        """The chosen num_crops, or else the model's own; None if that is not known."""
        return self.crops or self._own_crops

    def _done(self, _result: object = None) -> Look:
        self._show_list()
        return self

    def _show_list(self) -> None:
        """Bring the list to the page."""
        facts = self._list.facts(self._crops)
        plain = not_described()
        with self.hold_sync():
            self.cards = [
                {
                    "id": number,
                    "name": printable(shown.name),
                    "facts": about,
                    "alt": "" if shown.alt == plain else printable(shown.alt),
                }
                for (number, shown), about in zip(self._list.entries, facts, strict=True)
            ]
            self.small = {
                str(number): self.small.get(str(number)) or shown.small for number, shown in self._list.entries
            }
            self.total = self._list.total(self._crops)
            self.arrived = [{"words": printable(one.words), "refused": one.refused} for one in self._list.arrivals]
            self.list_said, self.can_undo = printable(self._list.said), self._list.can_undo
            if not self.pictures and self.question != self._prompt:
                self.question = ""  # it was about what is gone
            self._show_suggestions()
        self._show_tiles()

    def _show_suggestions(self) -> None:
        """Questions that were not asked yet: the notebook's, and those of the pictures in the list."""
        asked = {turn.question for turn in self.turns}
        known = dict.fromkeys([self._prompt, *(shown.question for shown in self.pictures)])
        self.suggestions = [text for text in known if text and text not in asked and text != self.question]

    def _show_tiles(self) -> None:
        """Draw what the model sees; only while a person looks at it, as it takes a moment."""
        if not self.tiles_open or not self.pictures:
            self.tiles = []
        elif not (crops := self._crops):
            advice = escape(_("Choose num_crops to see the tiles."))
            self.tiles = [f"<p>{advice}</p>"]
        else:
            self.tiles = [
                tile_view(shown.image, crops, name=f"{number}: {shown.name}").html
                for number, shown in enumerate(self.pictures, 1)
            ]

    # -- what the page sends --------------------------------------------------------------------------------------

    def _change(self, act: Callable[..., None], picture: int, *given: object) -> None:
        """Do something with the picture that has a number; what is gone already is left alone."""
        place = self._list.place(picture)
        if place >= 0:
            act(place, *given)
            self._show_list()

    def _describe(self, picture: int, text: str) -> None:
        self._change(self._list.describe, picture, text[:_MOST_WORDS])

    def _add_chosen(self, name: str) -> None:
        self.add_course(name)

    def _add_typed(self, text: str) -> str | None:
        if not text.strip():
            return _("Type the path of a picture first.")
        self.add(text.strip())
        refused = [one.words for one in self._list.arrivals if one.refused]
        return " ".join(refused) or None

    def _add_file(self, batch: int, name: str, data: bytes) -> None:
        self._begin_batch(batch)
        name = name or _("pasted picture")
        self._list.take(name, lambda: from_upload(name, data))
        self._show_list()

    def _too_large(self, batch: int, name: str, tenths: int) -> None:
        self._begin_batch(batch)
        words = _("{name} has {size:.1f} MB, too much for one message. Type its path instead, or make it smaller.")
        self._list.refuse(name, words.format(name=name, size=tenths / 10))
        self._show_list()

    def _unreadable(self, batch: int, name: str) -> None:
        self._begin_batch(batch)
        self._list.refuse(name, _("The browser cannot read it. Is it a folder, or was it moved?"))
        self._show_list()

    def _no_file(self, batch: int) -> None:
        self._begin_batch(batch)
        words = _("There is no picture in what was pasted. Copy a picture first, or drop a file.")
        self._list.refuse("", words)
        self._show_list()

    def _begin_batch(self, batch: int) -> None:
        """Files that were chosen, dropped or pasted together have one number: what became of them is told together."""
        if batch != self._batch:
            self._batch = batch
            self._list.begin()

    def _choose_crops(self, value: int) -> str | None:
        if value not in {choice for _label, choice in self.crop_choices}:
            return _("There is no such choice of num_crops.")
        self.crops = value
        self._show_list()
        return None

    def _open_tiles(self, on: bool) -> None:
        self.tiles_open = on
        self._show_tiles()

    def _set(self, name: str, text: str) -> None:
        self.sampling.take(name, text)
        self.numbers = self.sampling.page()

    def _send_strip(self) -> None:
        """Tell a page what the course has; the small pictures follow when they are made."""
        pictures = [
            {
                "name": name,
                "about": about_choice(own),
                "kind": own[0].scenario,
            }
            for name, own in self._course.items()
        ]
        self.tell("strip", pictures=pictures, kinds=list(dict.fromkeys(one["kind"] for one in pictures)))
        threading.Thread(target=self._send_thumbs, name="labs-thumbs", daemon=True).start()

    def _send_thumbs(self) -> None:
        for name, own in self._course.items():
            try:
                self.tell("thumb", name=name, small=_thumb(own[0]))
            except BadImage:
                continue  # its name is there; who presses it reads the reason

    # -- asking -------------------------------------------------------------------------------------------------

    def ask(self, question: str | None = None) -> Look:
        """Ask about all pictures of the list, in its order. Returns at once; `.wait()` waits for the answer.

        Args:
            question: replaces what is in the field.

        Example:
            look("vision", picture("sign.png")).ask("What does the sign say?").wait()
        """
        if reason := self._ask(self.question if question is None else question):
            self.say(reason)
        return self

    def _ask(self, text: str) -> str | None:
        """Ask, or say why not."""
        text = text.strip()
        with self._lock:  # two pages can ask together
            if not text:
                return _("Type a question first.")
            if not self.pictures:
                return _("Choose a picture first.")
            if self.sampling.problem:
                return self.sampling.problem
            if not self._begin():
                return still_answering()
        options: Options = {
            **self.sampling.options(),
            "images": [shown.image for shown in self.pictures],
            "num_crops": self.crops or None,
        }
        self.question = ""
        turn = Asked(text, names=tuple(shown.name for shown in self.pictures))
        self._ask_turn(turn, self.model.submit, **options)
        self._show_suggestions()
        return None

    def _say_loading(self, name: str, seconds: float | None) -> None:
        if seconds is None:
            super()._say_loading(name, seconds)
        else:
            self.say(_("Loaded in {seconds:.1f} s. {reading}").format(seconds=seconds, reading=self._reading()))

    def _waiting(self) -> str:
        return self._reading() if self.model.loaded else super()._waiting()

    def _reading(self) -> str:
        """What the model does until its first word."""
        pictures, tokens = counted_pictures(len(self.pictures)), self.tokens
        if tokens is None:
            return _("Reading {pictures}…").format(pictures=pictures)
        return _("Reading {pictures}, {tokens:,} tokens…").format(pictures=pictures, tokens=sum(tokens))

    def _turn_facts(self, number: int, turn: Asked) -> dict[str, Any]:
        return {**super()._turn_facts(number, turn), "about": printable(turn.about)}

    def _failed(self, error: BaseException) -> None:
        self.question = self.turns[-1].question  # to be asked again, in the field if that is empty
        super()._failed(error)

    def static(self) -> Figure:
        name = self.model.name
        total = self._list.total(self._crops)
        lines, parts = [f"{self.title}. {total}"], []
        for number, (shown, facts) in enumerate(zip(self.pictures, self._list.facts(self._crops), strict=True), 1):
            lines.append(printable(f"{number}: {shown.name}, {facts}. {shown.alt}"))
            parts.append(shown.html(160, f"{number}: ", f", {facts}"))
        for turn in self.turns:
            words = _("You (about {pictures}): {question}")
            lines.append(printable(words.format(pictures=", ".join(turn.names), question=turn.question)))
            lines += turn.lines(name)
            parts.append(f"<div><small>{escape(turn.about)}</small></div>{turn_html(turn, name)}")
        head = f"<p><strong>{escape(self.title)}.</strong> {escape(total)}</p>"
        alt = _("{pictures} and {count} questions to {model}.")
        return Figure(
            html=f"<div>{head}{''.join(parts)}</div>",
            text="\n".join(lines),
            alt=alt.format(pictures=counted_pictures(len(self.pictures)), count=len(self.turns), model=name),
            rows=tuple(
                {"pictures": turn.names, "question": turn.question, "answer": turn.reply, "error": turn.error}
                for turn in self.turns
            ),
        )


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

    Pictures come from the course, from an upload, from the clipboard or from a path; their order, their cost in tokens
    and the tiles that the model sees are shown. Each question is asked by itself, about all pictures of the list.
    Without a mouse: `look("vision", "a.png").ask("…").wait()`, or `model.ask("…", images=["a.png"])`.

    Args:
        model: a `Model`, a role, or None for "vision".
        images: one picture or a list (paths, bytes, Pillow images, arrays). The path of a clip gives its keyframes.
        prompt: the question in the field; it is not asked yet.
        num_crops: the largest number of tiles of a picture; None for the model's own.
        max_tokens: first value of the field.
        temperature: first value of the field.
        top_p: first value of the field.

    Returns:
        Look: `.add`, `.move`, `.remove`, `.undo`, `.clear`, `.ask`, `.stop`, `.wait`, `.last`, `.static`.

    Raises:
        BadRequest: unknown role.
        BadImage: one of `images` cannot be read.

    Example:
        look("vision", picture("sign.png"), "What does the sign say?")
    """
    return Look(model, images, prompt, num_crops=num_crops, max_tokens=max_tokens, temperature=temperature, top_p=top_p)


@cache
def _thumb(picture: Picture) -> str:
    """A small copy of a picture of the course: made once for all widgets."""
    # Of a copy of the entry, since an entry keeps its large picture once it was asked for it.
    return data_address(replace(picture).image, *_THUMB)


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


def _crop_choices(own: int | None, num_crops: int | None) -> list[list[str | int]]:
    """The choices of num_crops: words and value; 0 leaves it to the model."""
    words = _("the model's own ({crops})") if own else _("of the model")
    values = sorted({*CROPS, *([] if num_crops is None else [num_crops])})
    chosen: list[list[str | int]] = [[str(crops), crops] for crops in values]
    return [[words.format(crops=own), 0], *chosen]
