"""`look`: choose pictures, see what they cost and what the model sees of them, and ask."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from labs_helper.common.markup import escape, printable
from labs_helper.errors import BadImage, LabError
from labs_helper.figures.base import Figure
from labs_helper.figures.tiles import tile_view
from labs_helper.pictures.gallery import Picture, course_pictures, folder, is_clip
from labs_helper.pictures.images import checked_crops, layout, open_image
from labs_helper.pictures.keyframes import keyframes
from labs_helper.pictures.thumbnails import data_address
from labs_helper.widgets.base import as_model, controls, error_words, on_enter
from labs_helper.widgets.conversation import Turn, TurnWidget
from labs_helper.widgets.paste import PasteBox

if TYPE_CHECKING:
    from PIL import Image

# The notebook server refuses messages above 10 MB, and an upload is one message.
MOST_UPLOAD = 7_000_000  # bytes of one upload
CLIP_FRAMES = 4  # a clip becomes this many pictures
CROPS = (1, 4, 9, 16)
NO_ALT = "no description"


@dataclass(frozen=True)
class Shown:
    """A picture in the list: what it is called, itself, and what it shows in words."""

    name: str
    image: Image.Image = field(repr=False)
    alt: str = NO_ALT

    @cached_property
    def small(self) -> str:
        """A small copy as a data address: made once, shown in several places."""
        return data_address(self.image, 200, 200)


@dataclass
class Asked(Turn):
    """One question about the pictures that were there when it was asked."""

    names: tuple[str, ...] = ()


class Look(TurnWidget):
    """Pictures and questions about them. Made by `look`."""

    def __init__(
        self,
        model: Any = None,
        images: Any = None,
        prompt: str = "",
        *,
        num_crops: int | None = None,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> None:
        self.model = as_model("vision" if model is None else model)
        self.pictures: list[Shown] = []
        self.turns: list[Asked] = []
        self._words: list[str] = []
        self._finished = ""
        self._own_crops = _own_crops(self.model)
        self._course = _course()
        style, wide = {"description_width": "9em"}, ipywidgets.Layout(width="99%")
        row = ipywidgets.Layout(flex_flow="row wrap", overflow="visible", align_items="center")
        self.choice = ipywidgets.Dropdown(
            options=[("(choose)", ""), *((_label(name, rows), name) for name, rows in self._course.items())],
            value="",
            description="Course picture",
            style=style,
            layout=ipywidgets.Layout(width="30em"),
        )
        self.add_button = ipywidgets.Button(description="Add it", tooltip="Put the chosen picture into the list")
        self.preview = ipywidgets.HTML()
        self.upload = ipywidgets.FileUpload(
            accept="image/*",
            multiple=True,
            description="Upload pictures",
            icon="",  # an icon would be read aloud
            layout=ipywidgets.Layout(width="14em"),
        )
        self.paste = PasteBox(self._pasted, self.say, MOST_UPLOAD)
        self.path = ipywidgets.Text(description="Path of a file", style=style, layout=ipywidgets.Layout(width="30em"))
        self.path_button = ipywidgets.Button(description="Add path", tooltip="Open a picture or clip of this computer")
        self.clear_button = ipywidgets.Button(description="Remove all", tooltip="Empty the list of pictures")
        self.rows = ipywidgets.VBox()
        self.cost = ipywidgets.HTML()
        own = "of the model" + (f" ({self._own_crops})" if self._own_crops else "")
        values = sorted({*CROPS, *([] if num_crops is None else [checked_crops(num_crops)])})
        self.crops = ipywidgets.Dropdown(
            options=[(own, 0), *((str(n), n) for n in values)],
            value=num_crops or 0,
            description="num_crops",
            style=style,
            layout=ipywidgets.Layout(width="20em"),
        )
        self.views_box = ipywidgets.Checkbox(description="Show what the model sees", value=False, indent=False)
        self.views = ipywidgets.HTML()
        self.message = ipywidgets.Text(value=prompt, description="Your question", style=style, layout=wide)
        self.ask_button = ipywidgets.Button(
            description="Ask", button_style="primary", tooltip="Ask about all pictures in the list (or press Enter)"
        )
        self.past, self.live, self.statistics = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        self.settings = controls(max_tokens=max_tokens, temperature=temperature, top_p=top_p)
        super().__init__()
        self.choice.observe(lambda _: self._preview(), "value")
        self.add_button.on_click(lambda _: self.add_course(self.choice.value))
        self.upload.observe(self._uploaded, "value")
        self.path_button.on_click(lambda _: self._add_typed())
        on_enter(self.path, self._add_typed)
        self.clear_button.on_click(lambda _: self.clear())
        self.crops.observe(lambda _: self._show_pictures(), "value")
        self.views_box.observe(lambda _: self._show_views(), "value")
        self.ask_button.on_click(lambda _: self.ask())
        on_enter(self.message, self.ask)
        limit = f"<small>at most {MOST_UPLOAD // 1_000_000} MB at once; larger ones by their path</small>"
        self.children = (
            ipywidgets.HTML(f"<strong>Look with {escape(self.model.name)}</strong>"),
            ipywidgets.HBox([self.choice, self.add_button], layout=row),
            self.preview,
            ipywidgets.HBox([self.upload, ipywidgets.HTML(limit)], layout=row),
            self.paste,
            ipywidgets.HBox([self.path, self.path_button, self.clear_button], layout=row),
            self.rows,
            self.cost,
            ipywidgets.HBox([self.crops, self.views_box], layout=row),
            self.views,
            self.message,
            ipywidgets.HBox([self.ask_button, self.stop_button], layout=row),
            self.status,
            self.past,
            self.live,
            self.statistics,
            ipywidgets.HBox(list(self.settings.values()), layout=row),
        )
        self._show()
        self._show_pictures()
        self.say("Choose a picture and ask about it.")
        given = [] if images is None else list(images) if isinstance(images, (list, tuple)) else [images]
        for number, source in enumerate(given, 1):  # what the notebook names is what the learner named: no limits
            self._extend(_opened(source, number))

    # -- pictures -----------------------------------------------------------------------------------------------

    def add(self, source: Any) -> Look:
        """Put a picture (or the keyframes of a clip, by its path) at the end of the list.

        Errors appear in the widget, as they do for the buttons.

        Example:
            >>> look("vision").add("images/vision/sign.png")              # doctest: +SKIP
        """
        return self._try(lambda: _opened(source, len(self.pictures) + 1))

    def add_course(self, name: str) -> Look:
        """Put a picture, set or clip of the course into the list, by its name in images/vision/pictures.csv."""
        if name not in self._course:
            self.say("Choose a course picture first.")
            return self
        chosen = self._course[name]
        if not self.message.value.strip():
            self.message.value = chosen[0].question
        return self._try(lambda: [shown for one in chosen for shown in _from_course(one)])

    def move(self, number: int, by: int) -> Look:
        """Move picture `number` (from 1) up (-1) or down (+1)."""
        at, to = number - 1, number - 1 + by
        if 0 <= at < len(self.pictures) and 0 <= to < len(self.pictures):
            self.pictures[at], self.pictures[to] = self.pictures[to], self.pictures[at]
            self._show_pictures()
            self.say(f"{self.pictures[to].name} is now picture {to + 1}.")
        return self

    def remove(self, number: int) -> Look:
        """Take picture `number` (from 1) out of the list."""
        if 0 < number <= len(self.pictures):
            gone = self.pictures.pop(number - 1)
            self._show_pictures()
            self.say(f"{gone.name} is out of the list.")
        return self

    def clear(self) -> Look:
        """Empty the list."""
        self.pictures = []
        self._show_pictures()
        self.say("The list is empty.")
        return self

    @property
    def tokens(self) -> list[int] | None:
        """What each picture costs in the prompt; None while the model's num_crops is not known."""
        crops = self.crops.value or self._own_crops
        return [layout(*shown.image.size, crops).tokens for shown in self.pictures] if crops else None

    def _try(self, open_them) -> Look:
        try:
            self._extend(open_them())
        except LabError as error:
            self.say(error_words(error))
        return self

    def _extend(self, shown: Sequence[Shown]) -> None:
        self.pictures = [*self.pictures, *shown]
        self._show_pictures()
        self.say(f"{', '.join(one.name for one in shown)}: added. {len(self.pictures)} in the list.")

    def _add_typed(self) -> None:
        typed = self.path.value.strip()
        if not typed:
            self.say("Type the path of a picture first.")
            return
        before = len(self.pictures)
        self.add(typed)
        if len(self.pictures) > before:
            self.path.value = ""

    def _uploaded(self, change: Any) -> None:
        files = change["new"]
        if not files:
            return
        self.upload.value = ()  # so that the same file can be sent again; comes back here with nothing
        for file in files:
            self._pasted(str(file["name"]), bytes(file["content"]))

    def _pasted(self, name: str, data: bytes) -> None:
        self._try(lambda: [_from_upload(name, data)])

    def _preview(self) -> None:
        name = self.choice.value
        if name not in self._course:
            self.preview.value = ""
            return
        chosen = self._course[name]
        try:
            shown = [shown for one in chosen for shown in _from_course(one)]
        except LabError as error:
            self.preview.value = f"<p>{escape(error_words(error))}</p>"
            return
        pictures = "".join(_figure(one, 200) for one in shown)
        words = "for the tiny and the real model" if chosen[0].models == "both" else "for the real model"
        self.preview.value = f"<div>{pictures}<p>A question {words}: {escape(chosen[0].question)}</p></div>"

    def _show_pictures(self) -> None:
        # Slots stay and change their content: a button that was just pressed keeps the keyboard focus.
        slots = list(self.rows.children)
        while len(slots) < len(self.pictures):
            slots.append(self._slot(len(slots) + 1))
        slots = slots[: len(self.pictures)]
        costs = self.tokens
        for number, (slot, shown) in enumerate(zip(slots, self.pictures), 1):
            text, up, down, _ = slot.children
            cost = f", {costs[number - 1]:,} tokens" if costs else ""
            text.value = _figure(shown, 90, f"{number}: ", f", {_size(shown)} pixels{cost}")
            up.disabled, down.disabled = number == 1, number == len(self.pictures)
        self.rows.children = slots
        self.cost.value = f"<p>{escape(self._cost_words())}</p>"
        self._show_views()

    def _slot(self, number: int) -> ipywidgets.HBox:
        def button(words: str, tip: str, act) -> ipywidgets.Button:
            made = ipywidgets.Button(description=words, tooltip=tip, layout=ipywidgets.Layout(width="10em"))
            made.on_click(lambda _: act())
            return made

        text = ipywidgets.HTML(layout=ipywidgets.Layout(width="32em"))
        return ipywidgets.HBox(
            [
                text,
                button(f"Move {number} up", "Show it to the model earlier", lambda: self.move(number, -1)),
                button(f"Move {number} down", "Show it to the model later", lambda: self.move(number, 1)),
                button(f"Remove {number}", "Take it out of the list", lambda: self.remove(number)),
            ],
            layout=ipywidgets.Layout(flex_flow="row wrap", overflow="visible", align_items="center"),
        )

    def _cost_words(self) -> str:
        costs = self.tokens
        if not self.pictures:
            return "No pictures yet."
        if costs is None:
            return f"{_pictures(len(self.pictures))}; choose num_crops to see what they cost."
        parts = f" ({' + '.join(f'{n:,}' for n in costs)})" if len(costs) > 1 else ""
        return f"{_pictures(len(costs))}: {sum(costs):,} tokens of the prompt{parts}."

    def _show_views(self) -> None:
        crops = self.crops.value or self._own_crops
        if not self.views_box.value or not self.pictures:
            self.views.value = ""
        elif not crops:
            self.views.value = "<p>Choose num_crops to see the tiles.</p>"
        else:
            self.views.value = "".join(
                tile_view(one.image, crops, name=f"{number}: {one.name}").html
                for number, one in enumerate(self.pictures, 1)
            )

    # -- asking -------------------------------------------------------------------------------------------------

    def ask(self, question: str | None = None) -> Look:
        """Ask about all pictures of the list, in its order. Returns at once; `.wait()` waits for the answer.

        Arguments:
            question: replaces what is in the field.

        Example:
            >>> look("vision", "images/vision/sign.png").ask("What does the sign say?").wait()   # doctest: +SKIP
        """
        with self._lock:  # Enter and a click can arrive together, in two threads
            if question is not None:
                self.message.value = question
            text = self.message.value.strip()
            if not text or not self.pictures:
                self.say("Choose a picture first." if text else "Type a question first.")
                return self
            if not self._begin():
                self.say("Still answering. Wait, or press Stop first.")
                return self
        names = tuple(one.name for one in self.pictures)
        self._words = []
        self.turns.append(Asked(text, names=names))
        self.live.value = self._turn_html(waiting=True)
        self.statistics.value = ""
        self.say("Waiting for the model…")
        self._start(
            self.model,
            text,
            on_token=self._on_token,
            on_done=self._on_done,
            images=[one.image for one in self.pictures],
            num_crops=self.crops.value or None,
            **{name: field.value for name, field in self.settings.items()},
        )
        return self

    @property
    def last(self) -> Any:
        """The last `Answer`, or None."""
        return next((turn.answer for turn in reversed(self.turns) if turn.answer is not None), None)

    def static(self) -> Figure:
        name = self.model.name
        costs = self.tokens or [None] * len(self.pictures)
        lines, parts = [f"Look with {name}. {self._cost_words()}"], []
        for number, (shown, cost) in enumerate(zip(self.pictures, costs), 1):
            tail = f", {_size(shown)} pixels" + (f", {cost:,} tokens" if cost else "")
            lines.append(printable(f"{number}: {shown.name}{tail}. {shown.alt}"))
            parts.append(_figure(shown, 160, f"{number}: ", tail))
        for turn in self.turns:
            lines.append(printable(f"You (about {', '.join(turn.names)}): {turn.question}"))
            if turn.error:
                lines.append(f"Error: {printable(turn.error)}")
            elif turn.answer is not None:
                ends = {"cancelled": " (stopped)", "length": " (cut at max tokens)"}
                lines.append(f"{name}: {printable(turn.reply)}{ends.get(turn.answer.finish_reason, '')}")
        html = f"<p><strong>Look with {escape(name)}.</strong> {escape(self._cost_words())}</p>{''.join(parts)}"
        return Figure(
            html=f"<div>{html}{self._finished}</div>",
            text="\n".join(lines),
            alt=f"{_pictures(len(self.pictures))} and {len(self.turns)} questions to {name}.",
            rows=tuple(
                {"pictures": turn.names, "question": turn.question, "answer": turn.reply, "error": turn.error}
                for turn in self.turns
            ),
        )

    def _turn_html(self, **how: Any) -> str:
        turn = self.turns[-1]
        about = "; ".join(f"{number}: {name}" for number, name in enumerate(turn.names, 1))
        return f"<div><small>About {escape(about)}</small></div>{super()._turn_html(**how)}"

    def _show(self) -> None:
        words = self._finished or "<p>No questions yet.</p>"
        self.past.value = f'<div role="log" aria-label="Questions and answers">{words}</div>'

    def _set_enabled(self, enabled: bool) -> None:
        self.ask_button.disabled = not enabled


def look(
    model: Any = None,
    images: Any = None,
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

    Arguments:
        model: a `Model`, a role, or None for "vision".
        images: one picture or a list (paths, bytes, Pillow images, arrays). The path of a clip gives its keyframes.
        prompt: the question in the field; it is not asked yet.
        num_crops: the largest number of tiles of a picture; None for the model's own.
        max_tokens, temperature, top_p: first values of the settings.

    Returns:
        Look: `.add`, `.move`, `.remove`, `.clear`, `.ask`, `.stop`, `.wait`, `.last`, `.static`.

    Raises:
        BadRequest: unknown role. BadImage: one of `images` cannot be read.

    Example:
        >>> look("vision", "images/vision/sign.png", "What does the sign say?")      # doctest: +SKIP
    """
    return Look(model, images, prompt, num_crops=num_crops, max_tokens=max_tokens, temperature=temperature, top_p=top_p)


# -- where pictures come from -----------------------------------------------------------------------------------


def _course() -> dict[str, list[Picture]]:
    """Name of a picture or set -> its pictures."""
    found: dict[str, list[Picture]] = {}
    for one in course_pictures():
        found.setdefault(one.set or one.name, []).append(one)
    return found


def _label(name: str, pictures: Sequence[Picture]) -> str:
    many = f", {_pictures(len(pictures))}" if len(pictures) > 1 else ", clip" if pictures[0].is_clip else ""
    return f"{pictures[0].scenario}: {name}{many}"


def _from_course(one: Picture) -> list[Shown]:
    if one.is_clip:
        return _frames(one.path, one.alt, inside=folder())
    return [Shown(one.name, one.image, one.alt)]


def _frames(path: Path, alt: str, inside: Path | None = None) -> list[Shown]:
    """The keyframes of a clip. The first one carries the description of the whole."""
    return [
        Shown(
            f"{path.name}, frame {frame.index}",
            frame.image,
            f"Frame {frame.index} of the same clip." if number else f"Frame {frame.index}. {alt}",
        )
        for number, frame in enumerate(keyframes(path, CLIP_FRAMES, inside=inside))
    ]


def _from_upload(name: str, data: bytes) -> Shown:
    if len(data) > MOST_UPLOAD:
        raise BadImage(f"{name} has {len(data) / 1e6:.1f} MB.", "Type its path instead, or make it smaller.")
    try:
        return Shown(name, open_image(data))
    except BadImage as error:  # bytes have no name
        raise BadImage(f"{name}: {error.what}", error.do) from error


def _opened(source: Any, number: int) -> list[Shown]:
    """A picture that the learner named."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        known = next((one for one in course_pictures() if path.name == one.name), None)
        alt = known.alt if known and path.resolve() == known.path.resolve() else NO_ALT
        if is_clip(path):
            return _frames(path, alt)
        return [Shown(path.name, open_image(source), alt)]
    return [Shown(f"picture {number}", open_image(source))]


def _own_crops(model: Any) -> int | None:
    """The checkpoint's num_crops, from its file: the model itself is not read before the first question."""
    path = getattr(model, "path", None)
    try:
        settings = json.loads((Path(path) / "preprocessor_config.json").read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return None
    crops = settings.get("num_crops") if isinstance(settings, dict) else None
    return crops if isinstance(crops, int) and 1 <= crops <= 64 else None


# -- pieces -----------------------------------------------------------------------------------------------------


def _figure(shown: Shown, side: int, before: str = "", after: str = "") -> str:
    """A small picture with its name and description, in sight and for screen readers."""
    return (
        f'<figure style="display:inline-block;margin:4px 12px 4px 0;vertical-align:top;max-width:{max(side, 300)}px">'
        f'<img src="{shown.small}" alt="{escape(shown.alt)}" '
        f'style="max-width:{side}px;max-height:{side}px;border:1px solid #888">'
        f'<figcaption style="line-height:1.3"><strong>{escape(before + shown.name)}</strong>{escape(after)}<br>'
        f"<small>{escape(shown.alt)}</small></figcaption></figure>"
    )


def _size(shown: Shown) -> str:
    return f"{shown.image.width} x {shown.image.height}"


def _pictures(count: int) -> str:
    return f"{count} picture" + ("" if count == 1 else "s")
