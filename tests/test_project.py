"""What holds for the repository as a whole: links, alt text, declared packages, notebooks as they should be."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from statistics import median

import pytest
import yaml

import labs_helper
from labs_helper.course import authoring, editions

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def tracked(*patterns: str) -> list[str]:
    """Files of the repository, new ones included, that git would not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted({name for name in names if name and (ROOT / name).exists()})


MARKDOWN = tracked("*.md")
NOTEBOOKS = tracked("notebooks/*.ipynb")
LEARNER = [name for name in NOTEBOOKS if "/solutions/" not in name]


def cells(name: str) -> list[dict]:
    return json.loads((ROOT / name).read_text("utf-8"))["cells"]


def prose(name: str) -> str:
    """The Markdown of a file or notebook, without code."""
    if name.endswith(".ipynb"):
        text = "\n\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")
    else:
        text = (ROOT / name).read_text("utf-8")
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.S | re.M)
    return re.sub(r"(`+)[^`].*?\1", "", text, flags=re.S)


# --- Links and pictures --------------------------------------------------------------------------------------------

LINK = re.compile(r"""\]\(\s*<?([^)\s>]+)|<(?:a|img)\b[^>]*?\b(?:href|src)=["']([^"']+)""")
DEFINITION = re.compile(r"^\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.M)
PICTURE = re.compile(r"!\[([^\]]*)\]\(")
IMG = re.compile(r"<img\b[^>]*>")


def link_problems(text: str, folder: Path) -> list[str]:
    targets = ["".join(found) for found in LINK.findall(text)] + DEFINITION.findall(text)
    problems = []
    for target in targets:
        if re.match(r"[a-z][a-z0-9+.-]*:", target) or target.startswith("#"):
            continue
        path = (folder / target.split("#")[0].split("?")[0]).resolve()
        if not path.exists():
            problems.append(f"{target} is not there")
        elif not path.is_relative_to(ROOT):
            problems.append(f"{target} leaves the repository")
    return problems


def picture_problems(text: str) -> list[str]:
    problems = [
        f"picture without alt text at ...{text[m.start() : m.end() + 40]}"
        for m in PICTURE.finditer(text)
        if not m[1].strip()
    ]
    problems += [
        f"picture without alt text: {tag}"
        for tag in IMG.findall(text)
        if not re.search(r"""\balt=["'][^"']*\S[^"']*["']""", tag)
    ]
    return problems


@pytest.mark.parametrize("name", MARKDOWN + NOTEBOOKS)
def test_links_stay_inside_and_resolve(name):
    assert link_problems(prose(name), (ROOT / name).parent) == []


@pytest.mark.parametrize("name", MARKDOWN + NOTEBOOKS)
def test_every_picture_has_alt_text(name):
    assert picture_problems(prose(name)) == []


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if "/solutions/" in name])
def test_every_picture_in_an_output_has_alt_text(name):
    for cell in cells(name):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            assert picture_problems("".join(data.get("text/html", []))) == []
            # A bare picture cannot carry alt text: figures come as HTML that does.
            assert "text/html" in data or not any(kind.startswith("image/") for kind in data), cell["source"]


@pytest.mark.parametrize(
    ("text", "links", "pictures"),
    [
        ("[a](README.md) [b](README.md#x) [c](https://example.org) [d](#here)", 0, 0),
        ("[a](nowhere.md) ![a cat](nowhere.png)\n[x]: nowhere.md", 3, 0),
        ("[a](../outside.md)", 1, 0),
        ('[![](README.md)](README.md) <img src="README.md"> <img src="README.md" alt=" ">', 0, 3),
        ('[![a cat](README.md)](README.md) <img alt="a cat" src="README.md">', 0, 0),
    ],
)
def test_the_checks_above_can_fail(text, links, pictures):
    assert (len(link_problems(text, ROOT)), len(picture_problems(text))) == (links, pictures)


def test_pictures_are_listed_with_origin_and_alt_text():
    pictures = [Path(name).name for name in tracked("images/*") if not name.endswith(".md")]
    listed = (ROOT / "images" / "README.md").read_text("utf-8") if pictures else ""
    assert [name for name in pictures if name not in listed] == []


# --- Notebooks -----------------------------------------------------------------------------------------------------


def test_both_editions_are_what_their_sources_say():
    assert authoring.check() == []


EDITION = re.compile(r"\*\*This is the (\w+) edition\.\*\* ")


@pytest.mark.parametrize("source", sorted((ROOT / "notebooks/src").glob("*.py")), ids=lambda path: path.stem)
def test_a_lab_says_which_edition_it_is_and_ends_with_what_is_left(source):
    said = {}
    for kind in ("learner", "solution"):
        cells = editions.edition(editions.read(source), kind).cells
        said[kind] = [found[1] for cell in cells if (found := EDITION.match(cell.source))]
        assert cells[-1].source.splitlines()[-1] == f'so_far("{source.stem[:2]}")'
    assert said == {"learner": ["learner"], "solution": ["solution"]}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_clean(name):
    notebook = json.loads((ROOT / name).read_text("utf-8"))
    assert "widgets" not in notebook["metadata"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    headings = re.findall(r"^# .*$", prose(name), re.M)
    assert len(headings) == 1 and "".join(notebook["cells"][0]["source"]).startswith(headings[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            assert not re.search(r'(?<![\w.:/"=-])/(home|root|tmp|Users|private)/', json.dumps(output)), cell["source"]


@pytest.mark.parametrize("name", LEARNER)
def test_learner_edition_has_no_outputs(name):
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("name", LEARNER)
def test_code_cells_are_short(name):
    lines = [len("".join(cell["source"]).splitlines()) for cell in cells(name) if cell["cell_type"] == "code"]
    assert max(lines) <= 30 and median(lines) <= 6


# --- Packages ------------------------------------------------------------------------------------------------------


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s;<>=!~\[@]", name.strip(), maxsplit=1)[0]).lower()


CORE = {canonical(each) for each in PROJECT["dependencies"]}
EXTRAS = {extra: {canonical(each) for each in names} for extra, names in PROJECT["optional-dependencies"].items()}
# Programs that are started by name and never imported, and what computes for mlx.
TOOLS = {"jupyterlab", "ipykernel", "mlx-cpu"}
INSTALLED = packages_distributions()


def imported(name: str) -> set[str]:
    """The distributions that a Python file imports, by canonical name."""
    modules = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module)
    ours = {file.split("/")[0] for file in PYTHON}
    for file in PYTHON:
        if file.startswith("tests/"):
            ours |= {Path(file).stem, Path(file).parent.name}
    tops = {module.split(".")[0] for module in modules} - sys.stdlib_module_names - ours
    names = {canonical(each) for top in tops for each in (INSTALLED.get(top, [top])[:1])}
    return {"mlx" if each.startswith("mlx-") and each not in ("mlx-lm", "mlx-vlm") else each for each in names}


# Authors make the notebooks; a learner's machine never runs these.
AUTHORS = {
    f"labs_helper/course/{name}.py"
    for name in (
        *("authoring", "editions", "execution"),
        *(f"translation/{module}" for module in ("catalogs", "cells", "sources", "work")),
    )
}

LLAMA_CPP = {
    f"labs_helper/{name}.py"
    for name in (
        *("engines/llama_cpp", "serving/child", "serving/gguf_model"),
        *("quantizing/gguf_kinds", "tuning/gguf_adapter"),
    )
}


ONNX = {"labs_helper/engines/onnx_sessions.py"}


def allowed(name: str) -> set[str]:
    if name in LLAMA_CPP | ONNX:
        return CORE | EXTRAS["x86"]  # the extra is for llama.cpp and ONNX Runtime
    if name in tuple(f"labs_helper/board/{module}.py" for module in ("server", "listener", "joining")):
        return CORE | EXTRAS["board"]  # the instructor's side; a learner's machine never imports it
    if name in ("labs_helper/course/slides.py", "labs_helper/course/deck/__init__.py"):
        return CORE | EXTRAS["slides"]
    if name in AUTHORS:
        return CORE | EXTRAS["dev"]
    if name.startswith(("labs_helper/", "notebooks/")):
        return CORE
    if name.startswith("docs/site/"):
        return EXTRAS["site"]
    if name.startswith("tests/site/"):
        return CORE | EXTRAS["dev"] | EXTRAS["site"]
    # bench_real's side of transformers runs in a Python of its own.
    makers = ("training/", "tests/training/", "tests/parity/make", "tests/reference/", "benchmarks/bench_real.py")
    if name.startswith(makers) and name != "training/evaluate.py":
        return CORE | EXTRAS["dev"] | EXTRAS["training"]
    return CORE | EXTRAS["dev"]


PYTHON = tracked("labs_helper/*.py", "training/*.py", "tests/*.py", "benchmarks/*.py", "notebooks/src/*.py", "*.py")


@pytest.mark.parametrize("name", PYTHON)
def test_every_import_is_declared(name):
    assert imported(name) <= allowed(name)


def test_every_declared_package_is_imported():
    course = set().union(*(imported(name) for name in PYTHON if name.startswith(("labs_helper/", "notebooks/"))))
    assert CORE - course - TOOLS == set()


def test_constraints_name_exact_versions_and_no_addresses():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==\d[\w.]*", pin)] == []
    assert not any("://" in line for line in lines)
    pinned = [canonical(pin) for pin in pins]
    assert len(set(pinned)) == len(pinned)
    assert CORE.union(*EXTRAS.values()) - set(pinned) == set()


def test_what_is_installed_is_what_is_pinned():
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M))
    from importlib.metadata import PackageNotFoundError, version

    wrong = []
    for name in sorted(CORE | EXTRAS["dev"]):
        pin = next(value for key, value in pins.items() if canonical(key) == name)
        try:
            if version(name) != pin:
                wrong.append(f"{name}: {version(name)} is installed, {pin} is pinned")
        except PackageNotFoundError:
            wrong.append(f"{name} is not installed")
    assert wrong == [], "Run `make setup`."


# --- The files around --------------------------------------------------------------------------------------------


def test_every_make_command_in_the_texts_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    others = ["environment.yml", ".devcontainer/devcontainer.json", ".devcontainer/welcome.txt", ".ci/run", *WORKFLOWS]
    for name in [*MARKDOWN, *others]:
        said = re.findall(r"(?:`|^|run: |\s{2})make ([a-z-]+)", (ROOT / name).read_text("utf-8"), re.M)
        assert set(said) <= targets, name


def test_every_labs_command_in_the_texts_exists():
    """Each command is asked for its help, which ends with status 0."""
    from labs_helper import cli

    said = set()
    for name in MARKDOWN:
        text = (ROOT / name).read_text("utf-8")
        said |= set(re.findall(r"(?:`!?|^|/)labs ((?:models|workshop|notebooks) [a-z-]+|[a-z]+)(?=[ `\n])", text, re.M))
    assert {"reset", "progress", "workshop zip", "models serve"} <= said
    for command in sorted(said):
        assert cli.main([*command.split(), "--help"]) == 0, command


WORKFLOWS = tracked(".github/workflows/*.yml")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_take_few_rights_and_name_what_they_run(name):
    text = (ROOT / name).read_text("utf-8")
    assert re.search(r"^permissions:( \{\}|\n  contents: read\n)", text, re.M), "rights are given job by job"
    assert "pull_request_target" not in text and "secrets." not in text
    assert len(re.findall(r"uses: actions/checkout@", text)) == text.count("persist-credentials: false")
    assert len(re.findall(r"^    runs-on:", text, re.M)) == len(re.findall(r"^    timeout-minutes:", text, re.M))
    for action in re.findall(r"uses: (\S+.*)", text):
        pinned = re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
        assert pinned or action == "lycheeverse/lychee-action@v2", action
    # A job that may write runs no code of the repository and nothing from elsewhere.
    # What publishes the site is GitHub's own action: it takes what another job has built.
    for job in re.split(r"^  (?=[a-z]+:$)", text.split("\njobs:\n")[1], flags=re.M):
        if re.search(r": write", job):
            assert set(re.findall(r"uses: (\S+)@", job)) <= {"actions/deploy-pages"}


def test_the_weekly_run_reports_every_job():
    jobs = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text("utf-8"))["jobs"]
    others = sorted(jobs.keys() - {"report"})
    assert "upstream" in others and sorted(jobs["report"]["needs"]) == others
    said = json.dumps(jobs["report"]["steps"])
    assert all(f"needs.{job}.result" in said for job in others)
    scripts = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    for name in re.findall(r"tests/\S+\.py", " ".join(scripts)):
        assert (ROOT / name.split("::")[0]).is_file(), name


def test_hooks_leave_the_solution_edition_alone():
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    (files,) = re.findall(r"id: nbstripout.*?files: (\S+)", text, re.S)
    assert [name for name in NOTEBOOKS if re.search(files, name)] == LEARNER
    pins = (ROOT / "constraints.txt").read_text("utf-8")
    assert re.search(r"\[ruff==(\S+)\]", text)[1] == re.search(r"^ruff==(\S+)$", pins, re.M)[1]


def test_the_version_is_the_same_everywhere():
    """pyproject.toml has it; the package reads it from there, and two files repeat it for their readers."""
    assert labs_helper.__version__ == PROJECT["version"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    assert cited[1] == PROJECT["version"]
    logged = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert logged[0] == PROJECT["version"]  # the newest comes first


def test_dev_container_is_valid_and_can_hold_mlx():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8")
    settings = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    # MLX's Linux wheels need glibc 2.35; Debian 12 has 2.36, the `universal` image has not.
    assert settings["image"].endswith("bookworm")
    assert settings["waitFor"] == "updateContentCommand"
    assert 8888 in settings["forwardPorts"] and settings["portsAttributes"]["8888"]["label"]
    needs = settings["hostRequirements"]
    assert needs["cpus"] >= 2 and needs["memory"] == "8gb" and int(needs["storage"].removesuffix("gb")) >= 16
    # Everything that takes long is in the commands that a prebuild runs, and nothing fetches a model.
    assert "libopenblas0-pthread" in settings["onCreateCommand"] and "g++" in settings["onCreateCommand"]
    assert "make setup" in settings["updateContentCommand"]
    commands = {key: value for key, value in settings.items() if key.endswith("Command")}
    assert set(commands) == {"onCreateCommand", "updateContentCommand", "postAttachCommand"}
    assert "models fetch" not in json.dumps(commands)
    # The kernel that the notebooks name is the one of the environment.
    kernel = json.loads((ROOT / "notebooks/00-start-here.ipynb").read_text("utf-8"))["metadata"]["kernelspec"]
    assert f"ipykernel install --user --name {kernel['name']}" in settings["updateContentCommand"]
    assert kernel["display_name"] in settings["updateContentCommand"]
    for name in settings["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / name).is_file()
    for name in re.findall(r"\.devcontainer/[\w.-]+", json.dumps(commands)):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("language", [each.parent.name for each in ROOT.glob(".devcontainer/*/devcontainer.json")])
def test_the_container_of_another_language_differs_in_language_alone(language):
    def read(path):
        return json.loads(re.sub(r"^\s*//.*$", "", path.read_text("utf-8"), flags=re.M))

    english = read(ROOT / ".devcontainer" / "devcontainer.json")
    other = read(ROOT / ".devcontainer" / language / "devcontainer.json")
    assert other.pop("containerEnv") == {"LABS_LANGUAGE": language}
    assert other.pop("name") != english.pop("name")
    opened = other["customizations"]["codespaces"].pop("openFiles")
    assert [name.replace(f".{language}.", ".").replace(f"/{language}/", "/") for name in opened] == (
        english["customizations"]["codespaces"].pop("openFiles")
    )
    assert all((ROOT / name).is_file() for name in opened)
    assert (ROOT / ".devcontainer" / language / "welcome.txt").is_file()
    assert json.loads(json.dumps(other).replace(f".devcontainer/{language}/", ".devcontainer/")) == english


def test_files_are_small_enough_for_a_quick_clone():
    assert [name for name in tracked() if (ROOT / name).stat().st_size > 8 * 1024**2] == []


def test_a_checkout_on_windows_keeps_the_line_ends():
    """Every file is text with LF or is left as it is, whatever core.autocrlf says."""
    command = ["git", "check-attr", "--stdin", "-z", "text", "eol"]
    names = tracked("*")
    asked = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, input="\0".join(names))
    fields = asked.stdout.split("\0")
    attributes: dict[str, dict[str, str]] = {}
    for name, attribute, value in zip(fields[::3], fields[1::3], fields[2::3]):
        attributes.setdefault(name, {})[attribute] = value
    assert len(attributes) == len(names)
    assert [name for name, has in attributes.items() if has["text"] != "unset" and has["eol"] != "lf"] == []
    binary = (".safetensors", ".npz", ".png", ".gif", ".mp4")
    assert all(has["text"] == "unset" for name, has in attributes.items() if name.endswith(binary))
