"""The site in two languages in Chromium: the switch, what is Korean, and that nothing there is English."""

from __future__ import annotations

import re

import english
import pytest
from site_page import answered, ask, call, text_of, until

from docs.site.door import languages

pytestmark = pytest.mark.site
PAGES = (
    ("index.html", "ko/index.html"),
    ("ask/index.html", "ko/ask/index.html"),
    ("notebooks/solutions/00-start-here.html", "notebooks/ko/solutions/00-start-here.html"),
    ("docs/glossary.html", "docs/ko/glossary.html"),
    ("README.html", "README.ko.html"),
    ("docs/site/index.html", "docs/ko/site/index.html"),
    ("search.html", "search.ko.html"),
)
# What a page shows and says in its own language: without what is marked as another one, code, tokens, and outputs of
# labs, which have a test of their own.
OWN_LANGUAGE = """() => {
  const page = document.documentElement.cloneNode(true);
  const other = `body [lang]:not([lang="${page.lang}"])`;
  const kept = "script, style, code, pre, .lab figure, .tokens-drawn, .piece, .chips";
  page.querySelectorAll(`${other}, ${kept}`).forEach((node) => node.remove());
  return page.outerHTML;
}"""
# Names, units and what the head of a page says to a browser.
NAMES = set(
    re.findall(
        r"\w+",
        """Apple JavaScript JupyterHub Labs MIT MLX Mac Microsoft NumPy Phi Python Wi Fi WebAssembly cpp id instruct
        llama mini previous tiny top temperature seed MB Language width device initial scale light dark""",
    )
)
TITLES = {"Furo", "Instruct", "Vision", "vision"}  # names of the theme, and in the titles of labs
LINK = "() => document.querySelector('.languages a[hreflang={}]').href"


def own(browser) -> str:
    return str(call(browser, OWN_LANGUAGE))


@pytest.mark.parametrize(("page", "korean"), PAGES, ids=[page for page, _korean in PAGES])
def test_the_switch_leads_there_and_back(site, chromium, page, korean):
    chromium.get(site.address + page)
    here = "() => document.documentElement.lang"
    assert call(chromium, here) == "en"
    marked = "() => document.querySelector('.languages [aria-current]').textContent"
    assert call(chromium, marked) == "English"
    for language, wanted in (("ko", korean), ("en", page)):
        chromium.execute_script(f"document.querySelector('.languages a[hreflang={language}]').click()")
        until(lambda wanted=wanted: chromium.current_url == site.address + wanted, 60, wanted)
        assert call(chromium, here) == language
    alternates = "() => [...document.querySelectorAll('link[hreflang]')].map((link) => [link.hreflang, link.href])"
    found = dict(call(chromium, alternates))
    assert (found["en"], found["ko"]) == (site.address + page, site.address + korean)


def test_a_page_in_english_only_leads_to_the_front_page_and_says_so(site, chromium):
    chromium.get(site.address + "SECURITY.html")
    assert call(chromium, LINK.format("ko")) == site.address + "ko/index.html"
    assert text_of(chromium, ".languages a[hreflang=ko]") == "한국어 (첫 페이지)"
    assert call(chromium, "() => document.querySelectorAll('link[hreflang]').length") == 0


def test_the_korean_front_page_asks_and_is_korean(site, chromium):
    chromium.get(site.address + "ko/")
    until(lambda: call(chromium, "() => !document.getElementById('ask-here').hidden"), 120, "the form")
    markup = own(chromium)
    assert english.found(english.of_html(markup), english.ALLOWED, language="ko") == []
    chromium.execute_script("document.querySelector('#ask-here button').click()")
    assert "서울" in answered(chromium)
    assert "/ko/ask/" in chromium.current_url


def words(markup: str) -> set[str]:
    """The words in Latin letters that a page shows."""
    return {word for text in english.of_html(markup) for word in re.findall(r"[A-Za-z]{2,}", text)} - NAMES


def test_the_korean_page_ask_answers_and_has_no_english(site, chromium):
    chromium.get(site.address + "ko/ask/")
    until(lambda: "준비되었습니다" in text_of(chromium, "#state-text"), 120, "the model")
    ask(chromium, "나이로비는 어디에 있나요?")
    assert "케냐" in answered(chromium)
    until(lambda: "프롬프트는" in text_of(chromium, "#count"), 60, "a count")
    ask(chromium, " ")
    until(lambda: "아직 질문이 없습니다" in text_of(chromium, "#problem"), 60, "that nothing was asked")
    markup = re.sub(r'<ul id="compared">.*?</ul>', "", own(chromium), flags=re.S)
    assert english.found(english.of_html(markup), language="ko") == []
    assert words(markup) <= {"user"}  # in the mark <|user|>


def test_the_korean_page_says_what_the_browser_lacks(site, chromium):
    from site_page import before_each_page

    with before_each_page(chromium, "delete globalThis.WebAssembly"):
        chromium.get(site.address + "ko/ask/")
        until(lambda: "WebAssembly를 실행하지 않습니다" in text_of(chromium, "#state-text"), 120, "what is missing")


@pytest.mark.parametrize("page", ["notebooks/ko/solutions/00-start-here.html", "docs/ko/glossary.html"])
def test_a_korean_page_has_korean_around_it(site, chromium, page):
    """The list of pages, the theme's words and the links of the site are Korean, on a lab and on a document."""
    chromium.get(site.address + page)
    listed = "() => [...document.querySelectorAll('.sidebar-tree a')].map((link) => link.href)"
    pages = [address.removeprefix(site.address).partition("#")[0] for address in call(chromium, listed)]
    assert len(pages) > 10
    assert {languages.spoken(each.removesuffix(".html")) for each in pages if each} <= {"ko"}
    markup = own(chromium)
    around = re.sub(r'<article role="main".*?</article>|<div class="toc-tree">.*?</div>', "", markup, flags=re.S)
    assert words(around) <= TITLES
    assert "Link to this heading" not in markup


def test_a_cell_of_a_korean_lab_can_be_tried(site, chromium):
    chromium.get(site.address + "notebooks/ko/solutions/00-start-here.html")
    button = "return document.querySelector('.labs-try button:not(.token)')"
    until(lambda: chromium.execute_script(button), 120, "a button below a cell")
    assert chromium.execute_script(button).text == "여기서 해 보기"
    chromium.execute_script("arguments[0].click()", chromium.execute_script(button))
    until(lambda: text_of(chromium, ".labs-try [role=status]") == "저장된 답과 같습니다.", 120, "the stored answer")


def test_search_finds_korean_pages_in_korean(built, site, chromium):
    chromium.get(site.address + "search.ko.html?q=" + "양자화")
    results = "() => [...document.querySelectorAll('#search-results li a')].map((link) => link.href)"
    until(lambda: call(chromium, results), 60, "results")
    found = [
        address.removeprefix(site.address).partition("?")[0].partition("#")[0] for address in call(chromium, results)
    ]
    assert {languages.spoken(page.removesuffix(".html")) for page in found} == {"ko"}
    assert all((built / page).is_file() for page in found)
    until(lambda: "검색이 끝났습니다" in text_of(chromium, "#search-results"), 60, "what was found")
    assert words(re.sub(r"<li\b.*?</li>", "", own(chromium), flags=re.S)) <= TITLES
