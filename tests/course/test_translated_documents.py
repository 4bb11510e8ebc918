"""README in another language: generated, whole, and at the addresses where its reader is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from labs_helper.course import home
from labs_helper.course.translation import blocks, documents, gate, offered, sources, work
from labs_helper.errors import LabError

ROOT = Path(__file__).resolve().parents[2]
TABLE = '[ko]\nname = "한국어"\nlabs = ["01"]\nmessages = false\ndocuments = ["README.md"]\n'
PLACES = "# Labs\n\n<!-- home: languages -->\n<!-- home: end -->\n"


@pytest.fixture
def course(tmp_path):
    """A course with one document, of which Korean has everything."""
    (tmp_path / "labs_helper" / "locale").mkdir(parents=True)
    (tmp_path / "labs_helper" / "locale" / offered.TABLE).write_text(TABLE, "utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "docs" / "ko").mkdir(parents=True)
    (tmp_path / "docs" / "ko" / "models.md").write_text("# 모델\n", "utf-8")
    (tmp_path / "README.md").write_text(
        f"{PLACES}\nTry [00](notebooks/00-start-here.ipynb), [01](notebooks/01-instruct.ipynb),\n"
        '[models](docs/models.md), [words](docs/glossary.md).\n\n<img src="a.svg" alt="a cat">\n',
        "utf-8",
    )
    catalog = tmp_path / "docs" / "locale" / "ko" / "README.po"
    catalog.parent.mkdir(parents=True)
    catalog.write_text('msgid "a cat"\nmsgstr "고양이"\n', "utf-8")
    return tmp_path


def test_the_readers_language_is_not_a_link_and_the_other_is(course):
    text = documents.build("ko", folder=course)[0].read_text("utf-8")
    assert "[English](README.md) | 한국어" in text
    assert "English | [한국어](README.ko.md)" in home.filled(PLACES, "", root=course)
    assert home.filled(PLACES, "", root=course / "docs") == PLACES  # no languages, no line


def test_links_lead_to_what_the_language_has(course):
    text = documents.build(folder=course)[0].read_text("utf-8")
    assert "(notebooks/00-start-here.ipynb)" in text and "(notebooks/ko/01-instruct.ipynb)" in text
    assert "(docs/ko/models.md)" in text and "(docs/glossary.md)" in text


def test_the_text_of_a_picture_is_a_unit(course):
    assert 'alt="고양이"' in documents.build("ko", folder=course)[0].read_text("utf-8")
    assert gate.problems("a cat", '고양이 "나비"', "alt text", "ko")
    text = '<img src="a.svg" alt="a cat">\n'
    assert blocks.join(blocks.cut(text), lambda _text: None) == text


def test_setting_the_address_writes_it_into_the_translated_document_too(course, monkeypatch):
    text = "<!-- home: start -->\n<!-- home: end -->\n"
    for name in ("README.md", "README.ko.md", "docs/instructors.md"):
        (course / name).write_text(text, "utf-8")
    for name in ("docs/hub/jupyterhub_config.py", "docs/hub/values.yaml"):
        (course / name).parent.mkdir(exist_ok=True)
        (course / name).write_text("", "utf-8")
    home.set_home("", root=course)
    assert "이 저장소의 주소입니다" in (course / "README.ko.md").read_text("utf-8")
    assert "is the address of" in (course / "README.md").read_text("utf-8")
    changed = home.set_home("https://git.example.org/class/labs", root=course)
    assert course / "README.ko.md" in changed
    assert "git clone https://git.example.org/class/labs" in (course / "README.ko.md").read_text("utf-8")


def test_a_link_to_a_word_leads_to_it_in_every_language(course):
    (course / "docs" / "glossary.md").write_text(
        "# Words\n\n## 4 bits\n\nSee [x](#x), [models](models.md), [read](../README.md).\n\n"
        '<a id="x"></a>\n\n## x\n\ny\n',
        "utf-8",
    )
    catalog = course / "docs" / "locale" / "ko" / "glossary.po"
    catalog.write_text('msgid "4 bits"\nmsgstr "4비트"\n', "utf-8")
    (source,) = [each for each in sources.sources(course) if each.name == "docs/glossary.md"]
    korean = offered.languages(course / "labs_helper" / "locale" / offered.TABLE)[0]
    text = documents.translated(source, korean)
    assert '<a id="4-bits"></a>\n\n## 4비트\n' in text and 'id="words"' not in text
    assert text.count('<a id="x"></a>') == 1
    assert "[x](#x)" in text and "(models.md)" in text and "(../../README.ko.md)" in text


def test_the_real_glossary_has_every_place_of_the_english_one():
    english = re.findall(r"^## (.+)$", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    places = [re.sub(r"[^\w\- ]", "", word.lower()).replace(" ", "-") for word in english]
    for language in offered.languages():
        if "docs/glossary.md" in language.documents:
            text = (ROOT / offered.file_of("docs/glossary.md", language.code)).read_text("utf-8")
            assert re.findall(r'<a id="([\w-]+)"></a>\n\n##', text) == places


def test_the_table_says_what_each_language_offers(course):
    page = course / "CONTRIBUTING.md"
    page.write_text("a\n\n<!-- languages: begin -->\n\nold\n\n<!-- languages: end -->\nb\n", "utf-8")
    assert page in documents.build(folder=course)
    text = page.read_text("utf-8")
    row = "| 한국어 (`ko`) | 01 | [README.ko.md](README.ko.md) | those that its labs show |"
    assert row in text and "old" not in text
    real = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert real == documents.with_table(real, ROOT), "run `labs translate documents`"
    assert all(f"(`{language.code}`)" in real for language in offered.languages())


@pytest.mark.parametrize("language", offered.languages(), ids=lambda language: language.code)
def test_the_documents_that_are_offered_are_as_generated(language):
    for source in sources.sources():
        if source.name in language.documents:
            path = ROOT / offered.file_of(source.name, language.code)
            assert path.read_text("utf-8") == documents.translated(source, language), "run `labs translate documents`"
            headings = [re.findall(r"^#+ ", file.read_text("utf-8"), re.M) for file in (source.file, path)]
            assert headings[0] == headings[1]


def test_a_document_in_a_folder_of_docs_has_its_translation_in_the_same_folder(course):
    table = course / "labs_helper" / "locale" / offered.TABLE
    table.write_text(TABLE.replace('["README.md"]', '["README.md", "docs/teaching/00.md", "docs/hub.md"]'), "utf-8")
    (course / "docs" / "teaching").mkdir()
    (course / "docs" / "teaching" / "00.md").write_text(
        "# Teach\n\n[0](../../notebooks/00-start-here.ipynb), [1](../../notebooks/solutions/01-instruct.ipynb), "
        "[2](../hub.md#rooms), [3](../models.md), [4](../hub/), [5](../glossary.md#x), [6](mailto:a@example.org)\n",
        "utf-8",
    )
    (source,) = [each for each in sources.sources(course) if each.name == "docs/teaching/00.md"]
    assert source.po("ko") == course / "docs" / "locale" / "ko" / "teaching-00.po"
    assert offered.file_of(source.name, "ko") == "docs/ko/teaching/00.md"
    text = documents.translated(source, offered.languages(table)[0])
    assert "[0](../../../notebooks/00-start-here.ipynb)" in text  # Korean does not offer it here
    assert "[1](../../../notebooks/ko/solutions/01-instruct.ipynb)" in text
    assert "[2](../hub.md#rooms), [3](../models.md)" in text
    assert "[4](../../hub/), [5](../../glossary.md#x), [6](mailto:a@example.org)" in text
    assert course / "docs" / "ko" / "teaching" / "00.md" in documents.build("ko", folder=course)  # the folder is new


def test_a_document_gets_its_first_file_by_name(course):
    (course / "docs" / "hub.md").write_text("# Rooms\n", "utf-8")
    assert not any("hub.po" in line for line in work.update("ko", folder=course))
    assert any("hub.po" in line for line in work.update("ko", start="docs/hub.md", folder=course))
    assert (course / "docs" / "locale" / "ko" / "hub.po").is_file()
    with pytest.raises(LabError, match=r"docs/none\.md"):
        work.update("ko", start="docs/none.md", folder=course)
