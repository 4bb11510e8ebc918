"""Read the small JSON files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.errors import CheckpointRefused

MOST_JSON = 40_000_000  # bytes; the largest tokenizer.json of this family has 4 million


def read_json(file: Path) -> Config:
    """A JSON object from a file.

    Raises:
        CheckpointRefused: the file is missing, damaged, or holds something else.

    Example:
        read_json(path / "config.json")["model_type"]
    """
    if not file.is_file():
        raise CheckpointRefused(
            _("{file} is missing in {parent}.").format(file=file.name, parent=file.parent),
            _("Copy the whole checkpoint again."),
        )
    try:
        if file.stat().st_size > MOST_JSON:
            raise CheckpointRefused(
                _("{file} in {parent} has {size:,} bytes, more than any model of the course needs.").format(
                    file=file.name, parent=file.parent, size=file.stat().st_size
                ),
                _("Copy the whole checkpoint again."),
            )
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CheckpointRefused(
            _("{file} in {parent} cannot be read as JSON ({error}).").format(
                file=file.name, parent=file.parent, error=error
            ),
            _("Copy the whole checkpoint again."),
        ) from error
    if not isinstance(values, dict):
        raise CheckpointRefused(
            _("{file} in {parent} is not a JSON object.").format(file=file.name, parent=file.parent),
            _("Copy the whole checkpoint again."),
        )
    return values
