"""Every setting of the labs: the LABS_* environment variables, each with its type, default and meaning.

A setting is read when it is needed, never at import, so a notebook cell may still change one. docs/settings.md is
compared with this table by a test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from labs_helper.common.translate import _, of_table
from labs_helper.errors import BadRequest

T = TypeVar("T")

OFF = ("0", "off", "no", "false")  # one spelling of "off" for every setting that can be switched off
ON = ("1", "on", "yes", "true")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One environment variable.

    Args:
        name: the variable.
        read: turns its text into a value; raises ValueError for a text that means nothing.
        default: the value where the variable is unset or empty.
        valid: what the variable may hold, as a learner should write it.
        meaning: what it does, one line.

    Example:
        MEMORY_GB.get()      # None, or a number of gigabytes
    """

    name: str
    read: Callable[[str], T]
    default: T
    valid: str
    meaning: str

    @property
    def text(self) -> str:
        """The variable as it is set, without surrounding spaces; empty if it is not set."""
        return os.environ.get(self.name, "").strip()

    def get(self) -> T:
        """The value.

        Raises:
            BadRequest: the variable holds something that means nothing.
        """
        text = self.text
        if not text:
            return self.default
        try:
            return self.read(text)
        except (ValueError, OverflowError):
            raise BadRequest(
                _("{name} is {text!r}.").format(name=self.name, text=text),
                _("Set it to {valid}, or unset it.").format(valid=of_table(self.valid)),
            ) from None


def is_off(text: str) -> bool:
    """Whether a text switches something off.

    Example:
        is_off("OFF")      # True
    """
    return text.strip().lower() in OFF


def _switch(text: str) -> bool:
    if text.lower() in (*OFF, *ON):
        return text.lower() in ON
    raise ValueError


def _auto_or_switch(text: str) -> bool | None:
    return None if text.lower() == "auto" else _switch(text)


def _gigabytes(text: str) -> float:
    count = float(text)
    if not 0 <= count < 1e9:
        raise ValueError
    return count


def _seconds(text: str) -> float:
    count = float(text)
    if not 0 < count <= 86_400:
        raise ValueError
    return count


def _folder(text: str) -> Path:
    return Path(text).expanduser()


def _word(text: str) -> str:
    return text


_SWITCH = "1 or 0"

HOME = Setting("LABS_HOME", _folder, None, "a folder", "the course folder, if it is not beside the package")
DATA_DIR = Setting("LABS_DATA_DIR", _folder, None, "a folder", "where progress and board settings are kept")
LANGUAGE = Setting("LABS_LANGUAGE", _word, "en", "a language code such as ko", "language of messages")
MODELS = Setting("LABS_MODELS", _word, "auto", "auto, tiny, real or endpoint", "which tier of models answers")
MODELS_DIR = Setting("LABS_MODELS_DIR", _folder, None, "a folder", "where real models are looked for and stored")
KEEP_MODELS = Setting(
    "LABS_KEEP_MODELS", _switch, False, _SWITCH, "keep the other real models in memory when one is loaded"
)
MEMORY_GB = Setting(
    "LABS_MEMORY_GB", _gigabytes, None, "a number of gigabytes such as 6", "memory to assume instead of measuring it"
)
DEQUANTIZE = Setting("LABS_DEQUANTIZE", _auto_or_switch, None, "0, 1 or auto", "expand 4-bit weights to fp32 on a CPU")
BLAS = Setting("LABS_BLAS", _switch, True, _SWITCH, "open OpenBLAS before MLX on Linux")
PROGRESS = Setting("LABS_PROGRESS", _switch, True, "on or off", "record which checks passed")
BOARD = Setting(
    "LABS_BOARD", _word, "", 'an address and a code, "http://192.168.1.20:8765 CODE", or off', "class board"
)
ENDPOINT = Setting("LABS_ENDPOINT", _word, "", "the address of a server, or the name of a preset", "model server")
ENDPOINT_MODEL = Setting("LABS_ENDPOINT_MODEL", _word, "", "a model name", "which model to ask that server for")
ENDPOINT_KEY = Setting("LABS_ENDPOINT_KEY", _word, "", "a key", "the server's API key; never printed")
ENDPOINT_TIMEOUT = Setting(
    "LABS_ENDPOINT_TIMEOUT", _seconds, 120.0, "a number of seconds", "how long to wait for the next piece of an answer"
)

SETTINGS: tuple[Setting[Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Setting))
