"""The two editions of a lab, made from a small source of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

from labs_helper import cli
from labs_helper.course import authoring, execution
from labs_helper.errors import BadRequest, LabError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = """\
# %% [markdown] minutes=5
# # Count the tokens
#
# ![A map](../images/map.png) [answers](solutions/01-sample.ipynb) [next](02-vision.ipynb)

# %%
import os
import time

print("tier", os.environ["LABS_MODELS"])

# %% tags=["nbval-check-output"]
6 * 7

# %% tags=["exercise"]
# How many letters?
word = "tea"
letters = ...  # your turn

# %% [markdown] tags=["solution"]
# `len` counts them.

# %% tags=["solution"]
word = "tea"
letters = len(word)

# %%
print("not yet" if letters is ... else letters)

# %%
print(f"took {time.perf_counter():.3f} s")
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notebooks"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "01-sample.py").write_text(SOURCE, "utf-8")
    return folder


def change(folder, old, new):
    path = folder / "src" / "01-sample.py"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def editions(folder):
    paths = folder / "01-sample.ipynb", folder / "solutions" / "01-sample.ipynb"
    return [nbformat.read(path, as_version=4) for path in paths]


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def test_learner_edition_has_stubs_and_no_solutions(folder):
    authoring.build(execute=False, folder=folder)
    learner, solution = editions(folder)
    assert any("letters = ..." in text for text in sources(learner))
    assert not any("len(word)" in text or "`len` counts" in text for text in sources(learner))
    assert any("len(word)" in text for text in sources(solution))
    assert not any("letters = ..." in text for text in sources(solution))
    assert any("not yet" in text for text in sources(learner)) and any("not yet" in text for text in sources(solution))


def test_learner_edition_is_clean_and_always_the_same_bytes(folder):
    authoring.build(execute=False, folder=folder)
    path = folder / "01-sample.ipynb"
    first = path.read_bytes()
    authoring.build(execute=False, folder=folder)
    assert path.read_bytes() == first
    notebook = json.loads(first)
    assert "widgets" not in notebook["metadata"] and notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert all(not c["outputs"] and c["execution_count"] is None for c in notebook["cells"] if c["cell_type"] == "code")
    assert notebook["cells"][0]["metadata"] == {"minutes": 5}
    assert ["nbval-check-output"] in [cell["metadata"].get("tags") for cell in notebook["cells"]]


def test_cells_keep_their_id_when_others_come(folder):
    authoring.build(execute=False, folder=folder)
    before = {cell.source: cell.id for cell in editions(folder)[0].cells}
    change(folder, "# %%\nimport os", "# %%\n1 + 1\n\n# %%\n1 + 1\n\n# %%\nimport os")
    authoring.build(execute=False, folder=folder)
    after = editions(folder)[0].cells
    assert {cell.source: cell.id for cell in after}.items() >= before.items()
    assert len({cell.id for cell in after}) == len(after)


def test_links_move_with_the_solution_edition(folder):
    authoring.build(execute=False, folder=folder)
    learner, solution = (notebook.cells[0].source for notebook in editions(folder))
    assert "(../images/map.png) [answers](solutions/01-sample.ipynb) [next](02-vision.ipynb)" in learner
    assert "(../../images/map.png) [answers](01-sample.ipynb) [next](02-vision.ipynb)" in solution


def test_execution_is_offline_on_the_bundled_models_and_stable(folder):
    authoring.build(["01"], folder=folder)
    assert authoring.check(folder=folder) == []
    solution = editions(folder)[1]
    code = [cell for cell in solution.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5]
    assert code[0].outputs[0].text == "tier tiny\n"
    assert code[1].outputs[0].data["text/plain"] == "42"
    assert code[3].outputs[0].text == "3\n"
    assert "execution" not in code[0].metadata and "version" not in solution.metadata["language_info"]

    stored = (folder / "solutions" / "01-sample.ipynb").read_bytes()
    authoring.build(folder=folder)  # another run takes another time, and that alone is no change
    assert (folder / "solutions" / "01-sample.ipynb").read_bytes() == stored

    change(folder, "`len` counts them.", "`len` counts the letters.")
    authoring.build(execute=False, folder=folder)  # prose only: the run stays true
    assert authoring.check(folder=folder) == []
    change(folder, "6 * 7", "6 * 8")
    authoring.build(execute=False, folder=folder)
    assert authoring.check(folder=folder) == [
        "solutions/01-sample.ipynb was not executed from top to bottom. Run `labs notebooks build 01-sample`."
    ]


def test_a_failing_cell_is_told_and_nothing_is_written(folder):
    change(folder, "6 * 7", "6 / 0")
    with pytest.raises(LabError, match=r"(?s)01-sample.ipynb did not run to its end.*ZeroDivisionError"):
        authoring.build(folder=folder)
    assert not list(folder.rglob("*.ipynb")) and not list(folder.rglob("*.new"))


def test_an_output_that_really_differs_replaces_the_stored_one():
    def notebook(text):
        cell = nbformat.v4.new_code_cell("ask()", id="a", outputs=[nbformat.v4.new_output("stream", text=text)])
        return nbformat.v4.new_notebook(cells=[cell])

    for new, old, kept in [
        ("85 in 0.31 s, 210.5 tokens/s, 12 MB", "85 in 1.2 s, 87 tokens/s, 11.5 MB", True),
        ("{'seconds to first': '0.35', 'tokens': 9}", "{'seconds to first': '0.1', 'tokens': 9}", True),
        ("{'seconds': 1.5, 'tokens': 9}", "{'seconds': 1.5, 'tokens': 8}", False),
        ("86 in 0.31 s", "85 in 0.31 s", False),
        ("9 tokens", "8 tokens", False),
        ("0.31초 만에, 초당 토큰 210.5개", "1.2초 만에, 초당 토큰 87개", True),
        ("토큰 9개, 0.31초", "토큰 8개, 0.31초", False),
        ("{'첫 토큰까지의 초': '0.835', '초당 토큰': '145.5'}", "{'첫 토큰까지의 초': '0.1', '초당 토큰': '45'}", True),
        ("/tmp/tmp8mvbwha_/4bit: 2.96 MB", "/tmp/tmpab12cd_e/4bit: 2.96 MB", True),
        ("/tmp/tmp8mvbwha_/4bit", "/tmp/tmpab12cd_e/3bit", False),
        ("85 en 0.31 segundos", "85 en 1.2 segundos", True),
    ]:
        fresh = notebook(new)
        execution.keep_outputs(fresh, notebook(old))
        assert fresh.cells[0].outputs[0].text == (old if kept else new)


def test_outputs_lose_widget_views_and_the_machines_paths(folder):
    view = 'class View:\n    def _repr_mimebundle_(self, **_):\n        return {"text/plain": "chat: hello", '
    view += '"application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2, "version_minor": 0}}\n\n'
    change(folder, "6 * 7", view + "View()")
    change(folder, 'print("not yet"', "print(os.getcwd() + '/a', os.path.expanduser('~/b'))\nprint(\"not yet\"")
    authoring.build(folder=folder)
    cells = editions(folder)[1].cells
    assert [cell.outputs[0].data for cell in cells if "class View" in cell.source] == [{"text/plain": "chat: hello"}]
    # Paths are shown from the repository and the home folder on.
    shown = [cell.outputs[0].text for cell in cells if "getcwd" in cell.source]
    assert shown == ["notebooks/solutions/a ~/b\n3\n"]


def test_check_names_what_differs(folder):
    missing = authoring.check(folder=folder)
    assert [problem.split(" is missing")[0] for problem in missing] == ["01-sample.ipynb", "solutions/01-sample.ipynb"]
    authoring.build(execute=False, folder=folder)
    learner, solution = editions(folder)

    learner.cells[1].source += "\nprint('edited by hand')"
    nbformat.write(learner, folder / "01-sample.ipynb")
    solution.cells[2].metadata["tags"] = []
    nbformat.write(solution, folder / "solutions" / "01-sample.ipynb")
    nbformat.write(learner, folder / "09-orphan.ipynb")
    text = "\n".join(authoring.check(folder=folder))
    assert "01-sample.ipynb differs from src/01-sample.py" in text
    assert "solutions/01-sample.ipynb differs from its source" in text
    assert "09-orphan.ipynb has no source" in text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("letters = ...  # your turn", "letters = ...\nprint(word)", "'print(word)' is not in its solution"),
        ('# %% tags=["solution"]\nword', "# %%\nword", "needs a `solution` code cell"),
        ("# %% [markdown] minutes=5", '# %% [markdown] tags=["exercise"]', "belongs on the code cell"),
    ],
)
def test_broken_rules_stop_the_build(folder, old, new, problem):
    change(folder, old, new)
    with pytest.raises(BadRequest, match=r"01-sample\.py") as caught:
        authoring.build(execute=False, folder=folder)
    assert problem in str(caught.value)
    assert any(problem in line for line in authoring.check(folder=folder))


def test_unknown_lab_lists_the_known_ones(folder):
    with pytest.raises(BadRequest, match=r"'07'.*01-sample"):
        authoring.build(["07"], folder=folder)


# --- labs notebooks new --------------------------------------------------------------------------------------------


def test_a_new_lab_has_all_its_parts(tmp_path):
    folder = tmp_path / "notebooks"
    source, checks, registry = authoring.new("09", "my-lab", folder=folder)
    assert source == folder / "src" / "09-my-lab.py"
    assert checks == tmp_path / "labs_helper/exercises/lab09.py"
    (entry,) = tomllib.loads(registry.read_text("utf-8"))["lab"]
    assert (entry["number"], entry["slug"], entry["roles"]) == ("09", "my-lab", ["instruct"])
    authoring.build(execute=False, folder=folder)
    learner = nbformat.read(folder / "09-my-lab.ipynb", as_version=4)
    assert "This is the learner edition." in sources(learner)[1] and 'check_setup("09")' in sources(learner)[2]
    assert sum(cell.metadata.get("minutes", 0) for cell in learner.cells) == entry["minutes"] == 20
    # Everything but the run, which `build` with execute=True does.
    assert [problem for problem in authoring.check(folder=folder) if "was not executed" not in problem] == []


@pytest.mark.posix
def test_a_new_lab_works_at_once(tmp_path):
    """In a copy of the course: the command, the report of the machine and both answers of the new check."""
    shutil.copytree(ROOT / "labs_helper", tmp_path / "labs_helper", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/checkpoints").symlink_to(ROOT / "data/checkpoints")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "LABS_HOME": str(tmp_path)}

    def python(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shown = python("-m", "labs_helper.cli", "notebooks", "new", "09", "my-lab")
    assert "09-my-lab.py" in shown and "lab09.py" in shown and "make notebooks LABS=09" in shown
    code = (
        "from labs_helper import check, check_setup\n"
        "print(check_setup('09').lab, [check('9.1', value).status for value in (7, ..., 0.5)])"
    )
    assert python("-c", code) == "09 ['passed', 'not yet', 'try again']\n"
    python("-m", "labs_helper.cli", "notebooks", "build", "09")
    python("-m", "labs_helper.cli", "notebooks", "check")


@pytest.mark.parametrize(
    ("number", "slug"), [("8", "a"), ("09", "My Lab"), ("09", "../x"), ("09", ""), ("01", "other")]
)
def test_a_name_that_cannot_be_used_writes_nothing(folder, number, slug):
    before = sorted(folder.rglob("*"))
    with pytest.raises(BadRequest):
        authoring.new(number, slug, folder=folder)
    assert sorted(folder.rglob("*")) == before


def test_a_number_of_the_registry_is_taken(folder):
    registry = folder.parent / "labs_helper/catalog/labs.toml"
    registry.parent.mkdir(parents=True)
    registry.write_text('[[lab]]\nnumber = "09"\n', "utf-8")
    with pytest.raises(BadRequest, match=r"there already: labs\.toml"):
        authoring.new("09", "my-lab", folder=folder)


def test_new_on_the_command_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    assert cli.main(["notebooks", "new", "09"]) == 2
    assert cli.main(["notebooks", "new", "09", "my-lab"]) == 0
    assert str(tmp_path / "notebooks/src/09-my-lab.py") in capsys.readouterr().out
    assert cli.main(["notebooks", "new", "09", "my-lab"]) == 1
    assert "Take another number" in capsys.readouterr().err
