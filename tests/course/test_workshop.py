"""The instructor's kit: timetable, pre-flight, links, slides, and the zip without solutions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from labs_helper import cli, doctor
from labs_helper.catalog.labs import COPIES
from labs_helper.common import translate
from labs_helper.course import editions, preflight, release, slides, timetable, workshop
from labs_helper.course.translation import cells, offered
from labs_helper.errors import BadRequest, LabError, ModelNotHere

ROOT = Path(__file__).resolve().parents[2]


def write(folder, name, *cells):
    """A notebook from (kind, source, metadata)."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [
        {
            "cell_type": kind,
            "id": f"c{i}",
            "metadata": metadata,
            "source": source,
            **({"outputs": [], "execution_count": 1} if kind == "code" else {}),
        }
        for i, (kind, source, metadata) in enumerate(cells)
    ]
    text = json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    (folder / name).write_text(text, "utf-8")


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    write(
        folder,
        "01-a.ipynb",
        ("markdown", "# Title", {}),
        ("markdown", "## 1. Begin (40 minutes)\ntext", {"minutes": 40}),
        ("markdown", "### Exercise 1.1 (easy, 5 minutes): count", {}),
        ("markdown", "## 2. Go on (30 minutes)", {"minutes": 30}),
    )
    write(folder, "02-b.ipynb", ("markdown", "# Second", {"minutes": 20}), ("code", "1", {"minutes": 99}))
    write(folder, "01-a.copy-2026-03-01-141500.ipynb", ("markdown", "# Mine", {"minutes": 7}))
    return folder


# --- The run sheet -------------------------------------------------------------------------------------------------


def test_the_run_sheet_has_clock_times_breaks_and_exercises(notebooks):
    lines = timetable.run_sheet(start="13:30", folder=notebooks).splitlines()
    assert [line.split(maxsplit=2) for line in lines if re.match(r"\d\d:", line)] == [
        ["13:30", "40", "1. Begin"],
        ["14:10", "10", "break"],
        ["14:20", "30", "2. Go on"],
        ["14:50", "20", "Second"],
        ["15:10", "end"],
    ]
    assert "exercise 1.1 (easy, 5 minutes)" in lines[3]
    assert lines[-1].startswith("90 minutes")


def test_the_core_leaves_out_what_the_headings_call_optional(tmp_path):
    folder = tmp_path / "notebooks"
    write(
        folder,
        "01-a.ipynb",
        ("markdown", "# Title", {}),
        ("markdown", "## 1. Begin (40 minutes)", {"minutes": 40}),
        ("markdown", "### Exercise 1.1 (optional, hard, 15 minutes): count", {}),
        ("markdown", "### Look closer (optional, 5 minutes)", {}),
        ("markdown", "### Exercise 1.2 (easy, 5 minutes): add", {}),
        ("markdown", "## 2. Go on (optional, 30 minutes)", {"minutes": 30}),
        ("markdown", "### Exercise 1.3 (hard, 9 minutes): go", {}),
    )
    first, second = timetable.sections(folder / "01-a.ipynb")
    assert (first.title, first.minutes, first.core) == ("1. Begin", 40, 20)
    assert (second.title, second.minutes, second.core) == ("2. Go on", 30, 0)
    core = timetable.run_sheet(folder=folder, core=True)
    assert core.splitlines()[-1].startswith("20 minutes") and "left out: 2. Go on" in core
    assert "left out: exercise 1.1" in core and "  exercise 1.2" in core and "1.3" not in core
    assert "left out: Look closer" in core and "Look closer" not in timetable.run_sheet(folder=folder)
    assert timetable.run_sheet(folder=folder).splitlines()[-1].startswith("70 minutes")


def test_the_run_sheet_in_another_language(tmp_path, monkeypatch):
    """The minutes are those of the English edition, the words those of the translation; other labs stay English."""
    folder = tmp_path / "notebooks"
    (folder / "ko").mkdir(parents=True)
    for lab in ("00-start-here", "01-instruct"):
        shutil.copy(ROOT / "notebooks" / f"{lab}.ipynb", folder)
    korean = cells.learner_text_in(ROOT / "notebooks" / "src" / "01-instruct.py", "ko")
    (folder / "ko" / "01-instruct.ipynb").write_text(korean, "utf-8")
    english = timetable.run_sheet(["00", "01"], core=True, folder=folder)
    with translate.speaking("ko"):
        said = timetable.run_sheet(["00", "01"], core=True, folder=folder, language="ko")
    rows = [re.match(r"(\d\d:\d\d)? +(\d+)?", line).groups() for line in english.splitlines()[1:-1]]
    assert [re.match(r"(\d\d:\d\d)? +(\d+)?", line).groups() for line in said.splitlines()[1:-1]] == rows
    assert "Run and stop a notebook" in said and "6. 긴 컨텍스트 살펴보기\n" in said
    assert "1.1 (보통, 6분)" in said and "1.7 (선택, 어려움, 12분)" in said
    assert said.count("뺀 것: ") == english.count("left out: ") > 3


def test_the_run_sheet_without_breaks_and_over_midnight(notebooks):
    text = timetable.run_sheet(["02", "01"], start="23:30", pause=0, folder=notebooks)
    assert "break" not in text and "01:00" in text and text.index("02-b") < text.index("01-a")


@pytest.mark.parametrize("start", ["", "25:00", "9", "09:60", "noon", "-1:00"])
def test_a_time_that_does_not_exist_is_refused(notebooks, start):
    with pytest.raises(BadRequest, match="09:00"):
        timetable.run_sheet(start=start, folder=notebooks)


def test_the_run_sheet_of_the_course(capsys):
    assert cli.main(["workshop", "run-sheet", "00", "--start", "09:00"]) == 0
    shown = capsys.readouterr().out
    minutes = [
        cell["metadata"]["minutes"]
        for cell in json.loads((ROOT / workshop.first_notebook()).read_text("utf-8"))["cells"]
        if "minutes" in cell["metadata"]
    ]
    assert f"{sum(minutes)} minutes of labs" in shown and "09:00" in shown
    assert cli.main(["workshop", "run-sheet", "77"]) == 1


@pytest.mark.parametrize("path", timetable.lab_notebooks(), ids=lambda path: path.stem)
def test_every_lab_says_how_long_it_takes(path):
    assert sum(section.minutes for section in timetable.sections(path)) >= 10
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        said = re.search(r"^## .*\((?:optional, )?(\d+) minutes?(?:, \d+ optional)?\)$", "".join(cell["source"]), re.M)
        if said:
            assert cell["metadata"]["minutes"] == int(said[1])


@pytest.mark.parametrize("path", timetable.lab_notebooks(), ids=lambda path: path.stem)
def test_a_heading_says_how_much_of_its_section_is_optional(path):
    text = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"])
    said = {
        title: int(minutes) for title, minutes in re.findall(r"^## (.*) \(\d+ minutes?, (\d+) optional\)$", text, re.M)
    }
    assert said == {
        section.title: section.optional
        for section in timetable.sections(path)
        if 0 < section.optional < section.minutes
    }


# --- Pre-flight ----------------------------------------------------------------------------------------------------


@pytest.fixture
def setup(monkeypatch):
    """What `check_setup` finds, as the test wants it."""
    rows = [doctor.Row("memory", doctor.OK, "8 GB free"), doctor.Row("BLAS", doctor.NOTE, "slow", "Install it.")]
    monkeypatch.setattr(doctor, "check_setup", lambda lab=None: doctor.SetupReport(lab, tuple(rows), "versions"))
    return rows


def test_a_ready_machine_says_ok(setup, capsys):
    assert cli.main(["workshop", "preflight", "00", "--quick"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1 and shown[0].startswith("OK ")


def test_a_machine_that_is_not_ready_says_what_to_do(setup, capsys):
    setup.append(doctor.Row("ipykernel", doctor.FIX, "7.0.1", "pip install -U ipykernel."))
    models = ["--model", "phi-3.5-mini-instruct-4bit", "--model", "nosuch"]
    assert cli.main(["workshop", "preflight", "--quick", *models]) == 1
    shown = capsys.readouterr().out
    assert "pip install -U ipykernel" in shown and "labs models fetch phi-3.5-mini-instruct-4bit" in shown
    assert "There is no model 'nosuch'" in shown and "Traceback" not in shown
    assert all(line.startswith("FIX ") for line in shown.splitlines())


def test_missing_notebooks_and_a_read_only_folder_are_found(setup, monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert [problem.split(" ")[0] for problem in preflight.preflight(ask=False).problems] == ["There", "Nothing"]


def test_the_question_is_really_asked(setup, monkeypatch):
    found = preflight.preflight(["00"])
    assert found.ok and "instruct-tiny answered in" in str(found)

    def gone(*_, **__):
        raise ModelNotHere("The folder of instruct-tiny is not there.", "Restore it.")

    monkeypatch.setattr("labs_helper.models.load.load", gone)
    assert not preflight.preflight(["00"]).ok


# --- Links and slides ----------------------------------------------------------------------------------------------


def test_the_pull_link_holds_its_parts(capsys):
    assert cli.main(["workshop", "link", "https://hub.example.org/", "https://git.example.org/a/labs.git"]) == 0
    link = urlsplit(capsys.readouterr().out.strip())
    assert f"{link.scheme}://{link.netloc}{link.path}" == "https://hub.example.org/hub/user-redirect/git-pull"
    assert parse_qs(link.query) == {
        "repo": ["https://git.example.org/a/labs.git"],
        "branch": ["main"],
        "targetpath": ["phi35-labs"],
        "urlpath": ["lab/tree/phi35-labs/notebooks/00-start-here.ipynb"],
    }


@pytest.mark.parametrize("hub", ["", "hub.example.org", "javascript:alert(1)", "https://h.example/?a=b"])
def test_what_is_not_an_address_is_refused(hub):
    with pytest.raises(BadRequest, match="address"):
        workshop.pull_link(hub, "https://git.example.org/a/labs")


def lab_in(language, number):
    (path,) = timetable.lab_notebooks([number], language=language)
    return path


LABS = sorted(path.stem[:2] for path in (ROOT / "notebooks/src").glob("*.py"))


class Slides(HTMLParser):
    """The texts of the slides of a page."""

    def __init__(self, text):
        super().__init__()
        self.depth, self.slides = 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "section":
            self.depth += 1
            if self.depth == 2:
                self.slides.append("")

    def handle_endtag(self, tag):
        self.depth -= tag == "section"

    def handle_data(self, data):
        if self.depth:
            self.slides[-1] += data


def test_slides_from_tags(notebooks, tmp_path):
    write(
        notebooks / "solutions",
        "01-a.ipynb",
        ("markdown", "# First", {"tags": ["slide"]}),
        ("markdown", "## Goes on", {}),
        ("markdown", "Second", {"tags": ["slide"]}),
        ("markdown", "Left out", {"tags": ["skip"]}),
        ("code", "answer = 42", {"tags": ["solution"]}),
    )
    made = slides.slides("01", tmp_path / "x.html", folder=notebooks).read_text("utf-8")
    shown = Slides(made).slides
    assert len(shown) == 2 and "First" in shown[0] and "Goes on" in shown[0] and "Second" in shown[1]
    assert "Left out" not in made and "answer = 42" not in made


class Addresses(HTMLParser):
    """Everything that a browser would fetch for a page, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.links, self.formulas, self.places = [], [], 0, set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.formulas += tag == "math"
        self.places.add(f"#{named.get('id')}")
        self.fetched += [named[key] for key in ("src", "srcset", "poster", "data") if named.get(key)]
        if tag == "link":
            self.fetched.append(named["href"])
        if tag == "a" and "href" in named:
            self.links.append(named["href"])


@pytest.mark.parametrize("lab", LABS)
def test_slides_need_no_other_file_and_no_server(tmp_path, lab):
    made = slides.slides(lab, tmp_path / "x.html").read_text("utf-8")
    page = Addresses(made)
    assert [address[:60] for address in page.fetched if not address.startswith("data:")] == []
    inside = ("data:", "#", "%23")  # the last is # in a picture that is text in its address
    assert [name[:60] for name in re.findall(r"url\(['\"]?([^)]*)", made) if not name.startswith(inside)] == []
    assert "@import" not in made
    assert [link for link in page.links if not link.startswith("https://") and link not in page.places] == []
    assert "Ready for lab" not in made  # what check_setup says of the author's machine
    if lab == "01":
        assert page.formulas > 2 and page.fetched[0].startswith("data:image/svg+xml")


def test_the_notes_of_a_slide_are_those_of_the_teaching_guide(tmp_path):
    made = slides.slides("01", tmp_path / "x.html").read_text("utf-8")
    second = made.partition("2. Read the exact prompt")[2].partition("</section>")[0]
    notes = " ".join(re.sub("<[^>]*>", "", second.partition('class="notes"')[2].partition("</aside>")[0]).split())
    assert "predict before the stop token goes" in notes and "The program stops." in notes
    assert "to use their sentences" not in notes
    assert "<|end|>" in unescape(notes)  # as it is, though a table has to escape it


def test_a_deck_in_another_language_has_its_notes_in_it(tmp_path):
    """Each section of lab 01 has what the Korean guide says of it, and nothing of the English guide."""
    made = slides.slides("01", tmp_path / "x.html", language="ko").read_text("utf-8")
    notes = [
        " ".join(re.sub("<[^>]*>", "", text).split()) for text in re.findall(r'class="notes">(.*?)</aside>', made, re.S)
    ]
    assert len(notes) == len([section for section in timetable.sections(lab_in("ko", "01")) if section.number])
    assert not [text for text in notes if not re.search("[가-힣]", text)]
    (second,) = [text for text in notes if "멈춤 토큰을 빼기 전에" in text]
    assert "<|end|>" in unescape(second) and "모델은 답이 언제 끝나는지 안다" in second
    english = (ROOT / "docs" / "teaching" / "01.md").read_text("utf-8")
    said = [part.strip(' "') for row in re.findall(r"^\| (?!---)(.+) \|$", english, re.M) for part in row.split(" | ")]
    sentences = {" ".join(re.sub(r"`[^`]*`", "", part).split()) for part in said if len(part) > 20}
    assert len(sentences) > 20 and not [text for text in notes for part in sentences if part in text]


def test_a_section_that_links_lead_to_begins_a_slide_and_has_its_notes(tmp_path):
    made = slides.slides("02", tmp_path / "x.html").read_text("utf-8")
    (slide,) = [text for text in Slides(made).slides if "4. Use 1: little memory" in text]
    assert "Find out where the plain package" not in slide and "cost over tiles" in slide


def test_slides_without_tags_begin_at_headings(tmp_path, capsys):
    target = tmp_path / "slides.html"
    assert cli.main(["workshop", "slides", "00", "--to", str(target)]) == 0
    made = target.read_text("utf-8")
    shown = Slides(made).slides
    assert "Start the course" in shown[0] and sum("Run and stop a notebook" in text for text in shown) == 1
    asked, told = (
        [i for i, text in enumerate(shown) if words in text] for words in ("For how many of the", "Measured:")
    )
    assert asked and told and not set(asked) & set(told)  # the room guesses before the slide with the result
    assert "place = " not in made.replace("<span", "").split("Exercise 0.1")[-1]  # neither the answer nor its check


def test_slides_need_the_solution_edition(notebooks):
    with pytest.raises(LabError, match="whole repository"):
        slides.slides("02", folder=notebooks)


# --- The zip -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zip")
    made = release.build(folder / "learner.zip")
    with zipfile.ZipFile(made) as file:
        assert file.testzip() is None
        file.extractall(folder)
    return folder / release.NAME


def solutions():
    """Every line of code that only a solution has, by lab."""
    for source in sorted((ROOT / "notebooks/src").glob("*.py")):
        cells = editions.read(source)
        everywhere = {
            line.strip()
            for cell in cells
            if "solution" not in cell.metadata.get("tags", [])
            for line in cell.source.splitlines()
        }
        for cell in cells:
            if "solution" in cell.metadata.get("tags", []):
                for line in map(str.strip, cell.source.splitlines()):
                    if len(line) > 12 and line not in everywhere:
                        yield source.stem, line


def test_the_zip_holds_no_solution(unpacked):
    names = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert not [name for name in names if re.match(r"notebooks/(src|solutions|drafts)|tests/|training/", name)]
    assert not [name for name in names if "__pycache__" in name or COPIES.strip("*") in name]
    answers = list(solutions())
    assert len(answers) > 10
    handed_out = {name: json.loads((unpacked / name).read_text("utf-8")) for name in names if name.endswith(".ipynb")}
    cells = [cell for notebook in handed_out.values() for cell in notebook["cells"]]
    # Whole lines: a stub may begin with the first line of its solution.
    lines = {line.strip() for cell in cells for line in "".join(cell["source"]).splitlines()}
    assert [line for _, line in answers if line in lines] == []
    assert all(cell.get("outputs", []) == [] for cell in cells)


GUIDED = [spoken.code for spoken in offered.languages() if "docs/teaching/01.md" in spoken.documents]


@pytest.mark.parametrize("language", [translate.ENGLISH, *GUIDED])
def test_the_zip_holds_no_answer_of_the_teaching_guide(unpacked, language):
    """Neither the guide, nor the file of its translation; a link to it says where it is, in the reader's language."""
    guide = "docs/teaching/01.md"
    guide = guide if language == translate.ENGLISH else offered.file_of(guide, language)
    (answer,) = re.findall(r"^5\. \*.+?\?\* (.+?)[.\n]", (ROOT / guide).read_text("utf-8").replace("\n   ", " "), re.M)
    texts = [path for path in unpacked.rglob("*") if path.suffix in (".md", ".po", ".ipynb", ".html")]
    assert len(texts) > 20 and [path for path in texts if answer in " ".join(path.read_text("utf-8").split())] == []
    home = "README.md" if language == translate.ENGLISH else offered.file_of("README.md", language)
    with translate.speaking(language):
        instead = translate._("{text} (in the repository)").format(text="")
    text = (unpacked / home).read_text("utf-8")
    assert "teaching/" in (ROOT / home).read_text("utf-8") and "teaching/" not in text and instead in text


def test_the_zip_runs_as_it_is(unpacked, tmp_path):
    """Unpack, import, ask, check, reset: with nothing but what the zip holds and the installed packages."""
    code = (
        "import labs_helper, pathlib\n"
        f"assert pathlib.Path(labs_helper.__file__).is_relative_to({str(unpacked)!r})\n"
        "from labs_helper import check, check_setup, load\n"
        "assert check_setup('00').ok, check_setup('00')\n"
        "assert load('instruct', tier='tiny').ask('Where is Changsha?', max_tokens=20).text\n"
        "assert check('1.7', (1, 40, 20, 'no better than guessing')).passed\n"
        "from labs_helper.course.reset import restore\n"
        "lab = restore('00').notebook\n"
        "lab.write_text('mine')\n"
        "copy = restore('00').copy\n"
        "assert copy.read_text() == 'mine'\n"
        "copy.unlink()\n"
        "print('all of it')"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LABS_")}
    environment |= {"PYTHONPATH": str(unpacked), "LABS_DATA_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=unpacked,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.stdout.strip().endswith("all of it"), done.stdout + done.stderr


def test_links_in_the_zip_lead_somewhere(unpacked):
    broken = []
    for file in [*unpacked.glob("*.md"), *unpacked.glob("docs/**/*.md"), *unpacked.glob("notebooks/**/*.ipynb")]:
        text = file.read_text("utf-8")
        if file.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```|`[^`]*`", "", text))
        broken += [
            f"{file.name}: {target}"
            for target in targets
            if not re.match(r"[a-z]+:|#", target) and not (file.parent / target.split("#")[0]).exists()
        ]
    assert broken == []


def test_the_zip_has_the_editions_that_a_language_offers(monkeypatch):
    korean = replace(offered.find("ko"), labs=("00",))
    monkeypatch.setattr(offered, "languages", lambda _table=None: (korean,))
    files = release.contents(ROOT)
    text = files["notebooks/ko/00-start-here.ipynb"].decode()
    assert files["data/notebooks/ko/00-start-here.ipynb"].decode() == text, "for labs reset"
    assert "첫 질문으로 과정 시작하기" in text and "(../01-instruct.ipynb)" in text
    assert "](solutions/" not in text and "강사" in text
    assert [name for name in files if "/ko/" in name and name.endswith(".ipynb")] == [
        "notebooks/ko/00-start-here.ipynb",
        "data/notebooks/ko/00-start-here.ipynb",
    ]


def test_the_same_course_makes_the_same_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "_FOLDERS", ("labs_helper",))
    one, two = release.build(tmp_path / "one.zip"), release.build(tmp_path / "two.zip")
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zip", "two.zip"]


def test_a_zip_that_cannot_be_made_is_told(tmp_path):
    with pytest.raises(BadRequest, match=r"ends in \.zip"):
        release.build(tmp_path / "course.tar")
    with pytest.raises(LabError, match="missing"):
        release.build(tmp_path / "x.zip", root=tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in release._FILES:
        (tmp_path / name).touch()
    with pytest.raises(LabError, match="no sources"):
        release.build(tmp_path / "x.zip", root=tmp_path)
