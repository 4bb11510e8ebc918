"""Walk through a message in protobuf's wire format without reading what is not asked for.

Format: protobuf.dev/programming-guides/encoding. No length is trusted: each is checked against what is there.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_SIZES = {_EIGHT: 8, _FOUR: 4}
_LONGEST = 10  # bytes of a varint


class Damaged(ValueError):
    """The bytes are no message."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in their order: (number, value). Bytes and messages are views of the original.

    Raises:
        Damaged: a length leads beyond the end, or a kind is unknown.

    Example:
        dict(fields(memoryview(bytes([8, 42]))))      # {1: 42}
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise Damaged(f"field {number} has the unknown kind {kind}")
        if size > end - at:
            raise Damaged(f"field {number} is longer than its message")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST):
        if at >= len(message):
            raise Damaged("the message is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at
    raise Damaged("a number does not end")


def text(value: int | memoryview) -> str:
    """A field that holds text.

    Raises:
        Damaged: it holds a number, or no UTF-8.
    """
    if isinstance(value, int):
        raise Damaged("a number stands where a text should be")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise Damaged(str(error)) from error


def message(value: int | memoryview) -> memoryview:
    """A field that holds a message.

    Raises:
        Damaged: it holds a number.
    """
    if isinstance(value, int):
        raise Damaged("a number stands where a message should be")
    return value


def numbers(value: int | memoryview) -> list[int]:
    """A field of whole numbers, one or packed.

    Raises:
        Damaged: a number is cut short.
    """
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(one)
    return found
