"""Records of races that come from anybody: what is damaged is left out and named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from donkey_rl.errors import InputError, StorageError
from donkey_rl.race_server.record import lines, parts, reader
from tests import race_records as records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of a header, five frames with their commands, and an end."""
    script = records.Script(tmp_path / "race")
    script.frames(0.25)
    return script.close()


def change(folder: Path, number: int, new: bytes) -> None:
    path = folder / parts.lines_name(1)
    found = path.read_bytes().splitlines(keepends=True)
    found[number] = new
    path.write_bytes(b"".join(found))


def line(**changed: Any) -> bytes:
    told: dict[str, Any] = {"number": 3, "time_s": 1.0, "wall_s": 2.0, "kind": "frame"}
    return json.dumps(told | {"fields": {}} | changed).encode() + b"\n"


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (b"no JSON\n", "is no JSON"),
        (b'{"number": 3, "time_s": NaN}\n', "is no JSON"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        (b"[1]\n", "is no JSON object"),
        (line(number=True), "has no number"),
        (line(number=-1), "has no number"),
        (line(number=1e300), "has no number"),
        (line(kind="unknown"), "has no kind"),
        (line(kind=["frame"]), "has no kind"),
        (line(fields=[]), "no fields"),
        (line(time_s="1"), "has no time"),
        (line(time_s=10**400), "has no time"),
        (b'{"number":3,"time_s":1e999,"wall_s":1,"kind":"frame","fields":{}}\n', "has no time"),
        (line(picture=[0]), "no place of a picture"),
        (line(picture=[-5, 10]), "no place of a picture"),
        (line(picture=[0, 4_000_000]), "no place of a picture"),
        (line(picture=[0.5, 10]), "no place of a picture"),
        (line(number=0), "follows line"),
        (b"x" * (lines.LONGEST + 10) + b"\n", "is longer than"),
    ],
)
def test_a_damaged_line_is_left_out_and_named(folder: Path, new: bytes, problem: str) -> None:
    change(folder, 3, new)
    found = reader.read(folder)
    assert found.missing == (range(3, 4),)
    assert found.count == 11
    (told,) = found.problems
    assert problem in told
    assert "record-00001.jsonl" in told


def test_a_picture_that_is_not_there_costs_its_line_nothing(folder: Path) -> None:
    pictures = folder / parts.pictures_name(1)
    whole = pictures.read_bytes()
    pictures.write_bytes(whole[: len(whole) // 2])
    found = reader.read(folder)
    assert (found.count, found.problems) == (12, ())
    kept = [line.picture for line in found.lines() if line.kind == "frame"]
    assert [place is None for place in kept] == [False, False, True, True, True]
    # One that is cut after it was looked at.
    assert kept[0] is not None
    pictures.write_bytes(b"")
    with pytest.raises(StorageError, match="cut short"):
        kept[0].read()


def test_a_last_line_that_was_cut_off_is_none(folder: Path) -> None:
    path = folder / parts.lines_name(1)
    path.write_bytes(path.read_bytes()[:-5])
    found = reader.read(folder)
    assert (found.count, found.missing, found.problems, found.ended) == (11, (), (), False)


def test_what_is_no_record_is_said_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for none in (tmp_path, tmp_path / "nowhere", folder / parts.lines_name(1)):
        with pytest.raises(InputError, match="holds no record of a race"):
            reader.read(none)
    path = folder / parts.lines_name(1)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"format":1', b'"format":2', 1))
    with pytest.raises(InputError, match=r"format 2, .* reads format 1. Update donkey-rl"):
        reader.read(folder)
    path.write_bytes(whole.split(b"\n", 1)[1])
    with pytest.raises(InputError, match="first line is a 'frame'"):
        reader.read(folder)
    path.write_bytes(whole.replace(b'"car":', b'"cart":', 1))
    with pytest.raises(InputError, match=r"does not say what it is of: cart?"):
        reader.read(folder)
    monkeypatch.setattr(reader, "MOST_LINES_BYTES", 100)
    with pytest.raises(InputError, match="at most 10000 parts of 100 bytes"):
        reader.read(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_links_are_no_part_of_a_record(folder: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    (folder / parts.pictures_name(1)).rename(private)
    (folder / parts.pictures_name(1)).symlink_to(private)
    (folder / "notes").symlink_to(tmp_path)
    found = reader.read(folder)
    assert [line.picture for line in found.lines() if line.kind == "frame"] == [None] * 5
    assert found.parts == (folder / parts.lines_name(1),)
    (folder / parts.lines_name(1)).rename(private)
    (folder / parts.lines_name(1)).symlink_to(private)
    with pytest.raises(InputError, match="holds no record"):
        reader.read(folder)
