"""An extension of the Jupyter server: a lab that is only opened stays as it was handed out.

JupyterLab writes what the kernel says of its language into every notebook that it opens, the exact version of Python
included, and soon saves it. Then `git status` names a file that nobody touched, `git pull` stops, and `labs reset`
keeps a copy of nothing. So the entry goes back to what the course stores each time a lab is saved.

pyproject.toml installs saving.json, which loads this in every JupyterLab of the environment.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from labs_helper.catalog.labs import labs
from labs_helper.course.editions import METADATA


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    app.contents_manager.register_pre_save_hook(keep_language)


def keep_language(model: dict[str, Any], path: str, **_others: Any) -> None:
    """Put the language entry of a lab back, in what is about to be written.

    Args:
        model: what the server saves, as its contents API has it; changed in place.
        path: where to, below the server's folder.

    Example:
        contents_manager.register_pre_save_hook(keep_language)
    """
    content = model.get("content")
    if model.get("type") == "notebook" and content and PurePosixPath(path).stem in {lab.stem for lab in labs()}:
        content["metadata"]["language_info"] = dict(METADATA["language_info"])
