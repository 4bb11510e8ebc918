"""Types of data that several rooms pass on: configurations and tables of tensors, as JSON and headers hold them."""

from __future__ import annotations

from typing import Any, TypedDict

Config = dict[str, Any]  # config.json of a checkpoint


class Tensor(TypedDict):
    """One tensor of a checkpoint, as the header of its file describes it."""

    dtype: str
    shape: list[int]


Table = dict[str, Tensor]  # tensors by name
