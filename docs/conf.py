"""How Sphinx builds the documentation: `make docs`, into build/docs, from these Markdown files.

The navigation is that of the Markdown pages themselves: whatever ``index.md`` and the pages of
``sections/`` list stands in it, in the same order.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pydantic

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import site_pages  # noqa: E402
import site_settings  # noqa: E402

import donkey_rl  # noqa: E402
from donkey_rl.metrics import registry  # noqa: E402

project = "donkey-rl"
author = "the authors of donkey-rl"
release = donkey_rl.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "py:obj"

myst_heading_anchors = 4
# Check lists, to tick off where they are read.
myst_enable_extensions = ["tasklist"]
myst_enable_checkboxes = True

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Shown by the names that the code gives them.
autodoc_type_aliases = {
    name: name.rpartition(".")[2]
    for name in ("npt.ArrayLike", "FloatArray", "IntArray", "ImageArray", "Flags", "Observation")
}
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "donkey-rl"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_sidebars: dict[str, list[str]] = {"index": [], "architecture": []}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 1,
    "footer_start": [],
    "footer_end": [],
}

ITEM = re.compile(r"^- \[([^\]]+)\]\(([^)#]+)\.(?:md|rst)\)", re.MULTILINE)
"""A line of a list that begins with a link to a page: its title, and its path without suffix."""

MADE = re.compile(r"^<!-- made from the code: (\w+) -->$", re.MULTILINE)
"""Where a page lists pages that only the site has."""


def navigated(_app: Any, name: str, source: list[str]) -> None:
    """Adds to a Markdown page what it does not have by itself: navigation, pages from the code.

    Args:
        name: The page, by its path without suffix.
        source: Its text, the only item, which is replaced.
    """
    up = "../" * name.count("/")
    text = MADE.sub(lambda found: _links(site_pages.LISTS[found[1]], up), source[0])
    if not name.startswith("generated/"):
        folder = site_pages.DOCS / Path(name).parent
        text = site_pages.linked(text, folder, folder)
    if name == "index" or name.startswith("sections/"):
        text += _toctree([f"{title} <{page}>" for title, page in ITEM.findall(text)])
    if name == "metrics":
        text = re.sub(
            r"^\| `(\w+)` \|", r"| [`\1`](generated/metrics/\1.rst) |", text, flags=re.MULTILINE
        )
        text += _toctree([f"generated/metrics/{each}" for each in registry.names()])
    source[0] = text


def _links(pages: dict[str, str], up: str) -> str:
    return "\n".join(f"- [{title}]({up}generated/{page})" for page, title in pages.items())


def _toctree(entries: list[str]) -> str:
    return "\n".join(["", "", "```{toctree}", ":hidden:", "", *entries, "```", ""])


def readable(
    _app: Any, _what: str, _name: str, thing: Any, _options: Any, lines: list[str]
) -> None:
    """Makes of a docstring what reStructuredText reads: fences, and fields of configurations."""
    lines[:] = _without_fences(lines)
    if isinstance(thing, type) and issubclass(thing, pydantic.BaseModel) and thing.model_fields:
        start = next((k for k, line in enumerate(lines) if line.startswith(":ivar")), len(lines))
        lines[start:] = ["", *site_settings.fields_table(thing), ""]


def unsplit(
    _app: Any, what: str, _name: str, _thing: Any, _options: Any, lines: list[str]
) -> None:
    """Keeps Napoleon from taking the words before a colon for the type of a property."""
    if what in ("property", "attribute", "data") and lines:
        # Of the first line alone; an empty one would be passed over.
        lines[:0] = ["..", ""]


def _without_fences(lines: list[str]) -> list[str]:
    """Returns a docstring whose blocks between Markdown's fences are literal blocks."""
    made: list[str] = []
    inside = False
    for line in lines:
        if line.strip() == "```":
            inside = not inside
            made += ["::", ""] if inside else [""]
        else:
            made.append(f"   {line}" if inside else line)
    return made


def without_fields(
    _app: Any, _what: str, _name: str, thing: Any, _options: Any, _signature: Any, _returns: Any
) -> tuple[str, None] | None:
    """Leaves out the signature of a configuration, which is its table once more."""
    if isinstance(thing, type) and issubclass(thing, pydantic.BaseModel):
        return "", None
    return None


def without_repetition(
    _app: Any, _what: str, name: str, thing: Any, _skip: bool, _options: Any
) -> bool | None:
    """Leaves out words for pydantic, and the fields of a tuple, which its class tells of."""
    is_field = str(thing.__doc__).startswith("Alias for field number")
    return True if is_field or name == "model_config" else None


def setup(app: Any) -> None:
    """Registers what this file adds to Sphinx."""
    if Path(app.srcdir) == site_pages.DOCS:
        site_pages.write()
    app.connect("source-read", navigated)
    app.connect("autodoc-process-docstring", unsplit, priority=400)
    app.connect("autodoc-process-docstring", readable)
    app.connect("autodoc-process-signature", without_fields)
    app.connect("autodoc-skip-member", without_repetition)
