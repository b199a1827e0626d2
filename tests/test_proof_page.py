"""Tables put into the marked parts of a page; all else in it stays as it is."""

from __future__ import annotations

import json
import os
import pathlib
import re
import typing
from collections.abc import Mapping
from typing import Any

import pytest

from donkey_rl import cli, cli_prove
from donkey_rl.errors import DonkeyRLError, InputError, StorageError, UnknownNameError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.proof import commands, marks, running, tables
from donkey_rl.experiments.proof.steps import Amounts, Step, Table
from donkey_rl.experiments.proof.tables import ProofPlan

BENCHMARKS = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks.md"

PAGE = """# Page

Words by hand.

## Speed

<!-- prove speed -->

# Not a heading of the page

Measured by hand.

<!-- end -->

More words.

```md
<!-- prove shown -->
# not a heading either
```

### Delays

<!-- prove link -->
<!-- end -->

The end.
"""

TABLE = "# A title\n\n| what |\n|---|\n| x |\n"


@pytest.fixture
def page(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "page.md"
    file.write_text(PAGE, encoding="utf-8")
    return file


def test_a_table_stands_in_its_part_below_the_heading_before_it(page: pathlib.Path) -> None:
    marks.put_in(page, "link", TABLE)
    begin, rest = PAGE.split("<!-- prove link -->\n<!-- end -->")
    part = "<!-- prove link -->\n\n#### A title\n\n| what |\n|---|\n| x |\n\n<!-- end -->"
    assert page.read_text() == begin + part + rest

    marks.put_in(page, "speed", TABLE)
    once = page.read_text()
    assert "\n## Speed\n\n<!-- prove speed -->\n\n### A title\n" in once
    assert "Measured by hand." not in once
    assert part in once
    # Once more is the same again, and not even written.
    before = page.stat().st_mtime_ns
    marks.put_in(page, "speed", TABLE)
    assert (page.read_text(), page.stat().st_mtime_ns) == (once, before)
    assert sorted(file.name for file in page.parent.iterdir()) == ["page.md"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<!-- end -->\n\nMore", "More", "'<!-- prove speed -->' in line 7, which is not closed"),
        ("<!-- end -->\n\nThe", "The", "'<!-- prove link -->' in line 24, which is not closed"),
        ("<!-- prove link -->\n", "", "in line 24 that closes none"),
        ("prove link", "prove speed", "'<!-- prove speed -->' in line 24 and in line 7"),
        ("prove link", "prove lnik", "'link'. Did you mean 'lnik'"),
    ],
)
def test_marks_that_do_not_fit_together_are_refused(
    old: str, new: str, message: str, page: pathlib.Path
) -> None:
    spoiled = PAGE.replace(old, new)
    page.write_text(spoiled)
    with pytest.raises((InputError, UnknownNameError), match=re.escape(message)):
        marks.put_in(page, "link", TABLE)
    assert page.read_text() == spoiled


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# Page\n", "marked parts in"),
        (b"\xff\xfe", "page of Markdown"),
        (b" " * 2_000_001, "more than 2,000,000 bytes"),
        (None, "No such file"),
    ],
)
def test_what_is_no_page_is_refused_before_anything_is_measured(
    content: bytes | None,
    message: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "carried_out", None)
    file = tmp_path / "page.md"
    if content is not None:
        file.write_bytes(content)
    words = ["prove", "link", "--into", str(file), "--out", str(tmp_path / "proof")]
    assert cli.main(words) == cli.BAD_INPUT
    assert message in capsys.readouterr().err


def test_a_page_that_cannot_be_written_keeps_what_it_held(
    page: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left on device"):
        marks.put_in(page, "link", TABLE)
    assert page.read_bytes().decode() == PAGE


def test_tables_come_into_the_page_once_they_are_whole(
    page: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = False

    def answer(words: tuple[str, ...], *_: object) -> Mapping[str, Any]:
        if broken and "two" in words:
            raise DonkeyRLError("no two")
        return {"figure": words[-1]}

    def read(answered: Mapping[str, Any]) -> list[dict[str, str]]:
        return [{"what": answered["figure"]}]

    def table(amounts: Amounts) -> Table:
        steps = tuple(
            Step(name, ("bench", name, str(amounts.races)), read) for name in ("one", "two")
        )
        return Table("Two commands", steps, "A note.")

    there = {"speed": table, "link": table}
    monkeypatch.setattr(tables, "TABLES", there)
    monkeypatch.setattr(running, "TABLES", there)
    monkeypatch.setattr(commands, "answer", answer)
    plan = ProofPlan(tables=("link",), folder=tmp_path / "proof", races=7)

    broken = True
    with pytest.raises(DonkeyRLError, match="no two"):
        running.prove(plan, ProgressDisplay(), page)
    assert page.read_text() == PAGE

    broken = False
    running.prove(plan, ProgressDisplay(), page)
    text = page.read_text()
    assert "#### Two commands\n\n| what |\n|---|\n| 7 |\n| 7 |\n\nA note.\n" in text
    assert "`donkey-rl bench one 7`" in text
    assert "Measured by hand." in text
    # What is kept makes the same page again.
    page.write_text(PAGE)
    monkeypatch.setattr(commands, "answer", None)
    running.prove(plan, ProgressDisplay(), page)
    assert page.read_text() == text


def test_every_machine_that_worked_on_a_table_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ProofPlan(tables=("racing",), folder=tmp_path)
    step = Step("one", ("bench",), lambda _: [{"what": "x"}])
    there = {"racing": lambda _: Table("Work", (step, Step("two", ("tracks",))))}
    monkeypatch.setattr(tables, "TABLES", there)
    monkeypatch.setattr(running, "TABLES", there)
    monkeypatch.setattr(commands, "answer", lambda *_: {"run_id": "ab" * 16})
    running.prove(plan, ProgressDisplay())
    file = tmp_path / "racing" / "table.md"
    line = r"^Machine and versions: .+ cores; python .+ torch \S+"
    assert re.search(line, file.read_text(), re.M)

    for name, machine in (("one", "An abacus."), ("two", "A slide rule.")):
        kept = json.loads((tmp_path / "racing" / f"{name}.json").read_text())
        changed = json.dumps(kept | {"machine": machine, "load": None})
        (tmp_path / "racing" / f"{name}.json").write_text(changed)
    running.prove(plan, ProgressDisplay())
    text = file.read_text()
    assert "Machine and versions of the commands 1: An abacus.\n" in text
    assert "Machine and versions of the commands 2: A slide rule.\n" in text
    row = r"`donkey-rl tracks` \| \d{4}-\d\d-\d\d \d\d:\d\d \| 0 \| - \| abababab \|"
    assert re.search(row, text)


def test_the_page_of_benchmarks_has_a_place_for_every_table() -> None:
    text = BENCHMARKS.read_text(encoding="utf-8")
    there = marks.parts(text.split("\n"))
    assert list(there) == list(tables.TABLES)
    # Each below the heading of a section of the page.
    assert {part.level for part in there.values()} == {2}
    # And a row of the list at the end, which says how long it takes.
    _, end = text.split("\n## Making this page again\n")
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", end, re.M)
    assert sorted(re.findall(r"\w+", " ".join(listed))) == sorted(tables.TABLES)


def test_the_help_names_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prove", "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in tables.TABLES if name not in re.split(r"\W+", shown)] == []


def test_help_names_the_tables_that_there_are() -> None:
    hints = typing.get_type_hints(cli_prove.prove, include_extras=True)
    said = hints["table"].__metadata__[0].help
    listed = said.removeprefix("Of docs/benchmarks.md: ").removesuffix(". Default: all.")
    assert tuple(re.split(", | or ", listed)) == tuple(tables.TABLES)
