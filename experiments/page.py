"""Pages that need nothing but themselves: one HTML file with its style and its pictures inside.

```python
laps = page.table(("driver", "best lap (s)"), [("sac", "17.42"), ("ppo", "19.80")])
text = page.document("Two drivers", [page.Section("Laps", page.paragraph("Clean ones.") + laps)])
page.save("drivers.html", text)
```

Whatever is passed as text is escaped. The page forbids itself every request (Content-Security-
Policy), so it opens offline, tells nobody that it was opened, and cannot run a script.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

import donkey_rl
from donkey_rl import moving
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import page_style

_GENERATOR = '<meta name="generator" content="donkey-rl '
"""What tells a page of ours from another file."""

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
{generator}{version}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
"""
_SNIFFED = 4096
_CONTENTS_FROM = 4
"""Number of sections from which a list of contents is worth its room."""

_MAX_PIXELS = 20_000_000
_COLOURS = 256
_SHORT = 12
"""Letters that a column of words has room for anyway."""
_NUMBER = re.compile(r"[-\N{MINUS SIGN}+<>~]?\d")
_ABSENT = frozenset({"", "-", "\N{EN DASH}"})


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        heading: Its heading, plain text.
        html: What it holds: markup that the functions of this module made.
    """

    heading: str
    html: str


def document(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """Returns a whole page.

    Args:
        title: Its title and first heading, plain text.
        sections: Its parts, from top to bottom. From four on they are listed at the top.
        lead: Markup between the title and that list, such as a summary.
    """
    anchors = _anchors(section.heading for section in sections)
    contents = ""
    if len(sections) >= _CONTENTS_FROM:
        links = (
            f'<li><a href="#{anchor}">{text(section.heading)}</a></li>\n'
            for anchor, section in zip(anchors, sections, strict=True)
        )
        contents = f'<nav aria-label="Contents">\n<ul>\n{"".join(links)}</ul>\n</nav>\n'
    parts = (
        f'<section aria-labelledby="{anchor}">\n'
        f'<h2 id="{anchor}">{text(section.heading)}</h2>\n{section.html}</section>\n'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    head = _HEAD.format(
        generator=_GENERATOR,
        version=donkey_rl.__version__,
        title=text(title),
        style=page_style.STYLE,
    )
    return (
        f"{head}<main>\n<header>\n<h1>{text(title)}</h1>\n{lead}</header>\n{contents}"
        f"{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """Returns a text as markup: what HTML would read as a tag or a quote is escaped.

    >>> text("a < b & 'c'")
    'a &lt; b &amp; &#x27;c&#x27;'
    """
    return html.escape(str(value))


def paragraph(value: object) -> str:
    """Returns a paragraph of plain text."""
    return f"<p>{text(value)}</p>\n"


def note(value: object) -> str:
    """Returns a paragraph of plain text that stands out: what a reader must not overlook."""
    return f'<p class="note">{text(value)}</p>\n'


def bullets(items: Iterable[object]) -> str:
    """Returns a list of plain texts; nothing where there are none."""
    entries = "".join(f"<li>{text(item)}</li>\n" for item in items)
    return f"<ul>\n{entries}</ul>\n" if entries else ""


def facts(values: Mapping[str, object]) -> str:
    """Returns names with their values, plain texts, one pair below the other."""
    entries = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>\n"
        for name, value in values.items()
    )
    return f"<dl>\n{entries}</dl>\n"


def details(summary: str, markup: str) -> str:
    """Returns a part that is folded until it is opened, and open where it is printed.

    Args:
        summary: What it says while folded, plain text.
        markup: What it holds.
    """
    return f"<details>\n<summary>{text(summary)}</summary>\n{markup}</details>\n"


def table(headers: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Returns a table of plain texts, the first column of which names the row.

    Columns of numbers stand to the right. Where the window is too narrow the table scrolls by
    itself, not the page.

    Args:
        headers: One text a column.
        rows: One text a column each; a number is written as ``str`` writes it.
        caption: Above the table; also its name for those who do not see it.

    Raises:
        InputError: If a row has more or fewer cells than there are headers.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    for row in cells:
        if len(row) != len(headers):
            raise InputError(
                f"A row of a table must have {len(headers)} cells, as its headers. "
                f"Received: {len(row)} cells, {row}."
            )
    marks = [_mark(cells, column) for column in range(len(headers))]
    head = "".join(
        f'<th scope="col"{mark}>{text(name)}</th>'
        for mark, name in zip(marks, headers, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row"{marks[0]}>{text(row[0])}</th>'
        + "".join(
            f"<td{mark}>{text(cell)}</td>" for mark, cell in zip(marks[1:], row[1:], strict=True)
        )
        + "</tr>\n"
        for row in cells
        if row
    )
    name = text(caption or ", ".join(str(each) for each in headers if str(each)) or "Table")
    above = f"<caption>{text(caption)}</caption>\n" if caption else ""
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">\n<table>\n{above}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )


def figure(png: bytes, alt: str, caption: str = "") -> str:
    """Returns a picture inside the page.

    It is stored in a palette of 256 colours where that is smaller, as it is for plots.

    Args:
        png: The PNG file.
        alt: What it shows, for those who do not see it: a sentence with the figures that matter.
        caption: Below it, plain text.

    Raises:
        InputError: If `alt` is empty, or `png` is no PNG of at most 20 million pixels.
    """
    if not alt.strip():
        raise InputError("A picture needs a text alternative (`alt`) that says what it shows.")
    data, (width, height) = _compressed(png)
    encoded = base64.b64encode(data).decode("ascii")
    below = f"<figcaption>{text(caption)}</figcaption>\n" if caption else ""
    return (
        f'<figure>\n<img src="data:image/png;base64,{encoded}" alt="{text(alt)}" '
        f'width="{width}" height="{height}">\n{below}</figure>\n'
    )


def save(path: str | pathlib.Path, markup: str, *, force: bool = False) -> pathlib.Path:
    """Writes a page; an older page of ours is replaced once the new one is whole.

    Args:
        path: The file, `.html` or `.htm`.
        markup: What `document` returned.
        force: Whether a file that is no page of ours may be replaced as well.

    Raises:
        InputError: If `path` has another ending, is a folder, or is a file that is not ours.
        StorageError: If it cannot be written.
    """
    target = check_target(path, force=force)
    try:
        moving.write(target, markup)
    except OSError as error:
        raise StorageError(
            f"The page {target} could not be written: {error.strerror or error}. "
            "Choose a place that can be written with --out."
        ) from error
    return target


def check_target(path: str | pathlib.Path, *, force: bool = False) -> pathlib.Path:
    """Returns the path of a page to write, so that a mistake is met before the work is done.

    Raises:
        InputError: As in `save`.
    """
    target = pathlib.Path(path)
    if target.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"The page is an .html file. Received: '{target}'.")
    try:
        if target.is_dir():
            raise InputError(f"The page must be a file. Received the folder '{target}'.")
        if force or not target.exists():
            return target
        with target.open("rb") as file:
            ours = _GENERATOR.encode() in file.read(_SNIFFED)
    except OSError as error:
        raise InputError(
            f"The file '{target}' cannot be read: {error.strerror or error}. "
            "Choose another with --out."
        ) from error
    if not ours:
        raise InputError(
            f"The file '{target}' exists and is not a page of donkey-rl. "
            "Choose another with --out, or replace it with --force."
        )
    return target


def _anchors(headings: Iterable[str]) -> list[str]:
    """Returns an id for each heading, no two alike."""
    found: list[str] = []
    for heading in headings:
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"
        taken = sum(each == name or each.startswith(f"{name}--") for each in found)
        found.append(f"{name}--{taken + 1}" if taken else name)
    return found


def _mark(rows: Sequence[Sequence[str]], column: int) -> str:
    """Returns the class of a column: numbers, words that need room to be read, or neither."""
    if column > 0 and _is_numeric(rows, column):
        return ' class="number"'
    longest = max((len(row[column]) for row in rows), default=0)
    return ' class="words"' if longest > _SHORT else ""


def _is_numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    filled = [row[column].strip() for row in rows if row[column].strip() not in _ABSENT]
    return bool(filled) and all(_NUMBER.match(cell) for cell in filled)


def _compressed(png: bytes) -> tuple[bytes, tuple[int, int]]:
    """Returns the picture, in a palette where that is smaller, with its width and height."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            size = picture.size
            if size[0] * size[1] > _MAX_PIXELS:
                raise OSError(f"it has {size[0]} x {size[1]} pixels, more than {_MAX_PIXELS:,}")
            whole = Image.new("RGB", size, "white")
            upper = picture.convert("RGBA")
            whole.paste(upper, mask=upper.getchannel("A"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"A picture of a page must be a PNG file that can be read: {error}."
        ) from error
    buffer = io.BytesIO()
    whole.quantize(_COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    smaller = buffer.getvalue()
    return (smaller if len(smaller) < len(png) else png), size
