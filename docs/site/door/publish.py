"""What the built site gets at the end: a Content-Security-Policy in each page, and a service worker with a version."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from docs.site.door import languages, models
from labs_helper.common.translate import ENGLISH

# Pages whose shell is kept for a visit without a network. Other pages are kept once they have been opened.
SHELL = ("index.html", "ask/index.html")
# The same in other languages, without their pictures: a long list keeps the service worker from being there in time.
ELSEWHERE = tuple(
    f"{languages.page_in(other.code, page)}.html" for other in languages.others() for page in languages.OWN
)
_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.S | re.I)
_DATA = re.compile(r"""\btype=["']?(?!text/javascript|module)[\w.+-]+/[\w.+-]+""", re.I)
_META = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n?')
_HANDLER = re.compile(r'\son\w+="([^"]*)"')
# What Sphinx and its theme leave out for people who listen to a page.
_MENDED = {
    re.compile(r'(<p class="caption" role="heading")>'): r'\1 aria-level="2">',
    re.compile(r'(<aside class="sidebar-drawer")>'): r'\1 aria-label="All pages">',
    re.compile(r'(<aside class="toc-drawer[^"]*")>'): r'\1 aria-label="This page">',
    re.compile(r"<th\b[^>]*>(?:\s|<p></p>)*</th>"): "<td></td>",  # the corner of a table
}
_LANGUAGE = re.compile(r'<html\b[^>]*\blang="([a-z]+)"')
_FETCHED = re.compile(r"""<(?:link(?! rel="alternate")|script|img)\b[^>]*?\b(?:href|src)=["']([^"'#]+)["']""")
_IMPORTED = re.compile(r"""\bfrom "\./([\w.-]+)";""")


def manifest(folder: Path) -> dict[str, Any]:
    """Write `manifest.json` into the folder of engine and models, and return it.

    Example:
        manifest(Path("build/site/model"))["files"]
    """
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name != "manifest.json":
            data = path.read_bytes()
            # The last four bytes of gzip are the length of what is inside.
            unpacked = int.from_bytes(data[-4:], "little") if path.suffix == ".gz" else len(data)
            files[path.name] = {"bytes": len(data), "unpacked": unpacked, "version": _hash(data)}
    listed = {"files": files, "models": {name: models.about(name) for name in models.NAMES}}
    (folder / "manifest.json").write_text(json.dumps(listed), "utf-8")
    return listed


def protect(site: Path) -> int:
    """Put a policy into each page that allows this site alone, and what the theme forgot; returns the number of pages.

    Example:
        protect(Path("build/site"))
    """
    pages = sorted(site.rglob("*.html"))
    for path in pages:
        page = _META.sub("", path.read_text("utf-8"))
        for wrong, right in _MENDED.items():
            page = wrong.sub(right, page)
        page = _spoken(page)
        head, charset, rest = re.split(r"(<meta charset=[^>]*>\s*)", page, maxsplit=1, flags=re.I)
        tag = f'<meta http-equiv="Content-Security-Policy" content="{policy(page)}">\n'
        path.write_text(f"{head}{charset}{tag}{rest}", "utf-8")
    return len(pages)


def _spoken(page: str) -> str:
    """A page with what its theme says in attributes in the language of the page: the theme looks none of it up."""
    language = found[1] if (found := _LANGUAGE.search(page)) else ENGLISH
    for english in languages.THEME_ATTRIBUTES:
        page = page.replace(f'="{english}"', f'="{languages.text_in(language, english)}"')
    for english in languages.THEME_PICTURES:
        page = page.replace(f"<title>{english}</title>", f"<title>{languages.text_in(language, english)}</title>")
    return page


def policy(page: str) -> str:
    """The policy of a page: everything from this site, and of inline scripts those that it holds now.

    Styles may be inline, because outputs of notebooks carry theirs, and so may the handlers that the page holds now: a
    list in an output keeps its keys to itself. WebAssembly may run, in a worker that the page makes itself from code of
    this site.

    Example:
        policy("<script>let a = 1</script>")
    """
    inline = [body for marks, body in _SCRIPT.findall(page) if "src=" not in marks and not _DATA.search(marks)]
    handlers = [html.unescape(body) for body in _HANDLER.findall(page)]
    digests = {base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in [*inline, *handlers]}
    hashes = "".join(f" 'sha256-{digest}'" for digest in sorted(digests)) + (" 'unsafe-hashes'" if handlers else "")
    return (
        "default-src 'self'; "
        f"script-src 'self' 'wasm-unsafe-eval'{hashes}; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; connect-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'"
    )


def worker(site: Path) -> str:
    """Write `service-worker.js` with the list of what it keeps, and return its version.

    Example:
        worker(Path("build/site"))
    """
    kept = sorted(_shell(site))
    listed = json.loads((site / "model/manifest.json").read_text("utf-8"))
    files = [f"model/{name}?v={entry['version']}" for name, entry in listed["files"].items()]
    source = (Path(__file__).parent / "service-worker.js").read_text("utf-8")
    version = _hash(b"".join((site / name).read_bytes() for name in kept) + source.encode())
    for mark, value in (("VERSION", version), ("SHELL", kept), ("FILES", files)):
        source = source.replace(f"__{mark}__", json.dumps(value))
    (site / "service-worker.js").write_text(source, "utf-8")
    return version


def _shell(site: Path) -> set[str]:
    """The shell's pages and everything that they fetch before a person does anything."""
    found = {*SHELL, *ELSEWHERE, "model/manifest.json"}
    for page in SHELL:
        for address in _FETCHED.findall((site / page).read_text("utf-8")):
            if not address.startswith(("data:", "http:", "https:", "//")):
                target = (site / page).parent / address.partition("?")[0]
                found.add(target.resolve().relative_to(site.resolve()).as_posix())
    for name in [name for name in found if name.endswith(".js")]:
        found |= {(Path(name).parent / other).as_posix() for other in imported(site / name)}
    return {name for name in found if (site / name).is_file()}


def imported(module: Path) -> list[str]:
    """The names of all modules beside a module that it needs, those of the others included.

    A page that names them can fetch them at once, instead of one after another as it reads them.

    Example:
        imported(Path("docs/site/static/labs/ask.js"))      # ['abilities.js', 'assets.js', ...]
    """
    found, open_ = set(), [module.name]
    while open_:
        for other in _IMPORTED.findall((module.parent / open_.pop()).read_text("utf-8")):
            if other not in found:
                found.add(other)
                open_.append(other)
    return sorted(found)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
