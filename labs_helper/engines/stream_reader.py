"""Read what an OpenAI-compatible server streams, whatever form its chunks have: the text in them is never lost.

Servers and the proxies before them differ in what they send: fields that are absent, null or empty, keep-alives,
halves of a character, errors in the middle, no end. This reader takes what it understands, passes over what holds no
text, and counts what may have held some. It does no network and raises nothing: `feed` it bytes as they come, then
`close` it and look at what it says about the end.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from labs_helper.engines.base import Candidate, Token

LONGEST_EVENT = 16 * 2**20  # bytes; a chunk is some hundred. More than this is no chat, and would fill the memory.
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELD = re.compile(rb"(data|event|id|retry)(?:: ?|$)")
_REASON = re.compile(r"[A-Za-z][\w-]{0,39}")
_LARGEST_COUNT = 10**12
_DEEPEST = 8  # lists in lists that a content may be made of
SHORTEST_SECRET = 8  # letters; what is shorter is no key ("none", "test") and would tear holes into answers


@dataclass(frozen=True)
class Usage:
    """The server's own counts of tokens; None where it does not say."""

    prompt: int | None = None
    generated: int | None = None
    cached: int | None = None


@dataclass(frozen=True)
class ServerError:
    """An error that came inside a stream, in the server's words."""

    message: str
    code: str = ""


class StreamReader:
    """One answer, from bytes to Tokens.

    Args:
        top_logprobs: how many candidates to keep at each place.
        secret: a text that must not be repeated, if the server has put it into the answer.

    Attributes:
        finish_reason: why the model stopped, in the server's word; "" if it never said.
        usage: the counts, from the last chunk that had any.
        error: an error that the server has sent in the stream.
        done: the server has said that nothing follows; what comes after that is not read.
        chat: at least one chunk had the form of a chat.
        unreadable: chunks that may have held text in a form that nobody can read.

    Example:
        reader = StreamReader()
        tokens = reader.feed(b'data: {"choices": [{"delta": {"content": "Hi"}}]}\\n\\n') + reader.close()
    """

    def __init__(self, top_logprobs: int = 0, secret: str = "") -> None:
        self.finish_reason = ""
        self.usage: Usage | None = None
        self.error: ServerError | None = None
        self.done = self.chat = False
        self.unreadable = 0
        self._top_logprobs = top_logprobs
        self._line = bytearray()
        self._after_return = False  # the last byte was CR: an LF right after it belongs to the same line end
        self._data: list[bytes] = []
        self._event = b""
        self._other: list[bytes] = []  # lines outside the form of events: perhaps one JSON document
        self._gathered = 0  # bytes in these two
        self._any_text = False
        self._held = _Held(secret if len(secret) >= SHORTEST_SECRET else "")

    @property
    def ended(self) -> bool:
        """Whether the end of the answer was announced, in one way or the other."""
        return self.done or bool(self.finish_reason)

    def feed(self, data: bytes) -> list[Token]:
        """Take the next bytes, cut anywhere; returns the tokens that are complete now."""
        tokens: list[Token] = []
        for line in self._lines(data):
            tokens += self._take_line(line)
            if self.done:
                break
        return tokens

    def close(self) -> list[Token]:
        """The connection has ended: the tokens that were held back or came without a last line break."""
        tokens: list[Token] = []
        if not self.done:
            if self._line:
                tokens += self._take_line(bytes(self._line))
            tokens += self._dispatch()
            if not self.chat and self.error is None:
                tokens += self._whole_document()
        return tokens + self._held.release()

    # -- from bytes to events -----------------------------------------------------------------------

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """The complete lines; they end with CR, LF or CRLF, as in the standard of server-sent events."""
        if not data:
            return
        fresh = data.removeprefix(b"\n") if self._after_return else data
        self._after_return = data.endswith(b"\r")
        *complete, rest = _LINE_END.split(fresh)
        for part in complete:
            self._line += part
            yield bytes(self._line)
            self._line.clear()
        self._line += rest
        if len(self._line) + self._gathered > LONGEST_EVENT:
            self.unreadable += 1
            self.done = True

    def _take_line(self, line: bytes) -> list[Token]:
        line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            return []  # a comment, which servers send to keep the connection open
        field = _FIELD.match(line)
        if field is None:
            self._other.append(line)
            self._gathered += len(line)
        elif field[1] == b"data":
            self._data.append(line[field.end() :])
            self._gathered += len(line)
        elif field[1] == b"event":
            self._event = line[field.end() :].strip()
        return []

    def _dispatch(self) -> list[Token]:
        """An empty line: the event that was gathered is complete."""
        lines, event = self._data, self._event
        self._data, self._event = [], b""
        self._gathered = sum(map(len, self._other))
        if not lines:
            return []
        whole = b"\n".join(lines)
        # Some servers forget the empty line between two events.
        parts = lines if len(lines) > 1 and _parsed(whole) is _BROKEN else [whole]
        tokens: list[Token] = []
        for part in parts:
            if part.strip() == b"[DONE]":
                self.done = True
            if self.done:
                break
            tokens += self._take_event(part, event)
        return tokens

    def _whole_document(self) -> list[Token]:
        """No events came: perhaps the server does not stream and sent one JSON document, or one on each line."""
        whole = b"\n".join(self._other)
        value = _parsed(whole)
        if value is not _BROKEN:
            tokens = self._take_value(value, whole, b"")
            self.done = self.done or self.chat  # a complete document is a complete answer
            return tokens
        values = [(line, _parsed(line)) for line in self._other]
        return [token for line, value in values if value is not _BROKEN for token in self._take_value(value, line, b"")]

    # -- from events to tokens ----------------------------------------------------------------------

    def _take_event(self, data: bytes, event: bytes) -> list[Token]:
        return self._take_value(_parsed(data), data, event)

    def _take_value(self, value: object, data: bytes, event: bytes) -> list[Token]:
        if event == b"error" and not (isinstance(value, Mapping) and value.get("error")):
            self._fail(value if isinstance(value, Mapping) else data.decode("utf-8", "replace"))
            return []
        if value is _BROKEN:
            # Half a chunk may have held text. Anything else is a sign of life in a form of the server's own.
            self.unreadable += data.lstrip().startswith((b"{", b"["))
            return []
        chunks = value if isinstance(value, list) else [value]
        return [token for chunk in chunks if isinstance(chunk, Mapping) for token in self._take_chunk(chunk)]

    def _take_chunk(self, chunk: Mapping[str, Any]) -> list[Token]:
        self._take_usage(chunk.get("usage"))
        tokens: list[Token] = []
        choice = self._choice(chunk.get("choices"))
        if choice is not None:
            self._take_reason(choice.get("finish_reason"))
            text = self._text(choice)
            if text is None:
                self.unreadable += 1
            elif text:
                self._any_text = True
                tokens = self._held.push(self._token(text, choice.get("logprobs")))
        if chunk.get("error"):
            self._fail(chunk["error"])
        elif chunk.get("object") == "error":
            self._fail(chunk)
        return tokens

    def _choice(self, choices: object) -> Mapping[str, Any] | None:
        """The choice to read: we ask for one only."""
        if isinstance(choices, list):
            self.chat = True
            readable = [choice for choice in choices if isinstance(choice, Mapping)]
            if not readable and any(choice is not None for choice in choices):
                self.unreadable += 1
            return next((choice for choice in readable if choice.get("index") == 0), readable[0] if readable else None)
        if choices:
            self.unreadable += 1
        return None

    def _text(self, choice: Mapping[str, Any]) -> str | None:
        """The text that a choice adds; None if there is something in the place of text that is none."""
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            text = _flat(delta.get("content"))
            return _flat(delta.get("refusal")) if text == "" else text
        if delta:
            return None
        if choice.get("text"):  # the older form of completions
            return _flat(choice["text"])
        message = choice.get("message")
        if isinstance(message, Mapping) and not self._any_text:  # not streamed; after pieces it would repeat them
            return _flat(message.get("content"))
        return ""

    def _token(self, text: str, logprobs: object) -> Token:
        content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], Mapping):
            return Token(text, -1, math.nan, (), text)  # several tokens in one piece, or nothing said
        entry = content[0]
        others = entry.get("top_logprobs")
        candidates = tuple(
            Candidate(self._held.clean(_string(other.get("token"))), _id(other.get("id")), _real(other.get("logprob")))
            for other in (others if isinstance(others, list) else [])[: self._top_logprobs]
            if isinstance(other, Mapping)
        )
        return Token(
            text, _id(entry.get("id")), _real(entry.get("logprob")), candidates, _string(entry.get("token")) or text
        )

    def _take_reason(self, reason: object) -> None:
        if isinstance(reason, str) and reason:
            plain = _REASON.fullmatch(reason) and self._held.clean(reason) == reason
            self.finish_reason = reason if plain else "unknown"

    def _take_usage(self, usage: object) -> None:
        if not isinstance(usage, Mapping):
            return
        details = usage.get("prompt_tokens_details")
        before = self.usage or Usage()
        new = Usage(
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
            _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None,
        )
        self.usage = replace(before, **{name: value for name, value in vars(new).items() if value is not None})

    def _fail(self, error: object) -> None:
        """Keep an error's words. What follows an error is not read: servers send nothing useful there."""
        code = ""
        while isinstance(error, Mapping):
            code = code or _string(error.get("code")) or str(_count(error.get("code")) or "")
            error = error.get("message") or error.get("error") or error.get("detail") or _string(error.get("type"))
        self.error = ServerError(self._held.clean(error if isinstance(error, str) else ""), self._held.clean(code))
        self.done = True


class _Held:
    """Tokens that cannot be given out yet, since only the next one tells what they are.

    Two things can be cut in two: a character that JSON writes as two surrogates, and the secret. Tokens wait only
    while the text ends with the beginning of one of them, and otherwise leave as they came.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._waiting: list[Token] = []

    def push(self, token: Token) -> list[Token]:
        """Take the next token; returns those that are ready."""
        self._waiting.append(token)
        text = "".join(waiting.text for waiting in self._waiting)
        if self._secret and self._secret in text:
            text = text.replace(self._secret, "***")
            self._waiting = [Token(text, -1, math.nan, (), text)]
        cut = "\ud800" <= text[-1] <= "\udbff" or any(
            text.endswith(self._secret[:length]) for length in range(1, len(self._secret))
        )
        return [] if cut else self.release()

    def release(self) -> list[Token]:
        """All that wait, with halves of characters joined; half a character alone becomes U+FFFD."""
        ready: list[Token] = []
        for token in self._waiting:
            if ready and "\ud800" <= ready[-1].text[-1] <= "\udbff":
                text = ready.pop().text + token.text
                token = Token(text, -1, math.nan, (), text)
            ready.append(token)
        self._waiting = []
        return [replace(token, text=_mended(token.text), piece=self.clean(token.piece)) for token in ready]

    def clean(self, text: str) -> str:
        """A text on its own, whole and without the secret."""
        return _mended(text.replace(self._secret, "***") if self._secret else text)


_BROKEN = object()  # what is no JSON; None is a value


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False)  # line breaks inside strings do no harm
    except (ValueError, RecursionError):
        return _BROKEN


def _flat(content: object, depth: int = 0) -> str | None:
    """The text of a content: a string, parts, or nothing. None if it is something else."""
    if content is None or content is False:
        return ""
    if isinstance(content, str):
        return content
    if depth > _DEEPEST:
        return None
    if isinstance(content, list):
        parts = [_flat(part, depth + 1) for part in content]
        return None if None in parts else "".join(part for part in parts if part)
    if isinstance(content, Mapping):  # a part that is no text, such as a picture, adds nothing
        return _flat(content.get("text", content.get("value")), depth + 1)
    return None


def _mended(text: str) -> str:
    """A text with surrogate pairs joined and single ones replaced, so that it can be printed and sent again."""
    if text.isascii() or not re.search("[\ud800-\udfff]", text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST_COUNT:
        return None
    return int(value)


def _id(value: object) -> int:
    """A token's number: mlx_lm.server and llama.cpp tell it, OpenAI does not."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _real(value: object) -> float:
    """A logarithm of a probability; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST_COUNT:
        return math.nan
    return float(value)
