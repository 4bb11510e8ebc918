"""Where the course is: said once in pyproject.toml, shown by every text, and never as an address that does not work."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from labs_helper import cli
from labs_helper.course import home
from labs_helper.course.translation import offered
from labs_helper.errors import BadRequest, LabError

ROOT = Path(__file__).resolve().parents[2]
FILES = ("pyproject.toml", "README.md", "docs/instructors.md", "docs/hub/jupyterhub_config.py", "docs/hub/values.yaml")
ADDRESS = "https://github.com/a-school/phi35-labs"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of the files, in a folder that is no git repository, as if nobody had said where the course is."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    home.set_home("", root=tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["README.md", "docs/instructors.md"])
def test_the_texts_show_the_address_that_is_set(name):
    text = (ROOT / name).read_text("utf-8")
    assert home.filled(text, home.home(ROOT)) == text, "run `labs workshop home ADDRESS`"


def test_the_instructors_guide_of_a_language_has_the_address_and_its_own_words(course):
    korean = course / "docs" / "ko" / "instructors.md"
    korean.parent.mkdir()
    korean.write_text("<!-- home: setup -->\n<!-- home: end -->\n", "utf-8")
    table = course / "labs_helper" / "locale" / offered.TABLE
    table.parent.mkdir(parents=True)
    table.write_text('[ko]\nname = "한국어"\ndocuments = ["docs/instructors.md"]\n', "utf-8")
    assert korean in home.set_home(ADDRESS, root=course)
    text = korean.read_text("utf-8")
    assert f"git clone {ADDRESS} phi35-labs" in text and "make setup" in text
    assert [line for line in text.splitlines() if "#" in line and not re.search("[가-힣]", line)] == []
    assert korean in home.set_home("", root=course)
    assert "ADDRESS는 이 저장소의 주소입니다" in korean.read_text("utf-8")


def test_no_text_shows_a_placeholder_as_if_it_worked():
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name]
    assert "README.md" in names
    assert [name for name in names if "OWNER" in (ROOT / name).read_text("utf-8")] == []


def test_setting_the_address_writes_it_everywhere_and_taking_it_out_restores_the_files(course):
    before = {name: (course / name).read_text("utf-8") for name in FILES}
    assert "codespaces.new" not in before["README.md"] and "git clone ADDRESS" in before["README.md"]
    changed = home.set_home(ADDRESS + ".git", root=course)
    assert {path.relative_to(course).as_posix() for path in changed} == set(FILES)
    assert tomllib.loads((course / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"] == ADDRESS
    readme = (course / "README.md").read_text("utf-8")
    assert f"git clone {ADDRESS} phi35-labs" in readme
    assert readme.count("https://codespaces.new/a-school/phi35-labs?quickstart=1") == 2  # badge and list
    assert not any("OWNER" in (course / name).read_text("utf-8") for name in FILES)
    other = "https://git.example.org/class/labs"
    home.set_home(other, root=course)
    texts = [(course / name).read_text("utf-8") for name in FILES]
    assert not any("a-school" in text for text in texts) and "codespaces.new" not in texts[1]
    assert home.set_home(other, root=course) == []
    home.set_home("", root=course)
    assert {name: (course / name).read_text("utf-8") for name in FILES} == before


@pytest.mark.parametrize(
    "wrong", ["a-school/phi35-labs", "https://github.com/OWNER/REPOSITORY", "https://a:b@c.example/d"]
)
def test_what_cannot_be_the_address_is_refused_and_nothing_changes(course, wrong):
    before = (course / "README.md").read_text("utf-8")
    with pytest.raises(BadRequest):
        home.set_home(wrong, root=course)
    assert (course / "README.md").read_text("utf-8") == before


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://github.com/a-school/phi35-labs.git", ADDRESS),
        ("git@github.com:a-school/phi35-labs.git", ADDRESS),
        ("https://token@github.com/a-school/phi35-labs", None),
        ("/srv/labs.git", None),
    ],
)
def test_without_an_entry_the_clone_says_where_it_came_from(course, origin, expected):
    subprocess.run(["git", "init", "-q", str(course)], check=True)
    subprocess.run(["git", "-C", str(course), "remote", "add", "origin", origin], check=True)
    if expected:
        assert home.repository() == expected
    else:
        with pytest.raises(LabError, match="where this course's repository is"):
            home.repository()


def test_the_commands(course, capsys):
    assert cli.main(["workshop", "link"]) == 1
    assert "labs workshop home ADDRESS" in capsys.readouterr().err
    assert cli.main(["workshop", "home"]) == 0
    assert "not set" in capsys.readouterr().out
    assert cli.main(["workshop", "home", ADDRESS]) == 0
    assert "README.md" in capsys.readouterr().out
    assert cli.main(["workshop", "link"]) == 0
    shown = capsys.readouterr().out
    assert f"git clone {ADDRESS} phi35-labs" in shown and "https://codespaces.new/a-school/phi35-labs" in shown
    assert cli.main(["workshop", "link", "https://hub.example.org"]) == 0
    assert "repo=https%3A%2F%2Fgithub.com%2Fa-school%2Fphi35-labs" in capsys.readouterr().out


def test_codespaces_open_in_the_language_of_the_reader():
    link = home.codespaces("https://github.com/a-school/labs", "ko")
    (path,) = parse_qs(urlsplit(link).query)["devcontainer_path"]
    assert (ROOT / path).is_file()
    assert "devcontainer_path" not in home.codespaces("https://github.com/a-school/labs")
