"""How Sphinx makes the book (`make book`): the notebooks as saved and the pages beside this file, for use offline."""

import re

import nbformat
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.logging import getLogger

project = "compresslab"
html_title = "compresslab"
extensions = ["myst_nb"]
root_doc = "book/index"
GLOSSARY = "book/glossary"
include_patterns = ["book/*.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "compresslab", "tests"]  # not walked through

nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # else a page of the book asks a server for the widgets' code
myst_enable_extensions = ["attrs_block", "deflist", "dollarmath"]

html_theme = "furo"
pygments_dark_style = "a11y-high-contrast-dark"  # the theme's own underlines names as if they were links
html_static_path = ["book.css"]
html_css_files = ["book.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False


def math(self, node):
    """A formula as MathML, which browsers draw by themselves."""
    try:
        formula = tex2mathml(node.astext().replace(r"\dots", r"\ldots"), as_block=isinstance(node, nodes.math_block))
    except MathError as error:
        getLogger(__name__).warning("no MathML for %r: %s", node.astext(), error, location=node)
        formula = node.astext()
    self.body.append(formula)
    raise nodes.SkipNode


class LinkTerms(SphinxPostTransform):
    """From the lesson on that a term of the glossary names, its first use in a lesson's text leads to its entry."""

    default_priority = 500  # after the links in the text itself are resolved
    closed = (nodes.title, nodes.reference, nodes.literal, nodes.math, nodes.FixedTextElement, nodes.container)

    def run(self):
        if not self.env.docname.startswith("notebooks/"):
            return
        anchors = {word: anchor for word, anchor, lesson in glossary(self.env) if lesson <= self.env.docname}
        longest_first = "|".join(re.escape(word) for word in sorted(anchors, key=len, reverse=True))
        pattern = re.compile(rf"(?<![\w-])({longest_first})(s|es)?(?![\w-])", re.IGNORECASE)
        page = self.app.builder.get_relative_uri(self.env.docname, GLOSSARY)
        for text in list(self.document.findall(nodes.Text)):
            if not self.is_closed(text):
                text.parent.replace(text, linked(text, pattern, anchors, page))

    def is_closed(self, node):
        while node := node.parent:
            if isinstance(node, self.closed) or (isinstance(node, nodes.section) and node[0].astext() == "References"):
                return True
        return False


class DescribePictures(SphinxPostTransform):
    """Each picture gets the alternative text that its output in the notebook has; MyST-NB leaves it out."""

    default_priority = 500  # after one format of each output is chosen

    def run(self):
        if self.env.docname.startswith("notebooks/"):
            images = list(self.document.findall(nodes.image))
            for image, text in zip(images, alternatives(self.env.doc2path(self.env.docname)), strict=True):
                image["alt"] = text


def alternatives(path):
    """Alternative texts of a notebook's pictures, in order."""
    for cell in nbformat.read(path, 4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield output.metadata["image/png"]["alt"]


def glossary(env):
    """(word in small letters, anchor of the entry, lesson that the entry names), from the page itself."""
    for entry in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        term = next(entry.findall(nodes.term))
        link = next(entry.findall(addnodes.pending_xref))
        for word in re.split(r" \(|, |\)", term.astext()):
            if word:
                yield word.lower(), term["ids"][0], link["reftarget"]


def linked(text, pattern, anchors, page):
    """The text in pieces: a link for each word whose entry has none yet. Entries that are linked leave `anchors`."""
    pieces, start = [], 0
    for match in pattern.finditer(text):
        if anchor := anchors.get(match[1].lower()):
            for word in [word for word in anchors if anchors[word] == anchor]:
                del anchors[word]
            link = nodes.reference("", match[0], refuri=f"{page}#{anchor}", internal=True, classes=["term"])
            pieces += [nodes.Text(text[start : match.start()]), link]
            start = match.end()
    return [*pieces, nodes.Text(text[start:])]


def to_first_page(app, error):
    """index.html, where people look first, leads to the first page."""
    if not error:
        target = app.builder.get_target_uri(root_doc)
        page = f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; url={target}">'
        (app.outdir / "index.html").write_text(f'{page}<a href="{target}">{project}</a>\n')


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(math, None), block_renderers=(math, None))
    app.add_post_transform(LinkTerms)
    app.add_post_transform(DescribePictures)
    app.connect("build-finished", to_first_page)
