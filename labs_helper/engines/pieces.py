"""From token ids to text, byte by byte.

A token is a piece of bytes, not of characters: one Chinese character often takes two or three tokens. The
stream below holds bytes back until a character is complete, so that no replacement character (U+FFFD) ever
flickers through an answer. It also knows what to do with ids that the tokenizer has no piece for (Phi-3.5 has
32,064 rows in its embedding and 32,011 tokens), where mlx-lm's own detokenizer for SentencePiece raises.
"""

from __future__ import annotations

import codecs
from typing import Any


def byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level BPE vocabulary, as GPT-2 laid it out.

    Bytes that print stay themselves; the other 68 are numbered from U+0100 upwards, in order.

    Example:
        byte_alphabet()["Ġ"]      # 32, the space
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    table.update({chr(256 + place): byte for place, byte in enumerate(others)})
    return table


class Pieces:
    """The bytes and the readable form of each token of a Hugging Face tokenizer.

    tokenizer: a fast tokenizer (byte-level BPE, or SentencePiece style with byte fallback).
    strips_first: whether a space at the start of a text is dropped.

    Example:
        pieces = Pieces(tokenizer)
        pieces.readable(32007)      # '<|end|>'
    """

    def __init__(self, tokenizer: Any) -> None:
        self._special: set[int] = set(tokenizer.all_special_ids)
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._special |= {token_id for token_id, token in added.items() if token.special}
        self._added = set(added)
        self._tokens: list[str | None] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._byte_level = "ByteLevel" in repr(getattr(backend, "decoder", None))
        self.strips_first = not self._byte_level and "Strip(" in repr(getattr(backend, "decoder", None))
        self._alphabet = byte_alphabet()

    def _token(self, token_id: int) -> str | None:
        return self._tokens[token_id] if 0 <= token_id < len(self._tokens) else None

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes a token adds to the text; none for special tokens and for ids without a piece."""
        token = self._token(token_id)
        if token is None or token_id in self._special:
            return b""
        if token_id in self._added:
            return token.encode()
        if self._byte_level:
            return b"".join(
                bytes([self._alphabet[mark]]) if mark in self._alphabet else mark.encode() for mark in token
            )
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)])
        return token.replace("\u2581", " ").encode()

    def readable(self, token_id: int) -> str:
        """A token as a person can read it: its text, its name, or its bytes if they are no character yet."""
        token = self._token(token_id)
        if token is None:
            return f"<id {token_id}>"
        if token_id in self._special:
            return token
        raw = self.bytes_of(token_id)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "<0x" + raw.hex(" ").upper() + ">"

    def stream(self) -> TextStream:
        """A new stream of text that takes one id at a time."""
        return TextStream(self)


class TextStream:
    """Turns ids into text, one at a time. Bytes of an unfinished character wait for the next token.

    Example:
        stream = pieces.stream()
        text = "".join(stream.add(id) for id in ids)
    """

    def __init__(self, pieces: Pieces):
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._first = pieces.strips_first

    def add(self, token_id: int) -> str:
        """The text that is complete with this token. What never becomes a character is dropped at the end."""
        text = self._decoder.decode(self._pieces.bytes_of(token_id))
        if self._first and text:
            self._first = False
            text = text.removeprefix(" ")  # SentencePiece puts a space before the first word
        return text
