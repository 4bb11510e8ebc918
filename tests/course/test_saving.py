"""A lab that JupyterLab opens and saves is byte for byte what it was, unless somebody changed it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager

from labs_helper.course import saving

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = [
    path.relative_to(ROOT).as_posix()
    for folder in ("notebooks", "notebooks/solutions", "notebooks/??", "notebooks/??/solutions")
    for path in sorted(ROOT.glob(f"{folder}/[0-9]*.ipynb"))
    if ".copy-" not in path.name
]
# What a kernel says of itself; the version is another on each machine.
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": "3.13.1",
}


def opened_and_saved(folder: Path, name: str, hooked: bool = True) -> None:
    """What JupyterLab does with a notebook that a person opens and leaves."""
    manager = LargeFileManager(root_dir=str(folder))
    if hooked:
        saving._load_jupyter_server_extension(type("App", (), {"contents_manager": manager}))
    model = manager.get(name)
    model["content"]["metadata"]["language_info"] = dict(LANGUAGE)
    manager.save(model, name)
    manager.notary.store.close()  # its database: Python 3.13 warns of one that is left open


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_lab_that_is_opened_stays_as_it_was(notebook, tmp_path):
    name = Path(notebook).name
    shutil.copy(ROOT / notebook, tmp_path / name)
    opened_and_saved(tmp_path, name, hooked=False)
    assert (tmp_path / name).read_bytes() != (ROOT / notebook).read_bytes()  # without us it does change
    opened_and_saved(tmp_path, name)
    assert (tmp_path / name).read_bytes() == (ROOT / notebook).read_bytes()


def test_other_notebooks_and_files_are_saved_as_they_are(tmp_path):
    name = "my-own.ipynb"
    shutil.copy(ROOT / NOTEBOOKS[0], tmp_path / name)
    opened_and_saved(tmp_path, name)
    assert json.loads((tmp_path / name).read_text("utf-8"))["metadata"]["language_info"] == LANGUAGE
    manager = LargeFileManager(root_dir=str(tmp_path))
    manager.register_pre_save_hook(saving.keep_language)
    manager.save({"type": "file", "format": "text", "content": "text"}, "01-instruct.ipynb.txt")
    manager.notary.store.close()
    assert (tmp_path / "01-instruct.ipynb.txt").read_text("utf-8") == "text"


def test_the_environment_loads_it():
    """What pyproject.toml puts where JupyterLab looks: with an older installation, run `make setup` again."""
    config = json.loads((Path(sys.prefix) / "etc/jupyter/jupyter_server_config.d/labs_helper.json").read_text("utf-8"))
    assert config == json.loads((ROOT / "labs_helper/course/saving.json").read_text("utf-8"))
    (module,) = config["ServerApp"]["jpserver_extensions"]
    assert module == saving.__name__ == saving._jupyter_server_extension_points()[0]["module"]
