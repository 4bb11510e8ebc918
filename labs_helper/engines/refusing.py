"""What the libraries say about a broken checkpoint, as one error; and what they say needlessly, not at all."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from labs_helper.common.translate import _
from labs_helper.engines.base import Stopped
from labs_helper.errors import CheckpointRefused, LabError


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """While transformers is imported and used: it misses PyTorch, and warns about keys that matter to its own models.

    Example:
        with quiet_transformers():
            from transformers import PreTrainedTokenizerFast
    """
    # Its first import sets the level of its logger anew; this it reads (mlx-lm sets it too).
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class Refusing:
    """Turns the many exceptions of a broken checkpoint into one sentence.

    Example:
        with Refusing(path, "weights"):
            load_model(path)
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Every library has exceptions of its own for wrong shapes, missing keys, unreadable and absent files.
        ours = isinstance(error, (LabError, Stopped))
        if error is None or ours or not (isinstance(error, Exception) or _is_panic(error)):
            return
        reason = (str(error).strip().splitlines() or [""])[0][:200]  # MLX names every parameter that does not fit
        raise CheckpointRefused(
            _("The {part} in {path} cannot be used ({kind}: {reason}).").format(
                part=self.what, path=self.path, kind=type(error).__name__, reason=reason
            ),
            _("Copy the whole checkpoint again, or choose another one."),
        ) from error


def _is_panic(error: BaseException) -> bool:
    """The tokenizers library panics, as Rust calls it, where an expression in its files cannot be used. Python sees an
    exception whose class has no address to import it from.
    """
    return type(error).__name__ == "PanicException"
