"""The tags `<|image_1|>` that say in a prompt where a picture is: written, read and checked here alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

TAG = re.compile(r"<\|image_(\d+)\|>")


def image_prompt(question: str, pictures: int = 1, first: int = 1) -> str:
    """A question with its picture tags as the card of Phi-3.5-vision writes them: ascending, each on its own line.

    Args:
        question: the text after the tags.
        pictures: how many tags to write.
        first: the number of the first picture, for later turns of a conversation.

    Example:
        image_prompt("What differs?", 2)      # '<|image_1|>\\n<|image_2|>\\nWhat differs?'
    """
    return "".join(f"<|image_{first + i}|>\n" for i in range(pictures)) + question


def numbers_in(text: str) -> list[int]:
    """The numbers of the tags in a text, in order.

    Example:
        numbers_in("<|image_1|>\\nWhat is this?")      # [1]
    """
    return [int(number) for number in TAG.findall(text)]


def check_tags(numbers: Sequence[int], pictures: int) -> None:
    """Refuse tags other than 1 to `pictures`, ascending, each once.

    mlx-vlm inserts pictures in the order in which tags appear, whatever their numbers, and leaves the second
    position of a repeated tag unfilled.

    Args:
        numbers: of the tags in the text, in order.
        pictures: how many pictures there are.

    Raises:
        BadRequest: the tags do not fit.

    Example:
        check_tags([1, 2], 2)
    """
    if list(numbers) != list(range(1, pictures + 1)):
        raise BadRequest(
            _("The picture tags in the text are: {actual}. With {count} picture(s) they must be: {wanted}.").format(
                actual=_written(numbers), count=pictures, wanted=_written(range(1, pictures + 1))
            ),
            _("Leave the tags out: the labs write them. Or write each once, in ascending order, before the question."),
        )


def _written(numbers: Sequence[int]) -> str:
    return ", ".join(f"<|image_{number}|>" for number in numbers) or _("none")
