"""The course in other languages: units, catalogs, the gate, and the notebooks that come of them."""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from pathlib import Path

import nbformat
import polib
import pytest

from labs_helper import cli, doctor
from labs_helper.common import po, translate
from labs_helper.course import authoring, editions, reset
from labs_helper.course.translation import (
    blocks,
    catalogs,
    cells,
    code,
    gate,
    offered,
    quantities,
    sources,
    terms,
    work,
)
from labs_helper.errors import BadRequest, LabError
from labs_helper.exercises import all_exercises

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks/src").glob("*.py"))
MARKDOWN = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
_EXERCISE = re.compile(r"Exercise (\d\.\d+) \([^)]*\): ")


# --- Units ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [*SOURCES, *MARKDOWN], ids=lambda path: path.stem)
def test_the_blocks_of_a_text_are_the_text(source):
    texts = [source.read_text("utf-8")]
    if source.suffix == ".py":
        texts = [cell.source for cell in editions.read(source) if cell.cell_type == "markdown"]
    for text in texts:
        pieces = blocks.cut(text)
        assert "".join(piece.source for piece in pieces) == text == blocks.join(pieces, lambda _unit: None)
        # Translated into themselves, they say the same in the same places, without the wrapping.
        again = blocks.cut(blocks.join(pieces, lambda unit: unit))
        assert [(piece.text, piece.kind) for piece in again if piece.text] == [
            (piece.text, piece.kind) for piece in pieces if piece.text
        ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_other_words_in_a_cell_do_not_change_what_it_does(source):
    for cell in editions.read(source):
        if cell.cell_type == "code":
            other = code.translated(cell.source, lambda unit: f"가나다 {unit}")
            assert code.same_code(cell.source, other), other
            assert other.count("가나다") == len(list(code.units(cell.source)))


def test_units_of_markdown():
    text = (
        "# Title\n\nA paragraph\nof two lines.  \nA line break.\n\n- one\n  and a half\n- two\n\n"
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n```\ncode\n\nmore\n```\n\n$$\na = b\n$$\n\n<a id='x'></a>\n\n1. first\n"
    )
    assert [(piece.kind, piece.text, piece.line) for piece in blocks.units(text)] == [
        ("heading", "Title", 0),
        ("paragraph", "A paragraph of two lines.\nA line break.", 2),
        ("list item", "one and a half", 6),
        ("list item", "two", 8),
        ("table row", "| a | b |", 10),
        ("list item", "first", 26),
    ]
    assert blocks.join(blocks.cut(text), {"one and a half": "하나", "Title": "제목"}.get).startswith(
        "# 제목\n\nA paragraph\n"
    )


def test_units_of_code():
    text = (
        "# Count the tokens,\n# one by one.\nn = ...  # a number\n!labs doctor # not Python\n"
        'print("Not # a comment", f"{n} tokens\\n", "a" "both c", model.ask("Where is Lima?"), sep="and so on")\n'
        'title = "stays"\n\ndef f():\n    """What f does."""\n    # noqa: X\n'
    )
    assert [piece.text for piece in code.units(text)] == [
        "Count the tokens, one by one.",
        "a number",
        "Not # a comment",
        "{n} tokens\\n",
        "both c",
        "What f does.",
    ]
    assert "Where is Lima?" not in "".join(piece.text for piece in code.units(text))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 1  # one", "x = 1", True),
        ("print('a')", "print('b')", True),
        ("print('a b' if x else 'c d')", "print('가' if x else '나')", True),
        ("print(', '.join(f'{a} of {b}' for a in c))", "print(', '.join(f'{b} 가운데 {a}' for a in c))", True),
        ("print(', '.join(f'{a} of {b}' for a in c))", "print('; '.join(f'{a} of {b}' for a in c))", False),
        ("print(ask('a'))", "print(ask('b'))", False),
        ("bars(rows, title='a', x='b')", "bars(rows, title='가', x='b')", True),
        ("bars(rows, title='a', x='b')", "bars(rows, title='a', x='나')", False),
        ("by_bits(lines, what='share right')", "by_bits(lines, what='맞은 답의 비율')", True),
        ("print(f'{a} of {b}')", "print(f'{b} 가운데 {a}')", True),
        ("print(f'{a} of {b}')", "print(f'{b} 가운데')", False),
        ("print(f'{a:.2f}')", "print(f'{a:.3f}')", False),
        ("ask('a')", "ask('b')", False),
        ("x = 'a'", "x = 'b'", False),
        ("print('a', end=' ')", "print('a', end='')", False),
        ("!labs doctor", "!labs reset 00", False),
        ("x = 1", "x = ", False),
    ],
)
def test_the_proof_can_fail(one, other, same):
    assert code.same_code(one, other) is same


# --- The gate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("english", "translation", "kind", "complaint"),
    [
        ("{name} is here.", "여기 있습니다.", None, "places differ (lost: {name})"),
        ("{size:.1f} GB", "{size} GB", None, "places differ"),
        ("Run `labs doctor`.", "`labs 의사`를 실행하세요.", "paragraph", "code differs"),
        ("See [here](a.md).", "[여기](b.md)를 보세요.", "paragraph", "links differ"),
        ("See <https://a.example/x>.", "<https://b.example/x>를 보세요.", "paragraph", "addresses differ"),
        ("It is $e^x$.", "$e^y$입니다.", "paragraph", "formulas differ"),
        ("It takes 2.15 GB.", "2.51 GB가 필요합니다.", "paragraph", "numbers differ (lost: 2.15; added: 2.51)"),
        ("3.8 billion", "3억 8천만", "paragraph", "numbers differ"),
        ("41.9 and 6.6 billion", "42억 개와 66억 개", "paragraph", "numbers differ (lost: 41.9; added: 4200000000)"),
        ("It has some.", "17개 있습니다.", "paragraph", "numbers differ (added: 17)"),
        ("a <b>c</b>", "a <i>c</i>", "paragraph", "HTML differs"),
        ("a **b** c", "가 나 다", "paragraph", "bold marks differ"),
        ("a **token** here", "**토큰(token)**은 여기", "paragraph", "Markdown does not see the emphasis"),
        ("| a | b |", "| 가 |", "table row", "the row has 1 columns, not 2"),
        ("a", "\u202e가", "paragraph", "invisible marks: U+202E"),
        ("a", "가\u200b나", None, "invisible marks: U+200B"),
        ("Title", "# 제목", "heading", "more than one heading"),
        ("A text.", "- 글", "paragraph", "more than one paragraph"),
        ("A text.", "글\n\n둘", "paragraph", "more than one paragraph"),
        ("Truth: ", "정답:", "text in code", "a space"),
        ("a\\nb", "가", "text in code", "line ends"),
        ("{name} waits.", "{name}은 기다립니다.", None, "spell both forms"),
        ("{name} waits.", "{name}은(는) 기다립니다.", "text in code", "nothing picks a form in code"),
        ("a token", "한 낱말", "paragraph", "lacks '토큰'"),
        ("fine-tuning", "파인튜닝", "paragraph", "it says '파인튜닝'"),
    ],
)
def test_the_gate_refuses(english, translation, kind, complaint):
    assert complaint in " | ".join(gate.problems(english, translation, kind, "ko"))


@pytest.mark.parametrize(
    ("english", "translation", "kind"),
    [
        (
            "**Run** `labs doctor` in [lab 01](01.ipynb).",
            "[실습 01](01.ipynb)에서 `labs doctor`를 **실행하세요**.",
            "paragraph",
        ),
        ("It has 3.8 billion parameters.", "파라미터는 38억 개입니다.", "paragraph"),
        ("41.9 and 6.6 billion parameters", "파라미터 419억 개와 66억 개", "paragraph"),
        ("two thirds", "3분의 2까지", "paragraph"),
        ("a **token** here", "**토큰**(token)은 여기", "paragraph"),
        ("sixteen experts, since August 2024", "2024년 8월부터 전문가 16개", "paragraph"),
        ("{count:,} tokens of {name!r}", "{name!r}의 토큰 {count:,}개", None),
        ("{name} waits for {model}.", "{name}은(는) {model}을(를) 기다립니다.", None),
        ("| a | `x|y` |", "| 가 | `x|y` |", "table row"),
        ("The labs of Phi-3.5 Labs", "Phi-3.5 Labs의 실습", "heading"),
        ("Answer: ", "답: ", "text in code"),
        ("Use `token`.", "`token`을 쓰세요.", "paragraph"),  # no term: it is code
        ('"$1 is new": each `$N` waits', '"$1 is new": `$N`은 기다립니다', "paragraph"),  # no formula ends inside code
    ],
)
def test_the_gate_lets_good_translations_pass(english, translation, kind):
    assert gate.problems(english, translation, kind, "ko") == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3.8 billion", [3.8e9]),
        ("38억", [3.8e9]),
        ("65,536 tokens in 0.25 s", [0.25, 65536]),
        ("12만 8천", [128000]),
        ("3억 6,900만, 8천만", [8e7, 3.69e8]),
        ("12만, 8천", [8000, 120000]),
        ("3800 millones, 2 mil millones, 5 mil", [5000, 2e9, 3.8e9]),
        ("38억 3", [3, 3.8e9]),
        ("phi-3.5-mini and v2", [3.5]),
        ("none", []),
    ],
)
def test_numbers_are_compared_as_values(text, values):
    assert quantities.stated(text) == [Decimal(str(value)).normalize() for value in values]


def test_the_terms_are_read_from_the_style_guide():
    known = terms.table("ko")
    assert len(known) > 25 and all(term.words for term in known)
    assert terms.table("xx") == ()


# --- A course of one lab -------------------------------------------------------------------------------------------

LAB = """\
# %% [markdown] minutes=2
# # Count the tokens
#
# A token is a piece. [Next](02-vision.ipynb) ![map](../images/map.png) [answers](solutions/00-start.ipynb)
#
# - Read the first line.
# - Read the second line.

# %% tags=["exercise"]
count = ...  # your turn: a number

# %% tags=["solution"]
count = 6 * 7  # your turn: a number

# %%
print(f"{count} is the answer.")
"""
KOREAN = {
    "Count the tokens": "토큰 세기",
    "A token is a piece. [Next](02-vision.ipynb) ![map](../images/map.png) [answers](solutions/00-start.ipynb)": (
        "토큰은 조각입니다. [다음](02-vision.ipynb) ![map](../images/map.png) [해답](solutions/00-start.ipynb)"
    ),
    "Read the first line.": "첫 줄을 읽으세요.",
    "Read the second line.": "둘째 줄을 읽으세요.",
    "your turn: a number": "직접 해 보세요: 숫자",
    "{count} is the answer.": "답은 {count}입니다.",
}


@pytest.fixture
def course(tmp_path):
    """A course of one lab, translated whole."""
    (tmp_path / "notebooks/src").mkdir(parents=True)
    (tmp_path / "notebooks/src/00-start.py").write_text(LAB, "utf-8")
    table = tmp_path / "labs_helper/locale/languages.toml"
    table.parent.mkdir(parents=True)
    table.write_text('[ko]\nname = "한국어"\nlabs = ["00"]\n', "utf-8")
    work.update("ko", folder=tmp_path)
    file = polib.pofile(str(po_file(tmp_path)), wrapwidth=0)
    for entry in file:
        entry.msgstr = KOREAN[entry.msgid]
    file.save()
    return tmp_path


def po_file(course: Path) -> Path:
    return course / "notebooks/locale/ko/00-start.po"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def notebook(course: Path, name: str = "notebooks/ko/00-start.ipynb"):
    return nbformat.read(course / name, as_version=4)


def test_a_translated_lab_has_the_same_cells_in_other_words(course):
    assert work.check("ko", folder=course) == []
    authoring.build(folder=course / "notebooks", execute=False)
    english, korean = notebook(course, "notebooks/00-start.ipynb"), notebook(course)
    assert [(cell.id, cell.metadata) for cell in korean.cells] == [(cell.id, cell.metadata) for cell in english.cells]
    assert korean.cells[0].source == (
        "# 토큰 세기\n\n토큰은 조각입니다. [다음](../02-vision.ipynb) ![map](../../images/map.png) "
        "[해답](solutions/00-start.ipynb)\n\n- 첫 줄을 읽으세요.\n- 둘째 줄을 읽으세요."
    )
    assert korean.cells[1].source == "count = ...  # 직접 해 보세요: 숫자"
    assert korean.cells[2].source == 'print(f"답은 {count}입니다.")'
    assert korean.metadata["labs"]["language"] == "ko"
    solution = notebook(course, "notebooks/ko/solutions/00-start.ipynb")
    assert "(../../solutions/02-vision.ipynb) ![map](../../../images/map.png) [해답](00-start.ipynb)" in (
        solution.cells[0].source
    )


def test_a_changed_sentence_makes_one_unit_fuzzy_and_the_check_fails_with_its_place(course):
    change(course / "notebooks/src/00-start.py", "Read the second line.", "Read the last line.")
    (missing,) = work.check("ko", folder=course)
    assert missing.startswith("notebooks/src/00-start.py:7: 'Read the last line.' is not in 00-start.po")
    work.update("ko", folder=course)
    entries = polib.pofile(str(po_file(course)))
    (fuzzy,) = [entry for entry in entries if entry.fuzzy]
    assert (fuzzy.msgid, fuzzy.msgstr, fuzzy.previous_msgid) == (
        "Read the last line.",
        "둘째 줄을 읽으세요.",
        "Read the second line.",
    )
    (problem,) = work.check("ko", folder=course)
    assert re.match(
        r"notebooks/locale/ko/00-start.po:\d+: its English changed \(notebooks/src/00-start.py:7\)", problem
    )
    authoring.build(folder=course / "notebooks", execute=False, language="ko")
    shown = notebook(course).cells[0].source
    assert "- 첫 줄을 읽으세요.\n- Read the last line.\n\n*" in shown and shown.count("\n*") == 1


def test_what_a_translation_was_made_of_is_kept_while_it_is_fuzzy_only(course):
    change(course / "notebooks/src/00-start.py", "Read the second line.", "Read the last line.")
    work.update("ko", folder=course)
    assert '#| msgid "Read the second line."' in po_file(course).read_text("utf-8")
    file = polib.pofile(str(po_file(course)), wrapwidth=0)
    (fuzzy,) = [entry for entry in file if entry.fuzzy]
    fuzzy.flags, fuzzy.previous_msgid_plural = [], ""
    file.save()
    work.update("ko", folder=course)
    assert "#|" not in po_file(course).read_text("utf-8")


def test_what_may_wait_waits_until_its_day(course):
    change(course / "notebooks/src/00-start.py", "Read the second line.", "Read the last line.")
    work.update("ko", stale_ok=True, folder=course)
    assert work.check("ko", folder=course) == []
    (source,) = [source for source in sources.sources(course) if source.name == "00-start"]
    late = datetime.date.today() + datetime.timedelta(days=work.GRACE + 1)
    assert len(catalogs.problems(source, "ko", whole=True, today=late)) == 1
    change(po_file(course), "stale-ok until 2", "stale-ok until x2")
    assert len(work.check("ko", folder=course)) == 1, "no date, no wait"


def test_new_wrapping_changes_no_unit(course):
    change(course / "notebooks/src/00-start.py", "A token is a piece", "A token\n# is a piece")
    before = po_file(course).read_bytes()
    work.update("ko", folder=course)
    assert po_file(course).read_bytes() == before and work.check("ko", folder=course) == []


def test_a_translation_that_changes_the_code_makes_no_notebook(course):
    change(po_file(course), "답은 {count}입니다.", "답은 {count + 1}입니다.")
    with pytest.raises(LabError, match="changes what this cell does"):
        authoring.build(folder=course / "notebooks", execute=False)
    assert "places differ" in work.check("ko", folder=course)[0]


@pytest.mark.parametrize("text", ['msgid "a"\nmsgstr "b"\n\nmsgid "a"\nmsgstr "c"\n', "\x00\x01"])
def test_a_broken_file_is_named(course, text):
    po_file(course).write_text(text)
    with pytest.raises(LabError, match=r"00-start\.po cannot be read"):
        work.check("ko", folder=course)


def test_the_language_may_be_spelled_as_systems_do_and_must_exist(course):
    table = course / "labs_helper/locale/languages.toml"
    assert offered.find("ko_KR.UTF-8", table).name == "한국어"
    with pytest.raises(BadRequest, match="no language 'eo'") as refused:
        work.check("eo", folder=course)
    assert "en, ko" in refused.value.do


def test_a_language_is_started_with_one_command(course):
    written = work.init("es", 'español "de aquí"', folder=course)
    assert (course / "notebooks/locale/es/00-start.po") in written
    languages = offered.languages(course / "labs_helper/locale/languages.toml")
    assert [(language.code, language.name) for language in languages] == [("ko", "한국어"), ("es", 'español "de aquí"')]
    style = (course / "docs/es/style.md").read_text("utf-8")
    assert style.count("<!-- terms:") == 2
    assert work.check("es", folder=course) == [], "nothing is offered yet"
    for wrong in ("es", "en", "Spanish", "", "e1", "한국"):
        with pytest.raises(BadRequest):
            work.init(wrong, folder=course)


def test_a_language_that_needs_a_few_messages_keeps_those_alone(course):
    said = course / "labs_helper/said.py"
    said.write_text('_("It fits.")\n_("It does not fit at all.")\n_n("{n} time", "{n} times", n)\n', "utf-8")
    work.init("es", folder=course)
    messages = course / "labs_helper/locale/es/LC_MESSAGES/labs_helper.po"
    assert list(polib.pofile(str(messages))) == []
    assert all(not entry.msgstr for entry in polib.pofile(str(course / "notebooks/locale/es/00-start.po")))
    assert len(polib.pofile(str(course / "notebooks/locale/es/00-start.po"))) == 6, "a lab has all of its texts"
    file = polib.pofile(str(messages), wrapwidth=0)
    file.append(polib.POEntry(msgid="It does not fit at all.", msgstr="No cabe."))
    file.append(polib.POEntry(msgid="It fits.", msgstr=""))
    file.save()
    change(said, "It does not fit at all.", "It does not fit here at all.")
    work.update("es", folder=course)
    (kept,) = polib.pofile(str(messages))
    assert (kept.msgid, kept.msgstr, kept.fuzzy) == ("It does not fit here at all.", "No cabe.", True)
    (row,) = [row for row in work.status("es", folder=course) if row[1] == "messages"]
    assert row[2:5] == ("3", "0%", "1"), "counted against all messages"
    change(course / "labs_helper/locale/languages.toml", "messages = false", "messages = true")
    work.update("es", folder=course)
    assert len(polib.pofile(str(messages))) == 3


def test_the_state_of_a_translation(course):
    head, *rows = work.status("ko", folder=course)
    assert len(head) == 6 and [row[1:4] for row in rows if row[1] == "00-start"] == [("00-start", "6", "100%")]


# --- The course itself ---------------------------------------------------------------------------------------------


def test_what_is_offered_is_whole_and_right():
    """A failure names the file, the line and both texts. `labs translate update --stale-ok` gives translators time."""
    problems = work.check()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("language", offered.languages(), ids=lambda language: language.code)
def test_the_code_of_both_editions_is_one(language):
    for number in language.labs:
        (source,) = (ROOT / "notebooks/src").glob(f"{number}-*.py")
        catalog = po.read(ROOT / "notebooks/locale" / language.code / f"{source.stem}.po")
        english = editions.read(source)
        for one, other in zip(english, cells.translated(english, catalog, language.code), strict=True):
            assert one.cell_type != "code" or code.same_code(one.source, other.source)


@pytest.mark.parametrize("language", offered.languages(), ids=lambda language: language.code)
def test_an_exercise_has_one_title_in_its_lab_and_where_its_result_is_told(language):
    """Two texts in two files; `labs progress` and the board would name an exercise that the lab does not have."""
    differ, seen = [], 0
    for number in language.labs:
        (file,) = (ROOT / "notebooks/locale" / language.code).glob(f"{number}-*.po")
        said = {
            _EXERCISE.match(english)[1]: (english.split("): ")[1], words.split("): ", 1)[1])
            for english, words in po.read(file).texts.items()
            if _EXERCISE.match(english)
        }
        with translate.speaking(language.code):
            titles = {exercise.number: exercise.title for exercise in all_exercises(number).values()}
        for exercise in all_exercises(number).values():
            english, words = said[exercise.number]
            if english.lower() == exercise.title.lower():  # a lab may ask where the title tells
                seen += 1
                title = titles[exercise.number]
                differ += [] if words.lower() == title.lower() else [(exercise.number, words, title)]
    assert seen
    assert not differ


def test_the_command(capsys):
    assert cli.main(["translate", "status", "ko"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == [
        "language",
        "source",
        "units",
        "translated",
        "fuzzy",
        "offered",
    ]
    assert cli.main(["translate", "check", "xx"]) == 1
    assert "no language 'xx'" in capsys.readouterr().err


# --- What takes a language -----------------------------------------------------------------------------------------


def test_a_lab_is_reset_in_the_language_of_its_edition(course, monkeypatch):
    monkeypatch.setenv("LABS_HOME", str(course))
    monkeypatch.delenv("LABS_LANGUAGE", raising=False)
    authoring.build(folder=course / "notebooks", execute=False)
    files = [course / "notebooks/00-start.ipynb", course / "notebooks/ko/00-start.ipynb"]
    handed_out = [file.read_bytes() for file in files]
    for file in files:
        file.write_text("mine")
    with translate.speaking("en"):
        assert reset.restore("00", language="ko").copy.read_text() == "mine"
    assert [file.read_bytes() for file in files] == [b"mine", handed_out[1]]
    with translate.speaking("ko"):
        assert "처음 받은 그대로" in str(reset.restore("00"))
    with translate.speaking("en"):
        reset.restore("00")
    assert [file.read_bytes() for file in files] == handed_out
    with pytest.raises(BadRequest, match="no edition in the language 'es'") as refused:
        reset.restore("00", language="es")
    assert "en, ko" in refused.value.do


def test_check_setup_says_when_language_or_version_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setenv("LABS_LANGUAGE", "eo")
    (row,) = doctor.language_rows("00-start-here")
    assert row.status == "NOTE" and "'eo'" in row.detail and "en, es, ko" in row.advice
    monkeypatch.setenv("LABS_LANGUAGE", "")
    for made_for, rows in [("0.0.1", 1), (doctor.version("labs-helper"), 0), (3, 0)]:
        metadata = {"labs": {"language": "ko", "version": made_for}}
        Path("00-start-here.ipynb").write_text(json.dumps({"metadata": metadata}))
        assert len(doctor.language_rows("00-start-here")) == rows
    Path("00-start-here.ipynb").write_text("[]")
    assert doctor.language_rows("00-start-here") == []
