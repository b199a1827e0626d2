"""Races in several files: joined they are what was driven, and what cannot be read is said."""

from __future__ import annotations

import itertools
import logging
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import race_file, race_parts
from donkey_rl.metrics.race import COLUMNS, Race
from tests.race_columns import HEADER, assert_same

QUICK = settings(
    max_examples=15, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)


def drive(rows: int, first: int = 0, **header: object) -> Race:
    """Rows 0.05 s apart, each 0.5 u further."""
    k = np.arange(first, first + rows)
    values: dict[str, Any] = {name: np.zeros(rows) for name in COLUMNS}
    values |= {"time_s": 0.05 * k, "progress": 0.5 * k, "x": 0.5 * k, "hit": np.full(rows, "")}
    return Race(HEADER.model_copy(update=header), values)


@st.composite
def races(draw: st.DrawFn) -> Race:
    """Any race that can be."""
    rows = draw(st.integers(0, 20))
    values: dict[str, Any] = {}
    for name, (kind, _) in COLUMNS.items():
        if kind is np.str_:
            values[name] = np.array(draw(st.lists(st.text(), min_size=rows, max_size=rows)), kind)
        elif name == "latency_ms":
            late = st.floats(0, 1e6, width=32) | st.just(float("nan"))
            values[name] = draw(arrays.arrays(kind, rows, elements=late))
        elif np.issubdtype(kind, np.floating):
            width = 64 if kind is np.float64 else 32
            finite = st.floats(allow_nan=False, allow_infinity=False, width=width)
            values[name] = draw(arrays.arrays(kind, rows, elements=finite))
        else:
            values[name] = draw(arrays.arrays(kind, rows))
    steps = draw(arrays.arrays(np.float64, rows, elements=st.floats(0.001, 10.0)))
    values["time_s"] = draw(st.floats(-1e3, 1e3)) + np.cumsum(steps)
    return Race(HEADER, values)


def in_parts(folder: pathlib.Path, *parts: Race) -> pathlib.Path:
    """Lays parts down as a writer that was killed leaves them."""
    folder.mkdir()
    text = parts[0].header.model_dump_json()
    (folder / race_parts.HEADER).write_text(text, encoding="utf-8")
    for number, part in enumerate(parts):
        part.save(folder / race_parts.part_name(number))
    return folder


@QUICK
@given(races())
def test_any_race_comes_back_from_disk(race: Race) -> None:
    with tempfile.TemporaryDirectory() as name:
        assert_same(Race.load(race.save(pathlib.Path(name) / "race.parquet")), race)


@QUICK
@given(races(), st.data())
def test_a_race_split_into_files_is_the_same_race(race: Race, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(race)), max_size=4))
    bounds = [0, *sorted(cuts), len(race)]
    parts = [race.part(a, b) for a, b in itertools.pairwise(bounds)]
    with tempfile.TemporaryDirectory() as name:
        folder = in_parts(pathlib.Path(name) / "race.parquet.parts", *parts)
        loaded = [Race.load(folder / race_parts.part_name(k)) for k in range(len(parts))]
        assert_same(Race.joined(loaded), race)
        assert_same(Race.load(folder), race)
        assert len(pd.read_parquet(folder)) == len(race)
        path = race_parts.finish(folder)
        assert_same(Race.load(path), race)
        assert not folder.exists()


def test_parts_of_different_races_are_not_joined() -> None:
    with pytest.raises(InputError, match="Received: another seed, run_id"):
        Race.joined([drive(3), drive(3, first=3, seed=1, run_id="b")])
    with pytest.raises(InputError, match=r"time must grow.* in row 3 after 0.1"):
        Race.joined([drive(3), drive(3)])
    with pytest.raises(InputError, match="Received: none"):
        Race.joined([])


def damage(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damage, "no readable Parquet file"),
        (pathlib.Path.unlink, "There is no race record at"),
        (lambda path: drive(5, first=5, seed=9).save(path), "is of another race"),
        (lambda path: drive(5).save(path), "begins at 0.0 s, before the part before ends"),
    ],
)
def test_the_whole_parts_before_a_spoilt_one_are_read_and_this_is_said(
    spoil: Any, reason: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = in_parts(
        tmp_path / "race.parquet.parts", *(drive(5, first=first) for first in (0, 5, 10, 15))
    )
    spoil(folder / race_parts.part_name(2))
    with caplog.at_level(logging.WARNING):
        race = Race.load(folder)
    # Two parts of 5 rows: the last of them is row 9, at 0.45 s.
    assert_same(race, drive(10))
    (warning,) = caplog.messages
    assert "only the 2 parts before part 2" in warning
    assert "(10 rows, until 0.5 s)" in warning
    assert reason in warning
    # What was left out is still there after the rest was made a file.
    assert_same(Race.load(race_parts.finish(folder)), drive(10))
    assert (folder / race_parts.part_name(3)).exists()


def test_a_race_whose_first_part_is_spoilt_is_an_error_not_an_empty_race(
    tmp_path: pathlib.Path,
) -> None:
    folder = in_parts(tmp_path / "race.parquet.parts", drive(5), drive(5, first=5))
    damage(folder / race_parts.part_name(0))
    with pytest.raises(InputError, match=r"part-00000.parquet is no readable Parquet file"):
        Race.load(folder)
    with pytest.raises(InputError, match=r"part-00000.parquet is no readable Parquet file"):
        race_parts.finish(folder)
    assert not (tmp_path / "race.parquet").exists()


def test_a_race_killed_before_its_first_part_is_an_empty_race(tmp_path: pathlib.Path) -> None:
    folder = in_parts(tmp_path / "race.parquet.parts", drive(5))
    (folder / race_parts.part_name(0)).unlink()
    assert len(Race.load(folder)) == 0
    assert len(Race.load(race_parts.finish(folder))) == 0


def test_what_a_killed_writer_left_half_written_is_not_read(tmp_path: pathlib.Path) -> None:
    folder = in_parts(tmp_path / "race.parquet.parts", drive(5))
    half = drive(6, first=5).save(tmp_path / "half").read_bytes()[:1000]
    (folder / ".part-00001.parquet.abc").write_bytes(half)
    assert_same(Race.load(folder), drive(5))
    assert len(pd.read_parquet(folder)) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no race in parts: it has no _header.json"),
        (b"{}", "_header.json: The race header must name its format"),
        (b'{"format": 3}', "is of format 3"),
        (b" " * (race_file.MAX_METADATA + 1), "has at most 1048576 bytes"),
    ],
)
def test_a_folder_without_a_header_is_no_race(
    text: bytes | None, message: str, tmp_path: pathlib.Path
) -> None:
    folder = in_parts(tmp_path / "race.parquet.parts", drive(5))
    (folder / race_parts.HEADER).unlink()
    if text is not None:
        (folder / race_parts.HEADER).write_bytes(text)
    with pytest.raises(InputError, match=message):
        Race.load(folder)


def test_a_missing_file_with_parts_beside_it_is_told_of_them(tmp_path: pathlib.Path) -> None:
    in_parts(tmp_path / "race.parquet.parts", drive(5))
    with pytest.raises(InputError, match=r"not finished: .*race.parquet.parts"):
        Race.load(tmp_path / "race.parquet")


def test_only_the_folder_of_a_writer_is_made_a_file(tmp_path: pathlib.Path) -> None:
    folder = in_parts(tmp_path / "race.parquet.parts", drive(5))
    moved = pathlib.Path(shutil.move(folder, tmp_path / "elsewhere"))
    with pytest.raises(InputError, match=r"in a folder NAME.parts. Received: .*elsewhere"):
        race_parts.finish(moved)
    assert_same(Race.load(moved), drive(5))


def test_what_is_left_of_parts_that_were_being_removed_does_not_replace_the_race(
    tmp_path: pathlib.Path,
) -> None:
    whole = drive(10)
    whole.save(tmp_path / "race.parquet")
    left = in_parts(tmp_path / "race.parquet.parts", drive(5))
    assert race_parts.finish(left) == tmp_path / "race.parquet"
    assert_same(Race.load(tmp_path / "race.parquet"), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["race.parquet"]


def test_another_race_of_that_name_is_replaced(tmp_path: pathlib.Path) -> None:
    drive(10, seed=7).save(tmp_path / "race.parquet")
    race_parts.finish(in_parts(tmp_path / "race.parquet.parts", drive(5)))
    assert_same(Race.load(tmp_path / "race.parquet"), drive(5))


def test_a_race_that_no_file_may_hold_stays_in_parts(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_parts(tmp_path / "race.parquet.parts", *(drive(50, first=50 * k) for k in (0, 1)))
    longest = max(path.stat().st_size for path in folder.iterdir())
    monkeypatch.setattr(race_file, "MAX_BYTES", longest)
    with pytest.raises(StorageError, match=r"Its rows and pictures stay in .*parts"):
        race_parts.finish(folder)
    assert_same(Race.load(folder), drive(100))
    assert not (tmp_path / "race.parquet").exists()


def test_more_rows_in_all_parts_than_any_race_has_are_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_parts(tmp_path / "race.parquet.parts", drive(5), drive(5, first=5))
    monkeypatch.setattr(race_file, "MAX_ROWS", 9)
    with pytest.raises(InputError, match="at most 9 rows"):
        Race.load(folder)
