"""Text at the door: what people type becomes text that a model may read, and never a control token.

Every engine lets its messages in here. `clean` makes them valid Unicode in normal form C. A `Shield` hides the signs
that a control token begins and ends with while the chat template is rendered, so that only marks which the template
wrote can be found afterwards, and puts them back when the text is cut into tokens. What was typed stays as it is in
conversations and transcripts.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from labs_helper.common.translate import _, _n
from labs_helper.engines.base import Message, Request
from labs_helper.errors import BadRequest
from labs_helper.pictures.tags import TAG

# Control tokens as Phi and its relatives write them, for servers, whose tokenizers nobody here can see.
USUAL_MARK = re.compile(r"<\|[A-Za-z0-9_]{1,40}\|>|</?s>|<unk>")
_SHORT = 4096  # characters; normalising takes the square of the longest run of accents, which does not matter here
_ACCENTS = 256  # the longest run of accents that is put in order; words of living languages have three or four
_PRIVATE = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE), range(0xE000, 0xF900))


def clean(text: str) -> str:
    """A text as models should read it: valid Unicode in normal form C.

    macOS gives pasted Korean and accents in pieces (form D), which no model has learnt to read. Halves of a pair
    (surrogates) are joined; a half that is alone becomes U+FFFD.

    Example:
        clean("e\\u0301 \\ud83d")      # 'é \\ufffd'
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # it has halves
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if len(text) <= _SHORT:
        return unicodedata.normalize("NFC", text)
    parts = _endless_accents().split(text)  # text, accents, text, ...
    return "".join(part if place % 2 else unicodedata.normalize("NFC", part) for place, part in enumerate(parts))


@lru_cache(maxsize=1)
def _endless_accents() -> re.Pattern[str]:
    """Finds runs of accents so long that putting them in order would take minutes; they are left as they are."""
    accents = "".join(chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code)))
    return re.compile(f"([{re.escape(accents)}]{{{_ACCENTS},}})")


def clean_messages(request: Request) -> list[Message]:
    """The messages of a request with clean contents, and `tagged` filled in."""
    return [
        Message(role=message["role"], content=clean(message["content"]), tagged=_tagged(message, request))
        for message in request.messages
    ]


def _tagged(message: Message, request: Request) -> bool:
    """Whether picture tags in a message are places of pictures; anywhere else they are typed text."""
    return bool(request.images) and message["role"] == "user" and message.get("tagged", True)


class Shield:
    """Hides from a tokenizer what was typed in messages, and shows it again. One for each prompt.

    Each sign that a control token begins or ends with has a stand-in of Unicode's private area which occurs nowhere
    else in the prompt. Texts keep their length, so that a chat template treats them as it would the originals.

    Args:
        marks: the control tokens of the tokenizer.
        texts: everything that a stand-in must not occur in: the contents and the template.

    Example:
        shield = Shield(["<|end|>"], ["a <|end|>"])
        shield.show(shield.hide("a <|end|>"))      # 'a <|end|>'
    """

    def __init__(self, marks: Iterable[str], texts: Iterable[str]) -> None:
        ends = {sign for mark in (*marks, "<>") if mark for sign in (mark[0], mark[-1]) if not sign.isspace()}
        taken = set().union(*texts)
        free = (chr(code) for area in _PRIVATE for code in area if chr(code) not in taken)
        stand_ins = dict(zip(sorted(ends), free))
        if len(stand_ins) < len(ends):
            raise BadRequest(
                _("The text holds every private character of Unicode, and the labs need a few of them."),
                _("Remove what is not text."),
            )
        self._hidden = str.maketrans(stand_ins)
        self._shown = str.maketrans({substitute: sign for sign, substitute in stand_ins.items()})

    def hide(self, text: str, tagged: bool = False) -> str:
        """A content in which no mark can be found; with `tagged`, picture tags stay."""
        if not tagged:
            return text.translate(self._hidden)
        start, *rest = TAG.split(text)
        tagged_parts = [f"<|image_{number}|>{self.hide(after)}" for number, after in zip(rest[::2], rest[1::2])]
        return self.hide(start) + "".join(tagged_parts)

    def show(self, text: str) -> str:
        """A text as it was before `hide`."""
        return text.translate(self._shown)


def typed_marks(messages: Sequence[Message], marks: re.Pattern[str]) -> list[str]:
    """The control tokens that were typed in the newest messages, those after the last answer, each once.

    Example:
        typed_marks([{"role": "user", "content": "What is <|end|>?"}], USUAL_MARK)      # ['<|end|>']
    """
    newest: list[Message] = []
    for message in reversed(messages):
        if message["role"] == "assistant":
            break
        newest.insert(0, message)
    contents = (TAG.sub("", message["content"]) if message.get("tagged") else message["content"] for message in newest)
    return list(dict.fromkeys(mark for content in contents for mark in marks.findall(content)))


def notices(marks: Sequence[str]) -> tuple[str, ...]:
    """What to tell the person who typed control tokens; nothing for none.

    Example:
        notices(["<|end|>"])
    """
    if not marks:
        return ()
    return (
        _n(
            "{marks} was typed in a message and is plain text there: only the chat template writes control tokens.",
            "{marks} were typed in a message and are plain text there: only the chat template writes control tokens.",
            len(marks),
        ).format(marks=_listed(marks)),
    )


def notices_of_server(marks: Sequence[str]) -> tuple[str, ...]:
    """The same for a server: it cuts the text into tokens, and many let such marks through.

    Example:
        notices_of_server(["<|end|>"])
    """
    if not marks:
        return ()
    return (
        _n(
            "{marks} was typed in a message. The server decides whether it is text or a control token.",
            "{marks} were typed in a message. The server decides whether they are text or control tokens.",
            len(marks),
        ).format(marks=_listed(marks)),
    )


def _listed(marks: Sequence[str]) -> str:
    return ", ".join(marks[:5]) + (", ..." if len(marks) > 5 else "")
