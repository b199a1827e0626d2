"""What the page on the state of the art cites is in the bibliography, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "state_of_the_art.md").read_text(encoding="utf-8")
SOURCE = (DOCS / "bibliography.bib").read_text(encoding="utf-8")

KEY = r"[a-z]+[0-9]{4}[a-z]*"
ENTRY = re.compile(rf"@(\w+)\{{({KEY}),\n((?:  \w+ = \{{.+\}},\n)+)\}}\n")
"""``@kind{key,``, one field a line, ``}``."""


def entries(source: str) -> dict[str, dict[str, str]]:
    """Returns the fields of each entry; anything between the entries is an error."""
    assert ENTRY.sub("", source).strip() == ""
    found = [(entry[2], entry[3]) for entry in ENTRY.finditer(source)]
    assert len(dict(found)) == len(found), "a key stands twice"
    return {
        key: dict(re.findall(r"^  (\w+) = \{(.+)\},$", fields, flags=re.MULTILINE))
        for key, fields in found
    }


def test_citations_and_bibliography_hold_the_same_keys() -> None:
    definition = re.compile(rf"^\[({KEY})\]: \S+$", flags=re.MULTILINE)
    cited = set(re.findall(rf"\[({KEY})\]", definition.sub("", PAGE)))
    known = set(entries(SOURCE))
    assert (sorted(cited - known), sorted(known - cited)) == ([], [])


def test_citations_lead_to_the_address_in_the_bibliography() -> None:
    addresses = re.findall(rf"^\[({KEY})\]: (\S+)$", PAGE, flags=re.MULTILINE)
    assert addresses == [(key, fields["url"]) for key, fields in entries(SOURCE).items()]


@pytest.mark.parametrize("key", entries(SOURCE))
def test_entry_can_be_found_by_others(key: str) -> None:
    fields = entries(SOURCE)[key]
    assert {"author", "title", "year", "url"} <= set(fields)
    assert all(value.count("{") == value.count("}") for value in fields.values())
    assert re.search(r"\d{4}", key).group() == fields["year"]  # type: ignore[union-attr]
    if "eprint" in fields:
        assert fields["url"] == f"https://arxiv.org/abs/{fields['eprint']}"
    if "doi" in fields:
        assert fields["url"] == f"https://doi.org/{fields['doi']}"
    assert fields["url"].startswith("https://")


@pytest.mark.parametrize(
    "broken",
    [
        "@misc{key2020,\n  title = {A},\n",
        "@misc{key2020,\n  title = {A}\n}\n",
        "@misc{key2020,\n  title = {A},\n}\n@misc{key2020,\n  title = {B},\n}\n",
        "@misc{Key2020,\n  title = {A},\n}\n",
    ],
    ids=["open entry", "no comma", "twice", "key of another form"],
)
def test_broken_bibliography_is_noticed(broken: str) -> None:
    with pytest.raises(AssertionError):
        entries(broken)
