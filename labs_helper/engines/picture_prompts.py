"""Prompts with pictures in them, for every engine that computes the rows of a picture itself."""

from __future__ import annotations

from collections.abc import Hashable

from labs_helper.common.translate import _
from labs_helper.corrections.vision import prompt
from labs_helper.engines.base import PlacedPicture, Prepared, Prompt, Request
from labs_helper.engines.prompts import Prompts
from labs_helper.pictures.tags import check_tags, numbers_in

NUM_CROPS = 4  # what the published checkpoint ships with


class PicturePrompts(Prompts):
    """The part of an engine that lays pictures out and puts their places into the prompt.

    Attributes:
        num_crops: tiles that a picture is cut into at most, where the request does not say.
    """

    num_crops = NUM_CROPS

    def place(self, request: Request) -> Prepared:
        """A request with its prompt, and its pictures as they are cut, before anything is checked or loaded."""
        crops = request.num_crops or self.num_crops
        pictures = tuple(PlacedPicture.place(image, crops) for image in request.images)
        messages = self._messages(request)
        text, shield = self._render(messages)
        check_tags(numbers_in(text), len(pictures))  # only those that may be places are in the open

        def encode(part: str) -> list[int]:
            return self._ids(part, shield)

        ids = prompt.encode(encode, text, [picture.tokens for picture in pictures])
        begin = self.encoder.beginning()  # <s>, if the tokenizer's own files add it
        if ids[: len(begin)] != begin:
            ids = begin + ids
        pieces = (f"<picture {-token_id}>" if token_id < 0 else self.pieces.readable(token_id) for token_id in ids)
        whole = Prompt(shield.show(text), tuple(ids), tuple(pieces), self._notices(messages))
        return Prepared(request, whole, pictures)

    def identities(self, prepared: Prepared) -> tuple[Hashable, ...]:
        """What is at each place of the prompt: a token id, or the name of the picture."""
        # mlx-vlm compares ids only, and -1 is the same for every picture (generate/common.py, PromptCacheState).
        names = [picture.name for picture in prepared.pictures]
        return tuple(names[-token_id - 1] if token_id < 0 else token_id for token_id in prepared.prompt.ids)

    def _costs(self, prepared: Prepared) -> str:
        costs = prepared.image_tokens
        if not costs:
            return ""
        if len(set(costs)) == 1:
            each = _("{tokens:,} tokens each").format(tokens=costs[0])
        else:
            each = _("{tokens} tokens").format(tokens=", ".join(map(str, costs)))
        return " " + _(
            "Of the prompt, {count} picture(s) take {each}; show fewer pictures or lower num_crops (now {crops})."
        ).format(count=len(costs), each=each, crops=prepared.pictures[0].num_crops)
