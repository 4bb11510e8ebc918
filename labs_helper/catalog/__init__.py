"""What the course consists of: models, model servers, labs, published tables, and the folder they are in."""

from __future__ import annotations

from labs_helper.catalog.folder import course_folder
from labs_helper.catalog.labs import Lab, find_lab, labs
from labs_helper.catalog.models import TIERS, ModelCard, cards, find, folder_bytes, for_this_machine

__all__ = [
    "TIERS",
    "Lab",
    "ModelCard",
    "cards",
    "course_folder",
    "find",
    "find_lab",
    "folder_bytes",
    "for_this_machine",
    "labs",
]
