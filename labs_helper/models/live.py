"""The models of this process. Weak references, so that `del model` is enough to give a model up."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labs_helper.models.model import Model

LIVE: weakref.WeakValueDictionary[Hashable, Model] = weakref.WeakValueDictionary()
