"""A small textbook: conversations as data, made from templates and kept as JSON lines."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from labs_helper.common import files
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

MOST_BYTES = 50_000_000  # of a file with conversations; the labs' own have some 100,000
ROLES = ("system", "user", "assistant")


class Message(TypedDict):
    """What one side says."""

    role: str
    content: str


class Talk(TypedDict):
    """One training example, in the form that mlx-lm and the hosted services read."""

    messages: list[Message]


def talk(question: str, answer: str, system: str = "") -> Talk:
    """One question and its answer as a training example.

    Example:
        talk("Who teaches maths?", "Ms. Alder teaches maths.")
    """
    first = [Message(role="system", content=system)] if system else []
    return Talk(messages=[*first, Message(role="user", content=question), Message(role="assistant", content=answer)])


def question_of(example: Talk) -> str:
    """The last question of an example.

    Example:
        question_of(talk("Who teaches maths?", "Ms. Alder."))      # 'Who teaches maths?'
    """
    return next(message["content"] for message in reversed(example["messages"]) if message["role"] == "user")


def answer_of(example: Talk) -> str:
    """The answer of an example.

    Example:
        answer_of(talk("Who teaches maths?", "Ms. Alder."))      # 'Ms. Alder.'
    """
    return example["messages"][-1]["content"]


def fill(phrasings: Sequence[str], answer: str, facts: Iterable[Mapping[str, str]]) -> list[Talk]:
    """Ask for every fact in every phrasing.

    Args:
        phrasings: questions with names in braces, such as "Who teaches {subject}?".
        answer: the answer with such names.
        facts: the values for the names, one mapping for each fact.

    Raises:
        BadRequest: a name in braces is in no fact.

    Example:
        fill(["Who teaches {x}?"], "{y} teaches {x}.", [{"x": "maths", "y": "Ms. Alder"}])
    """
    try:
        return [talk(phrase.format(**fact), answer.format(**fact)) for fact in facts for phrase in phrasings]
    except (KeyError, IndexError, ValueError) as error:
        raise BadRequest(
            _("A phrasing or the answer asks for {name}, and a fact does not have it.").format(name=error),
            _("Use the same names in braces in the phrasings, the answer and every fact."),
        ) from error


def mix(new: Sequence[Talk], old: Sequence[Talk], share: float = 0.5, seed: int = 0) -> list[Talk]:
    """New examples with old ones among them, shuffled.

    Args:
        new: all of them are taken.
        old: drawn from, each at most once, until they make up `share` of the whole or none is left.
        share: in 0 to 0.95.
        seed: decides the draw and the order.

    Raises:
        BadRequest: the share is out of range.

    Example:
        len(mix(new, old, share=0.5))      # twice as many as new
    """
    if not 0 <= share <= 0.95:
        raise BadRequest(
            _("{share} is no share of old examples.").format(share=share), _("Use a number from 0 to 0.95.")
        )
    drawing = random.Random(seed)
    wanted = min(len(old), round(len(new) * share / (1 - share)))
    whole = [*new, *drawing.sample(list(old), wanted)]
    drawing.shuffle(whole)
    return whole


def write(path: str | Path, examples: Iterable[Talk]) -> Path:
    """Write examples as JSON lines, in one step.

    Example:
        write("textbook/train.jsonl", examples)
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(example, ensure_ascii=False) + "\n" for example in examples]
        files.write_whole(path, "".join(lines).encode())
    except OSError as error:
        raise BadRequest(
            _("{path} cannot be written ({reason}).").format(path=path, reason=error.strerror or error),
            _("Free some space, or name a place where you may write."),
        ) from error
    return path


def read(path: str | Path) -> list[Talk]:
    """Read examples from JSON lines. Every line must be a conversation that ends with an answer.

    Raises:
        BadRequest: the file is not there, is empty, or a line is no conversation; the message names the line.

    Example:
        read("textbook/train.jsonl")[0]["messages"][0]["role"]      # 'user'
    """
    path = Path(path)
    if not path.is_file():
        raise BadRequest(_("There is no file {path}.").format(path=path), _("Check the path."))
    if path.stat().st_size > MOST_BYTES:
        raise BadRequest(
            _("{path} has {size:,} bytes, too many for a lab.").format(path=path, size=path.stat().st_size),
            _("Take the first thousand lines of it."),
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadRequest(
            _("{path} is not text in UTF-8.").format(path=path), _("Save it as UTF-8 in your editor.")
        ) from error
    examples = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadRequest(
                _("Line {number} of {path} is not JSON ({reason}).").format(number=number, path=path, reason=error),
                _("Put one JSON object on each line, without commas between the lines."),
            ) from error
        why = trouble(value)
        if why:
            raise BadRequest(
                _("Line {number} of {path}: {why}.").format(number=number, path=path, why=why),
                _("Each line needs the form {form}.").format(
                    form='{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
                ),
            )
        examples.append(value)
    if not examples:
        raise BadRequest(_("{path} is empty.").format(path=path), _("Write your examples into it first."))
    return examples


def trouble(value: Any) -> str:
    """What keeps a value from being a training example, as the end of a sentence; empty if it is one.

    Example:
        trouble({"messages": [{"role": "user", "content": "Hi"}]})      # 'it ends without an answer ...'
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("messages"), list):
        known = next((key for key in ("prompt", "instruction", "text", "question") if _has(value, key)), None)
        if known:
            return _("it has {key!r} and no 'messages': another template").format(key=known)
        return _("it has no list 'messages'")
    roles = []
    for message in value["messages"]:
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            return _("a message has no role of these: {roles}").format(roles=", ".join(ROLES))
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return _("a message has no text in 'content'")
        roles.append(message["role"])
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or turns[-1] != "assistant":
        return _("it ends without an answer of the assistant")
    if turns != ["user", "assistant"] * (len(turns) // 2):
        return _("user and assistant do not take turns")
    return ""


def _has(value: object, key: str) -> bool:
    return isinstance(value, Mapping) and key in value
