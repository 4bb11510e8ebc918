"""The site's sentences in other languages: none is forgotten in templates and scripts; pages know their twins."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jinja2
import pytest
from babel.messages import jslexer

from docs.site.door import course, languages, models, questions, search
from labs_helper.catalog.labs import labs
from labs_helper.common.particles import SPELLED
from labs_helper.course.translation import sources

SITE = Path(languages.ROOT) / "docs/site"
TEMPLATES = sorted((SITE / "templates").glob("*.html"))
SCRIPTS = sorted((SITE / "static/labs").glob("*.js"))
OTHERS = [language.code for language in languages.others()]
MARKS = {"_", "_n", "N_"}

# --- nothing is forgotten ------------------------------------------------------------------------------------------

_SPOKEN = re.compile(r'\b(?:alt|aria-label|title|placeholder|content)="([^"]*)"')
NAMES = {"Phi-3.5 Labs", "width=device-width, initial-scale=1", "light dark"}


def shown(markup: str) -> list[str]:
    """What a reader sees or hears of a piece of HTML that has letters in it."""
    plain = re.sub(r"<(script|style|code)\b.*?</\1>", " ", markup, flags=re.S)
    found = _SPOKEN.findall(plain) + re.split(r"<[^<>]*>", plain)
    texts = (" ".join(re.sub(r"&#?\w+;|\{\w+\}", " ", text).split()) for text in found)
    return [text for text in texts if re.search(r"[A-Za-z]{2}", text) and text not in NAMES]


def unmarked(template: str) -> list[str]:
    """The sentences of a template that no mark has."""
    nodes = jinja2.nodes
    tree = jinja2.Environment(extensions=["jinja2.ext.i18n"]).parse(template)
    # The text between two marks is HTML only together with what is around it: places of values are left out of it.
    markup = []
    for node in tree.find_all(nodes.Output):
        markup += [part.data if isinstance(part, nodes.TemplateData) else "{x}" for part in node.nodes]
    found = shown("".join(markup))
    marked = {
        id(arg) for call in tree.find_all(nodes.Call) if getattr(call.node, "name", "") in MARKS for arg in call.args
    }
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, str) and id(constant) not in marked and re.search(r"[a-z] [a-z]", constant.value):
            found.append(constant.value)
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_sentence_of_a_template_is_marked(path):
    assert unmarked(path.read_text("utf-8")) == []


def test_a_forgotten_sentence_of_a_template_is_found():
    assert unmarked('<p>{{ _("Ask") }} a model</p>') == ["a model"]
    assert unmarked('<p aria-label="All of it">{{ "one or two" }}</p>') == ["All of it", "one or two"]
    assert unmarked('<p class="small" aria-label="{{ _("All of it") }}"><code>labs doctor</code></p>') == []


# Literals of more than one word that nobody reads.
_TECHNICAL = re.compile(
    r"""use\ strict|
    (?:[.#\[][\w-]|dl,|pre,|:)[^A-Z]*|  # selectors
    small\ facts|  # classes
    application/\S+|text/\S+|WebAssembly\ \w+|
    aria-\w+|[\w-]+(?:,\ ?[\w-]+)*:\ ?\S*|  # styles
    [^a-zA-Z]*""",
    re.X,
)


def forgotten(script: str) -> list[str]:
    """The sentences of a script that no mark has: texts of two words or more, and templates with words in them."""
    tokens = [token for token in jslexer.tokenize(script, jsx=False) if "comment" not in token.type]
    found = []
    for at, token in enumerate(tokens):
        if token.type not in ("string", "template_string"):
            continue
        text = re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", " ", token.value[1:-1])
        callee = at - 1
        while callee > 0 and (tokens[callee].type in ("string", "template_string") or tokens[callee].value == ","):
            callee -= 1  # the second argument of _n
        marked = tokens[callee].value == "(" and tokens[callee - 1].value in MARKS
        if not marked and re.search(r"[A-Za-z]{2,}[,:;.]? +[A-Za-z]", text) and not _TECHNICAL.fullmatch(text.strip()):
            found.append(text.strip())
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_sentence_of_a_script_is_marked(path):
    assert forgotten(path.read_text("utf-8")) == []


def test_a_forgotten_sentence_of_a_script_is_found():
    assert forgotten('say("Loading it."); say(`${name} is ready`);') == ["Loading it.", "is ready"]
    assert forgotten('_("Loading it."); _n("one of it", "all of it", 2); at("x").className = "y";') == []


@pytest.mark.site
def test_every_sentence_of_the_theme_is_known():
    """What Furo looks up on the pages that the site has."""
    import furo

    theme = Path(furo.__file__).parent / "theme/furo"
    names = [
        "base.html",
        "page.html",
        "search.html",
        *(f"sidebar/{name}.html" for name in ("brand", "search", "navigation")),
    ]
    asked: set[str] = set()
    for name in names:
        text = (theme / name).read_text("utf-8")
        asked |= set(re.findall(r"""_\(\s*["'](.+?)["']\s*\)""", text))
        asked |= {
            " ".join(found.split()) for found in re.findall(r"\{%-? *trans *-?%\}(.+?)\{%-? *endtrans", text, re.S)
        }
    never = {"About these documents", "Index", "Copyright"}  # pages that the site does not have
    known = {text.strip() for text in languages.THEME}
    assert {text for text in asked if "<a " not in text} - never <= known


# --- translations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", OTHERS)
def test_scripts_get_what_they_ask_for(language):
    """Nothing picks a particle in a script, so their sentences have none after a place."""
    words = json.loads(languages.for_scripts(language).replace("\\u003c", "<"))
    (site,) = [source for source in sources.sources() if source.name == sources.SITE]
    of_scripts = [unit for unit in site.units() if unit.note.endswith(".js")]
    assert len(of_scripts) > 50
    for unit in of_scripts:
        translations = words[unit.plural or unit.text]
        for text in [translations] if isinstance(translations, str) else translations:
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", unit.text))
            assert not any(form in text for form in SPELLED), text


def test_the_page_of_the_other_language():
    for english, korean in (
        ("index", "ko/index"),
        ("ask/index", "ko/ask/index"),
        ("README", "README.ko"),
        ("docs/glossary", "docs/ko/glossary"),
        ("docs/teaching/03", "docs/ko/teaching/03"),
        ("notebooks/solutions/00-start-here", "notebooks/ko/solutions/00-start-here"),
    ):
        assert languages.page_in("ko", english) == korean
        assert languages.page_in("en", korean) == languages.page_in("en", english) == english
        assert (languages.spoken(english), languages.spoken(korean)) == ("en", "ko")
    assert languages.spoken("docs/site/index") == "en"


def test_a_page_without_a_twin_leads_to_the_front_page_and_says_so():
    english, korean = languages.editions("SECURITY", {"SECURITY", "ko/index"}.__contains__)
    assert (english.page, english.same) == ("SECURITY", True)
    assert (korean.page, korean.same, korean.name) == ("ko/index", False, "한국어")


@pytest.mark.parametrize("language", OTHERS)
def test_the_front_page_takes_the_same_from_the_other_edition(language):
    for english, other in zip(course.stops(), course.stops(language), strict=True):
        assert (english.number, english.page, english.after, english.there) == (
            other.number,
            other.page,
            other.after,
            other.there,
        )
        assert other.about != english.about and other.time != english.time
        assert bool(english.picture.data) == bool(other.picture.data)
        assert not english.picture.alt or english.picture.alt != other.picture.alt
    assert [route.labs for route in course.routes()] == [route.labs for route in course.routes(language)]
    assert course.commands(language)[-1] == f"make lab LANG={language}"
    assert "Python 3.11" in course.needs(language) and course.needs(language) != course.needs()
    assert course.promise(language) != course.promise()
    assert course.answer(language).unsure == course.answer().unsure
    assert models.examples(language)[0][0] == language
    assert sorted(models.examples(language))[-1] != sorted(models.examples())[0]


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("number", [lab.number for lab in labs()])
def test_the_same_cells_can_be_tried(language, number):
    english, other = (questions.with_buttons(json.dumps(course.notebook(number, each))) for each in ("en", language))
    assert english.count("labs-try") == other.count("labs-try")


def test_the_list_of_pages_has_what_the_language_has():
    english = (
        "# Phi-3.5 Labs\n\n```{toctree}\n:caption: For learners\n:maxdepth: 1\n\n../../README\n../models\n```\n\n"
        "```{toctree}\n:caption: The project\n\n../style\n../../notebooks/es/solutions/*\n```\n"
        "\n[the start](../../README.md)\n"
    )
    text = languages.listing(english, "ko", {"README.ko", "notebooks/es/solutions/*"}.__contains__)
    assert ":caption: 학습자용\n:maxdepth: 1\n\n../../../README.ko\n```" in text
    assert "models" not in text and "style" not in text and "solutions" not in text
    assert "(../../../README.ko.md)" in text and "(../../site/index.md)" in text


def test_search_finds_korean_words_with_their_particles(tmp_path):
    (tmp_path / "_static").mkdir()
    whole = {
        "docnames": ["README", "README.ko", "docs/es/style"],
        "filenames": ["README.md", "README.ko.md", "docs/es/style.md"],
        "titles": ["a", "b", "c"],
        "terms": {"token": [0, 1], "토큰을": 1, "estilo": 2},
        "titleterms": {"제목의": [1], "start": 0},
        "alltitles": {"Start": [[0, None]], "제목": [[1, "x"]]},
        "indexentries": {},
    }
    (tmp_path / "searchindex.js").write_text(f"Search.setIndex({json.dumps(whole)})", "utf-8")
    search.divide(tmp_path)
    english, korean = (
        json.loads((tmp_path / search.index_in(language)).read_text("utf-8")[len("Search.setIndex(") : -1])
        for language in ("en", "ko")
    )
    assert english["docnames"] == ["README", "docs/es/style"] and korean["docnames"] == ["README.ko"]
    assert english["terms"] == {"estilo": [1], "token": [0]}
    assert korean["terms"] == {"token": [0], "토큰": [0], "토큰을": [0]}
    assert korean["alltitles"] == {"제목": [[0, "x"]]}
    assert "Documentation.TRANSLATIONS" in (tmp_path / "_static/search-ko.js").read_text("utf-8")
