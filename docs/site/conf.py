"""The documents and the executed notebooks as a site: `make site` builds it with Sphinx and myst-nb into build/site.

Sphinx fetches nothing: outputs come from the notebooks, formulas become MathML, and the theme brings its own files.
The source is the repository itself; nothing is copied. The front page and the page Ask are templates with their
own data (docs/site/door); what is added after Sphinx, the engine among it, is in docs/site/door/__main__.py.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from docs.site.door import course, models, publish, questions
from labs_helper.common.markup import anchor

project = "Phi-3.5 Labs"
copyright = "Phi-3.5 Labs contributors, MIT licence"
language = "en"
extensions = ["myst_nb"]
root_doc = "docs/site/index"
include_patterns = [
    "docs/site/index.md",
    "*.md",
    "docs/*.md",
    "docs/??/glossary.md",
    "docs/teaching/*.md",
    "images/README.md",
    "data/checkpoints/*/MODEL_CARD.md",
    "notebooks/solutions/[0-9]*.ipynb",
    "notebooks/??/solutions/[0-9]*.ipynb",
]
templates_path = ["templates"]

html_theme = "furo"
html_title = project
html_favicon = "static/labs/icon.svg"
html_additional_pages = {"index": "front.html", "ask/index": "ask.html"}
html_static_path = ["static"]
html_css_files = ["labs/tokens.css", "labs/pages.css"]
html_js_files = [("labs/every-page.js", {"type": "module"})]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "ask-link.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"

nb_execution_mode = "off"
nb_output_stderr = "show"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # links such as #the-class-board work as on GitHub
nitpicky = True


def _math(as_block):
    def visit(self, node):
        self.body.append(tex2mathml(node.astext(), as_block=as_block))
        raise nodes.SkipNode

    return visit


def _two_themes(picture):
    dark = re.search(r'srcset="([^"]+)"', picture[0])[1]
    light, alt = re.search(r'src="([^"]+)".*? alt="([^"]+)"', picture[0], re.S).groups()
    form = "```{{image}} {}\n:class: only-{}\n:alt: {}\n```\n"
    return form.format(light, "light", alt) + "\n" + form.format(dark, "dark", alt)


_TRANSLATED = re.compile(r"(?:README\.|(?:notebooks|docs)/)(\w\w)(?:$|/)")


def _spoken(page):
    """The language of a page, such as "ko"; English is "en"."""
    found = _TRANSLATED.match(page)
    return found[1] if found else "en"


def _own_pages(app, pagename, templatename, context, doctree):
    """What the front page and the page Ask show, and in which language a page is."""
    context["language"] = _spoken(pagename)
    if pagename == "index":
        stops = course.stops()
        context |= {"stops": stops, "routes": course.routes(), "commands": course.commands()}
        context |= {"promise": course.promise(), "needs": course.needs(), "answer": course.answer()}
        context |= {"model": models.about("instruct-tiny"), "examples": models.examples()}
        pictures = Path(app.outdir) / "_images"
        pictures.mkdir(parents=True, exist_ok=True)
        for stop in stops:
            if stop.picture and stop.picture.data:
                (pictures / stop.picture.name).write_bytes(stop.picture.data)
    if pagename == "ask/index":
        context |= {"examples": models.examples(), "compared": questions.compared(course.notebook("01")["cells"])}
        context |= {"model": models.about("instruct-tiny"), "previous": models.about("instruct-previous-tiny")}
        context |= {"world": models.world()}
        context |= {"modules": publish.imported(Path(__file__).parent / "static/labs/ask.js")}


def _for_the_site(app, docname, source):
    """Links to the learner edition, which has no outputs, lead to the solved one. Badges come from elsewhere.

    A picture in two themes becomes two pictures, which the theme shows in turn. Cells of a solved lab that ask a
    bundled text model get a place for the button that asks again.
    """
    if docname.startswith("notebooks/solutions/"):
        source[0] = questions.with_buttons(source[0])
    source[0] = re.sub(r"^\[!\[.*badge\.svg\)\]\(.*\)$", "", source[0], flags=re.M)
    source[0] = re.sub(r"<picture>.*?</picture>", _two_themes, source[0], flags=re.S)
    source[0] = re.sub(r"\]\(notebooks/(\w\w/)?(?=\d\d-)", r"](notebooks/\1solutions/", source[0])
    if not re.match(r"notebooks/\w\w/", docname):  # the English lab has the same names, and a name is one page's
        source[0] = re.sub(r'^<a id="([\w-]+)"></a>\n+((?:#+ )?(.+))', _place, source[0], flags=re.M)


def _place(found):
    """A named place: MyST's own mark, or nothing before a heading whose address is the same on the site.

    JupyterLab keeps the capitals of a heading in its address, and needs the others.
    """
    name, marked, title = found.groups()
    return marked if marked != title and anchor(title) == name else f"({name})=\n{marked}"


def setup(app):
    app.connect("source-read", _for_the_site)
    app.connect("html-page-context", _own_pages)
    app.add_html_math_renderer("mathml", inline_renderers=(_math(False), None), block_renderers=(_math(True), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
