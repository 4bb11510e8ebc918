"""Every lab runs from the learners' zip: unpacked elsewhere, offline, and without a look into the repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from labs_helper import cli
from labs_helper.common.units import size
from labs_helper.course import release, reset, update
from labs_helper.course.translation import offered

ROOT = Path(__file__).resolve().parents[2]

# Python imports this before anything else, in every process of the run: a file of the repository and an address
# outside this computer cannot be opened by mistake. The environment may be inside the repository.
GUARD = """
import os, sys

ROOT, ENVIRONMENT = {root!r} + os.sep, os.path.realpath(sys.prefix) + os.sep


def guard(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(ROOT) and not path.startswith((ENVIRONMENT, ROOT + ".venv")):
            raise FileNotFoundError(f"{{path}} is in the repository, not in the zip")
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        if arguments[1][0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"{{arguments[1]}} is not this computer")


sys.addaudithook(guard)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return release.build(tmp_path_factory.mktemp("zip") / "learner.zip")


@pytest.fixture(scope="module")
def unpacked(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(made) as file:
        file.extractall(folder)
    (folder / "guard").mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(GUARD.format(root=str(ROOT)), "utf-8")
    return folder / release.NAME


def run_lab(unpacked: Path, name: str) -> str:
    """Run a learner notebook with nothing but what the zip holds and the installed packages.

    `make test` runs learner editions here and nowhere else: their cells are those of notebooks/.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LABS_", "PYTEST_", "COV_"))}
    environment = kept | {
        "PYTHONPATH": os.pathsep.join([str(unpacked.parent / "guard"), str(unpacked)]),
        "LABS_MODELS": "tiny",
        "LABS_DATA_DIR": str(unpacked.parent / "data"),
        "HF_HUB_OFFLINE": "1",
        "MLX_DISABLE_COMPILE": "1",
    }
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=60", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"notebooks/{name}.ipynb", *options],
        cwd=unpacked,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_the_guard_sees_the_repository(unpacked):
    """What the test below relies on: a file of the repository cannot be opened, one of the zip can."""
    code = f"open('README.md').close(); open({str(ROOT / 'README.md')!r})"
    environment = {"PYTHONPATH": str(unpacked.parent / "guard"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=unpacked, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "not in the zip" in done.stderr


def lab(name: str):
    """A lab of the run; the labs that open the least beside their models, and take longest, are slow."""
    return pytest.param(name, marks=[pytest.mark.slow] if name[:2] in ("01", "02") else [])


LABS = [path.stem for path in sorted((ROOT / "notebooks/src").glob("*.py"))]
# A translation differs in words only: one lab shows that those in other languages find their files, one folder deeper.
TRANSLATED = [f"{spoken.code}/{name}" for spoken in offered.languages() for name in LABS if name[:2] in spoken.labs[:1]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [lab(name) for name in [*LABS, *TRANSLATED]])
def test_a_lab_runs_from_the_zip(unpacked, name):
    """No cell fails: not for a missing file or module, and for nothing else. Dots stay where answers are asked for."""
    handed_out = json.loads((unpacked / "notebooks" / f"{name}.ipynb").read_text("utf-8"))
    code = sum(cell["cell_type"] == "code" and "".join(cell["source"]).strip() != "" for cell in handed_out["cells"])
    ran = re.search(r"^(\d+) passed", run_lab(unpacked, name).splitlines()[-1])
    assert ran and int(ran[1]) == code


def test_a_lab_in_another_language_is_reset_to_it(unpacked):
    """In a folder without sources, as learners have it; the English edition stays."""
    for name in TRANSLATED:
        notebook = unpacked / "notebooks" / f"{name}.ipynb"
        handed_out = notebook.read_bytes()
        notebook.write_text("mine", "utf-8")
        done = reset.restore(name.partition("/")[2][:2], folder=unpacked / "notebooks", language=name.partition("/")[0])
        assert done.copy and done.copy.parent == notebook.parent and notebook.read_bytes() == handed_out
        done.copy.unlink()


def test_its_notebooks_have_the_cells_of_the_repository(unpacked):
    """Only links to solutions differ, so that running these is running those."""
    for path in sorted((ROOT / "notebooks/src").glob("*.py")):
        cells = [
            [cell["source"] for cell in json.loads(file.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
            for file in (ROOT / "notebooks" / f"{path.stem}.ipynb", unpacked / "notebooks" / f"{path.stem}.ipynb")
        ]
        assert cells[0] == cells[1], f"run `labs notebooks build {path.stem[:2]}`"


def test_its_readme_promises_nothing_that_is_left_out(unpacked):
    text = (unpacked / "README.md").read_text("utf-8")
    assert "notebooks/solutions" not in text and "<!-- solutions" not in text and "and hints.\nWords are" in text
    assert "notebooks/solutions" in (ROOT / "README.md").read_text("utf-8")


def test_it_lists_every_file_and_updates_itself_to_itself(made, unpacked):
    """What `labs update` needs; the run of the labs above may have left files of Python behind."""
    listed = json.loads((unpacked / release.HANDED_OUT).read_text("utf-8"))
    with zipfile.ZipFile(made) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    assert names == {*listed, release.HANDED_OUT} and len(names) > 300
    (unpacked / "README.md").write_text("mine")
    assert update.update(made, root=unpacked).changed == ()
    (unpacked / "data/handed-out.json").unlink()
    done = update.update(made, root=unpacked)
    assert [copy.name.partition(".copy-")[0] for copy in done.copies] == ["README"]


def test_its_size_is_printed_and_in_the_guide(made, tmp_path, capsys):
    assert cli.main(["workshop", "zip", str(tmp_path / "learner.zip")]) == 0
    assert f"({size(made.stat().st_size)})" in capsys.readouterr().out
    guide = (ROOT / "docs" / "instructors.md").read_text("utf-8")
    (told,) = re.findall(r"phi35-labs-learner\.zip` \((\d+) MB\)", guide)
    assert int(told) == round(made.stat().st_size / 1e6)
