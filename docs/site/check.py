"""Check a built site: every link inside it leads somewhere, and no page asks the network for anything.

    python docs/site/check.py build/site

Sphinx finds broken links between documents. This also reads what is inside outputs of notebooks, and the theme's links.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {
    "img": "src",
    "script": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
}


class Page(HTMLParser):
    """The links of a page, what its browser fetches, and the places that a link can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.places |= {value for name in ("id", "name") if (value := values.get(name))}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag == "link" and values.get("href"):
            self.fetched.append(values["href"])
        if values.get(FETCHED.get(tag, "")):
            self.fetched.append(values[FETCHED[tag]])


def problems(site: Path) -> list[str]:
    """What is wrong in the pages of a folder, one sentence each.

    Example:
        problems(Path("build/site"))      # []
    """
    site = site.resolve()
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"There is no page in {site}."]
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.links + page.fetched:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.fetched and parts.scheme != "data":
                    found.append(f"{name}: asks the network for {target}")
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if there.is_dir():
                there /= "index.html"
            if not there.is_relative_to(site) or not there.exists():
                found.append(f"{name}: {target} is not there")
            elif "=" in parts.fragment:
                continue  # what the page Ask should ask
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].places:
                found.append(f"{name}: {target}: the page has no such place")
    return found


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]))
    print("\n".join(wrong) or "0 broken links, and nothing is asked of the network")
    sys.exit(bool(wrong))
