"""From a rendered prompt to token ids: the template's marks become control tokens, everything else plain text.

A fast tokenizer looks for its added tokens first, and cuts each text between two of them by itself. The same is done
here with two tokenizers: ours finds the marks, and a copy of the checkpoint's tokenizer that knows no marks cuts the
texts. So ordinary prompts have the ids that the tokenizer itself gives them.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labs_helper.engines.door import Shield
from labs_helper.engines.pieces import byte_alphabet
from labs_helper.pictures.tags import TAG

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Files call some control tokens not special ("</s>" in Phi's own); their form tells what they are.
_CONTROL = re.compile(r"<.+>|\[.+\]", re.DOTALL)
# White space as the Rust library sees it. Python also counts the separators U+001C to U+001F.
_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"


@dataclass(frozen=True)
class Mark:
    """A control token. `before`, `after`: whether it takes the white space on that side."""

    id: int
    text: str
    before: bool
    after: bool


class Encoder:
    """Cuts prompts of one tokenizer into ids.

    Args:
        backend: a tokenizer of the tokenizers library. It is not changed.

    Example:
        encoder = Encoder(tokenizer.backend_tokenizer)
        encoder.plain("What is <|end|>?")
    """

    def __init__(self, backend: Tokenizer) -> None:
        from tokenizers import Tokenizer

        self._whole = backend
        described = json.loads(backend.to_str())
        added = described["added_tokens"]
        marks = [token for token in added if token["special"] or _CONTROL.fullmatch(token["content"])]
        self.marks = {
            token["content"]: Mark(token["id"], token["content"], token["lstrip"], token["rstrip"])
            for token in marks
            if token["content"]
        }
        self._mark_ids = {mark.id for mark in self.marks.values()}
        longest_first = sorted(self.marks, key=len, reverse=True)
        names = [
            (_SPACE if self.marks[name].before else "")
            + f"({re.escape(name)})"
            + (_SPACE if self.marks[name].after else "")
            for name in longest_first
        ]
        self._find = re.compile("|".join(names) or "(?!)")
        self.typed = re.compile("|".join([*map(re.escape, longest_first), TAG.pattern.replace("(", "(?:")]))
        plain = _without(described, [token for token in marks if token["content"]])
        self._first = Tokenizer.from_str(json.dumps(plain))
        later = _without_first_space(plain)
        self._later = self._first if later is None else Tokenizer.from_str(json.dumps(later))
        for tokenizer in (self._first, self._later):
            tokenizer.no_truncation()
            tokenizer.no_padding()

    def whole(self, text: str) -> list[int]:
        """A text as the checkpoint's tokenizer cuts it, marks included."""
        return list(self._whole.encode(text, add_special_tokens=False).ids)

    def beginning(self) -> list[int]:
        """The tokens that the tokenizer's own files put before every text."""
        return list(self._whole.encode("", add_special_tokens=True).ids)

    def ids(self, text: str, shield: Shield) -> list[int]:
        """A prompt whose contents `shield` has hidden. Marks in the open are the template's and become one token."""
        ids: list[int] = []
        end = 0
        for found in self._find.finditer(text):
            ids += self.plain(shield.show(text[end : found.start()]), first=end == 0)
            ids.append(self.marks[found[found.lastindex or 0]].id)
            end = found.end()
        return ids + self.plain(shield.show(text[end:]), first=end == 0)

    def plain(self, text: str, first: bool = True) -> list[int]:
        """A text in which nothing is special. first: whether it begins the prompt."""
        if not text:
            return []
        encoding = (self._first if first else self._later).encode(text, add_special_tokens=False)
        if self._mark_ids.isdisjoint(encoding.ids):
            return list(encoding.ids)
        return self._taken_apart(text, encoding)

    def _taken_apart(self, text: str, encoding: Any) -> list[int]:
        """A vocabulary may lead to a mark by merging its letters; such a mark is spelt out."""
        ids: list[int] = []
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets):
            mark = self.marks.get(text[start:end].strip())  # else it stands for an unknown character
            ids += self._spelt(text[start:end]) if token_id in self._mark_ids and mark is not None else [token_id]
        return ids

    def _spelt(self, text: str) -> list[int]:
        """A text letter by letter, and byte by byte where the vocabulary lacks a letter."""
        letters = {byte: letter for letter, byte in byte_alphabet().items()}
        ids: list[int | None] = []
        for sign in text:
            known = self._first.token_to_id(sign)
            names = [] if known is not None else [(f"<0x{byte:02X}>", letters[byte]) for byte in sign.encode()]
            ids += [known, *(self._number(*pair) for pair in names)]
        return [token_id for token_id in ids if token_id is not None]

    def _number(self, *names: str) -> int | None:
        """The number of the first of these tokens that the vocabulary has."""
        return next((number for name in names if (number := self._first.token_to_id(name)) is not None), None)


def _without(described: dict[str, Any], marks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A tokenizer's description without marks; all other tokens keep their numbers."""
    vocabulary = described["model"].get("vocab")
    names = vocabulary if isinstance(vocabulary, dict) else {entry[0] for entry in vocabulary or ()}
    gone = {mark["content"] for mark in marks}
    kept = []
    for token in described["added_tokens"]:
        if token["content"] not in gone:
            kept.append(token)
        elif token["content"] not in names:
            # Tokens that the model's own vocabulary lacks are numbered in order: one with a name that nobody can
            # type keeps the number.
            kept.append({**token, "content": f"<{secrets.token_hex(16)}>"})
    return {**described, "added_tokens": kept, "post_processor": None, "truncation": None, "padding": None}


def _without_first_space(described: dict[str, Any]) -> dict[str, Any] | None:
    """The description for texts that do not begin the prompt, if the tokenizer puts a space before the first only."""
    step = described.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", [step])
    if not any(one.get("prepend_scheme") == "first" for one in steps):
        return None
    changed = [{**one, "prepend_scheme": "never"} if one.get("prepend_scheme") == "first" else one for one in steps]
    return {**described, "pre_tokenizer": {**step, "pretokenizers": changed} if "pretokenizers" in step else changed[0]}
