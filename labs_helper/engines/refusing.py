"""What the libraries say about a broken checkpoint, as one error; and what they say needlessly, not at all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from labs_helper.common.translate import _
from labs_helper.errors import CheckpointRefused


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """While transformers is imported and used: it misses PyTorch, and warns about keys that matter to its own models.

    Example:
        with quiet_transformers():
            from transformers import PreTrainedTokenizerFast
    """
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

    # What mlx-lm, mlx and transformers raise for wrong shapes, missing keys, unreadable or absent files.
    KINDS = (
        *(ValueError, LookupError, TypeError, AttributeError, OSError, RuntimeError, AssertionError),
        *(ArithmeticError, MemoryError),
    )

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not (isinstance(error, self.KINDS) or _of_tokenizers(error)):
            return
        reason = (str(error).strip().splitlines() or [""])[0][:200]  # MLX names every parameter that does not fit
        raise CheckpointRefused(
            _("The {part} in {path} cannot be used ({kind}: {reason}).").format(
                part=self.what, path=self.path, kind=type(error).__name__, reason=reason
            ),
            _("Copy the whole checkpoint again, or choose another one."),
        ) from error


def _of_tokenizers(error: BaseException) -> bool:
    """The tokenizers library raises plain Exception for files that it cannot read, and panics, as Rust calls it, where
    an expression in them cannot be used. The class of a panic has no address to import it from.
    """
    return type(error) is Exception or type(error).__name__ == "PanicException"
