"""The documents and the executed notebooks as a site: `make site` builds it with Sphinx and myst-nb into build/site.

Sphinx fetches nothing: outputs come from the notebooks, formulas become MathML, and the theme brings its own files.
The source is the repository itself; nothing is copied. The front page and the page Ask are templates with their
own data (docs/site/door); what is added after Sphinx, the engine among it, is in docs/site/door/__main__.py.
"""

import re
import sys
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.environment.adapters.toctree import TocTree

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from docs.site.door import course, languages, models, publish, questions, search
from labs_helper.common.markup import anchor

project = "Phi-3.5 Labs"
copyright = languages.COPYRIGHT
language = "en"
extensions = ["myst_nb"]
root_doc = languages.LISTED
include_patterns = [
    "docs/site/index.md",
    "*.md",
    "docs/*.md",
    "docs/??/*.md",
    "docs/??/site/index.md",
    "docs/??/teaching/*.md",
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
OWN = {"index": "front.html", "ask/index": "ask.html"}
html_additional_pages = OWN | {
    languages.page_in(other.code, page): template
    for other in languages.others()
    for page, template in (OWN | {"search": "search.html"}).items()
}
html_use_index = False
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


def _exists(app):
    """Whether the site has a page."""
    pages = {*app.env.found_docs, *html_additional_pages, "search"}
    return lambda page: page in pages or ("*" in page and any(fnmatch(each, page) for each in pages))


def _in_languages(app, pagename, templatename, context, doctree):
    """The language of a page: its sentences, those of the theme, the list beside it, and where links lead.

    Sphinx builds a site in one language. So a page in another one looks sentences up in the site's own file, and a link
    of a template leads to the page in that language where there is one.
    """
    spoken, exists = languages.spoken(pagename), _exists(app)
    whole = spoken in {other.code for other in languages.others()}
    plain = context["pathto"]
    own = pagename.rpartition("/")[2] + ".html"
    context |= {"language": spoken, "page": languages.page_in("en", pagename)}
    context |= {"path_of": lambda page: own if page == pagename else plain(page)}
    context |= {"editions": languages.editions(pagename, exists), "N_": languages.N_, "said_in": languages.text_in}
    context |= {"amount": lambda number: languages.amount(number, spoken)}

    def text(english, **values):
        found = languages.text_in(spoken, english)
        return found.format(**values) if values else found

    context |= {"_": text, "gettext": text, "copyright": text(languages.COPYRIGHT)}
    if not whole:
        return

    def path(page, resource=False, **options):
        if not resource and exists(languages.page_in(spoken, page)):
            page = languages.page_in(spoken, page)
        return plain(search.index_in(spoken) if page == "searchindex.js" else page, resource, **options)

    def tree(**options):
        listed = _listed(app, languages.page_in(spoken, root_doc), pagename, **options)
        return app.builder.render_partial(listed)["fragment"]

    context |= {"pathto": path, "toctree": tree, "master_doc": languages.page_in(spoken, root_doc)}
    if context["page"] in OWN or context["page"].startswith("notebooks/"):
        context["words"] = languages.for_scripts(spoken)


def _listed(app, listing, pagename, collapse=False, **options):
    """The pages that another page than the root document lists, for the sidebar."""
    lists = app.env.get_doctree(listing).findall(addnodes.toctree)
    resolved = [TocTree(app.env).resolve(pagename, app.builder, each, collapse=collapse, **options) for each in lists]
    first, *rest = [each for each in resolved if each is not None]
    for each in rest:
        first.extend(each.children)
    return first


def _own_pages(app, pagename, templatename, context, doctree):
    """What the front page and the page Ask show."""
    page, spoken = context["page"], context["language"]
    if page not in OWN:
        return
    context |= {"model": models.about("instruct-tiny"), "examples": models.examples(spoken)}
    if page == "index":
        context |= {"stops": course.stops(spoken), "routes": course.routes(spoken), "commands": course.commands(spoken)}
        context |= {"promise": course.promise(spoken), "needs": course.needs(spoken), "answer": course.answer(spoken)}
        pictures = Path(app.outdir) / "_images"
        pictures.mkdir(parents=True, exist_ok=True)
        for stop in context["stops"]:
            if stop.picture and stop.picture.data:
                (pictures / stop.picture.name).write_bytes(stop.picture.data)
    else:
        context |= {"compared": questions.compared(course.notebook("01")["cells"]), "world": models.world()}
        context |= {"previous": models.about("instruct-previous-tiny")}
        context |= {"modules": publish.imported(Path(__file__).parent / "static/labs/ask.js")}


def _search(app, error):
    """Sphinx's search in other languages: its sentences, and an index for each language's pages."""
    if error is None:
        search.divide(Path(app.outdir))


def _for_the_site(app, docname, source):
    """Links to the learner edition, which has no outputs, lead to the solved one. Badges come from elsewhere.

    A picture in two themes becomes two pictures, which the theme shows in turn. Cells of a solved lab that ask a
    bundled text model get a place for the button that asks again.
    """
    if languages.page_in("en", docname) == root_doc != docname:
        english = (Path(app.srcdir) / f"{root_doc}.md").read_text("utf-8")
        source[0] = languages.listing(english, languages.spoken(docname), _exists(app))
    if languages.page_in("en", docname).startswith("notebooks/solutions/"):
        source[0] = questions.with_buttons(source[0])
    source[0] = re.sub(r"^\[!\[.*badge\.svg\)\]\(.*\)$", "", source[0], flags=re.M)
    source[0] = re.sub(r"<picture>.*?</picture>", _two_themes, source[0], flags=re.S)
    source[0] = re.sub(r"\]\(notebooks/(\w\w/)?(?=\d\d-)", r"](notebooks/\1solutions/", source[0])
    if languages.spoken(docname) == "en":
        source[0] = re.sub(r'^((?:<a id="[\w-]+"></a>\n+)+)((?:#+ )?(.+))', _places, source[0], flags=re.M)
    else:  # the English page has the same names, and a name is one page's: here they stay as they are
        source[0] = source[0].replace("](#", f"]({PurePosixPath(app.env.doc2path(docname)).name}#")


def _places(found):
    """Named places: MyST's own marks, or nothing before a heading whose address is the same on the site.

    JupyterLab keeps the capitals of a heading in its address, and needs the others.
    """
    names, marked, title = found.groups()
    own = anchor(title) if marked != title else None
    marks = [f"({name})=\n" for name in re.findall(r'id="([\w-]+)"', names) if name != own]
    return "".join(marks) + marked


def _places_that_stay(app, doctree):
    """Tell MyST the places of a translated page, so that it finds what links lead to."""
    if languages.spoken(app.env.docname) != "en":
        known = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
        for node in doctree.findall(nodes.raw):
            for name in re.findall(r'<a id="([\w-]+)">', node.astext()):
                known.setdefault(name, (0, name, name))


def setup(app):
    app.connect("source-read", _for_the_site)
    app.connect("doctree-read", _places_that_stay)
    app.connect("html-page-context", _in_languages, priority=300)  # before the theme draws the list of pages
    app.connect("html-page-context", _own_pages, priority=400)
    app.connect("build-finished", _search)
    app.add_html_math_renderer("mathml", inline_renderers=(_math(False), None), block_renderers=(_math(True), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
