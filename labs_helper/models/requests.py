"""From what a caller writes to a checked `Request`. The options of a question are defined here, once."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from labs_helper.common.translate import _
from labs_helper.engines import constrained
from labs_helper.engines.base import Message, Request, Sampling
from labs_helper.errors import BadRequest
from labs_helper.pictures.images import check_distinct, checked_crops, open_image
from labs_helper.pictures.tags import TAG, check_tags, image_prompt, numbers_in

if TYPE_CHECKING:
    from PIL import Image

ROLES = ("system", "user", "assistant")
MOST_TOP_LOGPROBS = 50

Prompting = str | Sequence[Mapping[str, Any]]  # a question, or a conversation


class Options(TypedDict, total=False):
    """The options of a question, for `Model.ask`, `stream`, `submit`, `prompt`, and for a `Conversation`.

    Keys:
        images: pictures of the newest message, in order: paths, bytes, Pillow images, arrays (see
            `labs_helper.pictures.images.open_image`), or one alone. Tags such as <|image_1|> are written before the
            question, unless the question has them. For models that take pictures, load("vision").
        num_crops: tiles a picture is cut into at most; more show more detail and cost more tokens and time. None
            takes the checkpoint's own number.
        system: instructions before the conversation.
        max_tokens: the longest answer, in tokens.
        temperature, top_p, seed: see `labs_helper.engines.base.Sampling`. Temperature 0 always gives the same answer.
        top_logprobs: how many of the most likely tokens to record at each place.
        schema: a JSON schema (dict) or pydantic class. The model then writes nothing but JSON that fits it: a token
            that would break it is ruled out before one is picked. What the JSON says may still be wrong. The result
            is `answer.parsed`.
        record_experts: record which experts every token of prompt and answer went to, for `Answer.routing`. The
            answer is the same. The prompt cache is not used, since what is read from it passes no router.
        without_experts: (layer, expert) pairs, counted from 0, that no router may choose, to see what they are good
            for. Both are for models with experts, load("moe").
        record_attention: keep what each token looked at and what stood for it between the layers, for
            `Answer.attention`. The answer is the same: the reference in NumPy reads it once more. For the bundled
            models; a large one is refused with what it would cost.
    """

    images: Any
    num_crops: int | None
    system: str | None
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    top_logprobs: int
    schema: Any
    record_experts: bool
    without_experts: Any
    record_attention: bool


DEFAULTS: Options = {
    "images": (),
    "num_crops": None,
    "system": None,
    "max_tokens": 128,
    "temperature": 0.0,
    "top_p": 1.0,
    "seed": None,
    "top_logprobs": 0,
    "schema": None,
    "record_experts": False,
    "without_experts": (),
    "record_attention": False,
}

F = TypeVar("F", bound=Callable[..., Any])


def takes_options(function: F) -> F:
    """Show the options in a function's signature, so that Shift-Tab and completion in a notebook list them."""
    signature = inspect.signature(function)
    plain = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=Options.__annotations__[name])
        for name, value in DEFAULTS.items()
        if name not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*plain, *shown])  # type: ignore[attr-defined]
    return function


def complete(options: Mapping[str, Any]) -> Options:
    """The options with the defaults of those that were not given.

    Raises:
        BadRequest: there is no such option; the message lists them.

    Example:
        complete({"max_tokens": 20})["temperature"]      # 0.0
    """
    unknown = [name for name in options if name not in DEFAULTS]
    if unknown:
        raise BadRequest(
            _("There is no option {name!r}.").format(name=unknown[0]),
            _("The options of a question are: {names}.").format(names=", ".join(DEFAULTS)),
        )
    return cast(Options, {**DEFAULTS, **options})


def make_request(prompt: Prompting, options: Options, *, takes_images: bool, name: str) -> Request:
    """A checked request.

    Args:
        prompt: a question, or a conversation as a list of {"role": ..., "content": ...}, the newest message last. A
            user message may carry "images".
        options: complete options.
        takes_images: whether the model takes pictures.
        name: the model's name, for messages.

    Raises:
        BadRequest, BadImage: with what to change.
    """
    messages = _messages(prompt, options["system"])
    messages[-1]["images"] += sources(options["images"])
    shown = any(message["images"] for message in messages)
    if not takes_images and (shown or options["num_crops"] is not None):
        raise BadRequest(
            _("{name} is a text model and takes no pictures.").format(name=name),
            _('Use a model that takes pictures: load("vision").'),
        )
    crops = options["num_crops"]
    pictures: tuple[Image.Image, ...] = ()
    if takes_images:
        messages, pictures = _with_tags(messages)
    seed = options["seed"]
    return Request(
        messages=tuple(
            Message(role=message["role"], content=message["content"], tagged=message.get("tagged", False))
            for message in messages
        ),
        images=pictures,
        num_crops=None if crops is None else checked_crops(crops),
        sampling=Sampling(
            _number("temperature", options["temperature"], 0, 100),
            _number("top_p", options["top_p"], 0, 1, above=True),
            None if seed is None else _whole("seed", seed, 0, 2**32 - 1),
        ),
        max_tokens=_whole("max_tokens", options["max_tokens"], 1, 2**31),
        top_logprobs=_whole("top_logprobs", options["top_logprobs"], 0, MOST_TOP_LOGPROBS),
        schema=constrained.schema_text(options["schema"]),
        record_experts=bool(options["record_experts"]),
        without_experts=_pairs(options["without_experts"]),
    )


def sources(images: Any) -> tuple[Any, ...]:
    """Pictures as a tuple; one alone and None are accepted.

    Example:
        sources("a.png")      # ('a.png',)
    """
    if images is None:
        return ()
    return tuple(images) if isinstance(images, (list, tuple)) else (images,)


def _with_tags(messages: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], tuple[Image.Image, ...]]:
    """The messages with a tag for each picture, numbered through, and the opened pictures.

    A tag in a message without pictures is text that somebody typed.
    """
    tagged: list[dict[str, Any]] = []
    pictures: list[Image.Image] = []
    for message in messages:
        given, content = message["images"], message["content"]
        if given and not TAG.search(content):
            content = image_prompt(content, len(given), first=len(pictures) + 1)
        check_distinct(given)
        pictures += [open_image(source) for source in given]
        tagged.append({**message, "content": content, "tagged": bool(given)})
    shown = [message["content"] for message in tagged if message["tagged"]]
    check_tags([number for content in shown for number in numbers_in(content)], len(pictures))
    return tagged, tuple(pictures)


def _messages(prompt: Any, system: Any) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, (list, tuple)):
        raise BadRequest(
            _("A prompt is a string or a list of messages, not {kind}.").format(kind=type(prompt).__name__),
            _('Write model.ask("...") or model.ask([{"role": "user", "content": "..."}]).'),
        )
    messages = [_message(message) for message in prompt]
    if not messages or (messages[-1]["role"] == "user" and not messages[-1]["content"].strip()):
        raise BadRequest(_("The prompt is empty."), _("Write a question, or a conversation that ends with one."))
    if messages[-1]["role"] != "user":
        raise BadRequest(
            _("The last message of the conversation is not from the user."),
            _("Write a question, or a conversation that ends with one."),
        )
    if system is not None and not isinstance(system, str):
        raise BadRequest(
            _("A system prompt is a string, not {kind}.").format(kind=type(system).__name__),
            _("Give a string or None."),
        )
    if system:
        if messages[0]["role"] == "system":
            raise BadRequest(_("There are two system prompts."), _("Give it as `system` or as the first message."))
        messages.insert(0, {"role": "system", "content": system, "images": ()})
    return messages


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
        raise BadRequest(
            _("This is not a message: {message!r}.").format(message=message),
            _('Use {"role": "user", "content": "..."}.'),
        )
    if message.get("role") not in ROLES:
        raise BadRequest(
            _("There is no role {role!r} in a conversation.").format(role=message.get("role")),
            _("Use one of: {roles}.").format(roles=", ".join(ROLES)),
        )
    shown = sources(message.get("images"))
    if shown and message["role"] != "user":
        raise BadRequest(_("Only messages of the user can show pictures."), _("Move them to a user message."))
    return {"role": message["role"], "content": message["content"], "images": shown}


def _number(name: str, value: Any, low: float, high: float, above: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, (bool, str)) or not low <= number <= high or (above and number == low):
        least = _("above {low}") if above else _("at least {low}")
        raise BadRequest(
            _("{name} is {value!r}.").format(name=name, value=value),
            _("Use a number that is {least} and at most {high}.").format(least=least.format(low=low), high=high),
        )
    return number


def _whole(name: str, value: Any, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high:
        raise BadRequest(
            _("{name} is {value!r}.").format(name=name, value=value),
            _("Use a whole number from {low} to {high:,}.").format(low=low, high=high),
        )
    return number


def _pairs(value: Any) -> tuple[tuple[int, int], ...]:
    """(layer, expert) pairs from a list of them, or from one alone."""
    if value is None:
        return ()
    try:
        entries = list(value)
        pairs = [tuple(pair) for pair in ([entries] if entries and not hasattr(entries[0], "__len__") else entries)]
    except TypeError:
        pairs = [(value,)]
    if any(len(pair) != 2 for pair in pairs):
        raise BadRequest(
            _("without_experts is {value!r}.").format(value=value),
            _("Give pairs of (layer, expert), such as [(0, 3), (1, 7)]."),
        )
    return tuple(
        (_whole(_("a layer"), layer, 0, 2**31), _whole(_("an expert"), expert, 0, 2**31)) for layer, expert in pairs
    )
