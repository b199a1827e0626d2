"""The pages of the documentation that are made from the code, each time the site is built.

`write` makes them in the folder ``docs/generated``: one page a metric, the API reference, every
command with its options, every setting of a training, and the documents that lie at the top of
the repository. `conf.py` calls it before Sphinx reads anything.
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import site_api
import site_settings
import site_text as rst
import typer

from donkey_rl import cli
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.metrics import registry
from donkey_rl.metrics.registry import Metric

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"

DOCUMENTS = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
}
"""Documents at the top of the repository that the site shows, by the name of their page."""

EXAMPLES = ROOT / "examples"
"""Programs that the site shows as they are."""

LISTS: dict[str, dict[str, str]] = {
    "api": {f"api/{name}.rst": title for name, (title, _) in site_api.API.items()},
    "reference": {
        "commands.rst": "Commands",
        "settings.rst": "Settings of a training",
        "examples.md": "Examples",
    },
    "project": {f"{name}.md": name.capitalize() for name in DOCUMENTS},
}
"""The pages that a page lists where it says so, by what it calls them: path and title."""


def write() -> None:
    """Makes all pages in `GENERATED`; one that stays as it is is not written again."""
    made = {GENERATED / path: text for path, text in pages().items()}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in GENERATED.rglob("*.*"):
        if path not in made:
            path.unlink()


def pages() -> dict[str, str]:
    """Returns the text of every page by its path below `GENERATED`."""
    made = {f"metrics/{name}.rst": metric_page(registry.load(name)) for name in registry.names()}
    made |= {f"api/{name}.rst": site_api.api_page(*site_api.API[name]) for name in site_api.API}
    made |= {
        "commands.rst": commands_page(),
        "settings.rst": site_settings.settings_page(TrainingConfig),
    }
    made["examples.md"] = examples_page()
    for name, file in DOCUMENTS.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        made[f"{name}.md"] = linked(text, ROOT, GENERATED)
    return made


def metric_page(metric: Metric) -> str:
    """Returns the page of a metric: what `donkey-rl metrics` says, and its docstring."""
    plain = inspect.getdoc(metric.score) or ""
    first, *rest = plain.split("\n\n")
    facts = {
        "unit": metric.unit or "none: a count, a share or a score",
        "better": metric.direction,
        "range": bounds(metric.low, metric.high),
        "defined in": f"``{metric.source}``",
    }
    lines = [
        *rst.title(metric.name, "="),
        first,
        "",
        *rst.table("", facts.items()),
        "",
    ]
    for k, paragraph in enumerate(rest):
        example = paragraph.lstrip().startswith(">>>")
        if example:
            lines += [
                *rst.title("Example", "-"),
                "Worked out by hand; the tests run it.",
                "",
            ]
        elif k == 0:
            lines += rst.title("Formula", "-")
        lines += [paragraph, ""]
    return "\n".join(lines)


def bounds(low: float, high: float) -> str:
    """Returns a range in words."""
    if math.isinf(low) and math.isinf(high):
        return "any number"
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"


def examples_page() -> str:
    """Returns the page of the examples: what their README says, and each program."""
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    lines = [linked(text, EXAMPLES, GENERATED), ""]
    for path in sorted(EXAMPLES.glob("*.py")):
        lines += [f"## {path.name}", "", f"```{{literalinclude}} ../../examples/{path.name}"]
        lines += [":language: python", "```", ""]
    return "\n".join(lines)


def commands_page() -> str:
    """Returns the page of all commands, as their `--help` has them."""
    program = typer.main.get_command(cli.app)
    context = program.make_context("donkey-rl", [], resilient_parsing=True)
    lines = [
        *rst.title("Commands", "="),
        "Every command with its options, as ``--help`` after it shows them.",
        "",
    ]
    for words, command, inner in _commands(program, context):
        lines += [
            *rst.title(f"donkey-rl {words}", "-"),
            _with_options((command.help or "").strip()),
            "",
        ]
        lines += [".. code-block:: text", ""]
        lines += [f"   {' '.join([inner.command_path, *command.collect_usage_pieces(inner)])}", ""]
        records = [each.get_help_record(inner) for each in command.get_params(inner)]
        told = [(f"``{record[0]}``", _with_options(record[1])) for record in records if record]
        if told:
            lines += [*rst.table("option,meaning", told), ""]
        if command.epilog:
            example = command.epilog.removeprefix("Example: ")
            lines += ["Example:", "", ".. code-block:: sh", "", f"   {example}", ""]
    return "\n".join(lines)


def _with_options(text: str) -> str:
    """Returns a text of a command's help with the options and code in it as they are typed."""
    parts = re.split(r"(`[^`]+`|(?<![\w-])--[a-z][\w-]*)", text)
    return "".join(
        f"``{part.strip('`')}``" if k % 2 else rst.escaped(part) for k, part in enumerate(parts)
    )


def _commands(group: Any, context: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields the words, the command and its context of everything that can be typed."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        words = f"{path} {name}".strip()
        if hasattr(command, "list_commands"):
            if command.invoke_without_command:
                yield words, command, inner
            yield from _commands(command, inner, words)
        elif not command.hidden:
            yield words, command, inner


def linked(text: str, at: Path, shown_at: Path) -> str:
    """Returns a Markdown document with its links as they are where the site shows it.

    A link out of docs/ leads to the page of that document, to the page of examples, or, from the
    README, to the first page; what the site does not show, such as the licence, keeps its name
    alone. Links that are named after a file have no name here: the site shows the page's title.

    Args:
        text: The document.
        at: The folder that its links start from.
        shown_at: The folder of the page that shows it, in `DOCS`.
    """

    def there(link: re.Match[str]) -> str:
        label, target = link.groups()
        path, hash_, anchor = target.partition("#")
        if "://" in target or not path:
            return link[0]
        file = (at / path).resolve()
        page = _page_of(file)
        if page is None:
            # Sphinx is to find a file that is not there.
            return label if file.exists() else link[0]
        if label == file.name and file.suffix == ".md":
            label = ""
        if file.parent == EXAMPLES and file.suffix == ".py":
            hash_, anchor = "#", file.name.replace(".", "")
        return f"[{label}]({Path(os.path.relpath(page, shown_at)).as_posix()}{hash_}{anchor})"

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", there, text)


def _page_of(file: Path) -> Path | None:
    """Returns where the site shows a file, None if nowhere."""
    if file.is_relative_to(DOCS):
        return file
    if file.is_relative_to(EXAMPLES):
        return GENERATED / "examples.md"
    if file == ROOT / "README.md":
        return DOCS / "index.md"
    return next((GENERATED / f"{k}.md" for k, v in DOCUMENTS.items() if ROOT / v == file), None)
