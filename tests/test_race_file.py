"""Files of races: what is damaged, too large or of another kind is refused in one line."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race
from tests.race_columns import altered, columns, header


def test_a_missing_file_is_bad_input(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="There is no race record at"):
        Race.load(tmp_path / "none.parquet")


@pytest.mark.parametrize("keep", [0, 3, 100, -20])
def test_a_cut_off_file_is_bad_input(tmp_path: pathlib.Path, keep: int) -> None:
    path = Race(header(), columns()).save(tmp_path / "race.parquet")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="no readable Parquet file"):
        Race.load(path)


def test_every_damaged_byte_is_an_input_error_or_harmless(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns(50)).save(tmp_path / "race.parquet")
    good = path.read_bytes()
    refused = 0
    for position in range(0, len(good), 97):
        damaged = bytearray(good)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert len(Race.load(path)) <= 50
        except InputError:
            refused += 1
    assert refused > 0


def test_a_table_without_a_header_is_bad_input(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "race.parquet"
    pd.DataFrame({"speed": np.zeros(3, np.float32)}).to_parquet(path)
    with pytest.raises(InputError, match="without a race header"):
        Race.load(path)


def test_a_column_of_another_type_is_bad_input(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "race.parquet"
    pd.DataFrame({"speed": ["fast"]}).to_parquet(path)
    with pytest.raises(InputError, match="column 'speed' must be float"):
        Race.load(path)


def test_a_record_of_a_later_format_is_refused(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns()).save(tmp_path / "race.parquet")
    table = parquet.read_table(path)
    text = json.loads(table.schema.metadata[b"donkey_rl.race"]) | {"format": 3}
    metadata = {b"donkey_rl.race": json.dumps(text).encode()}
    later = table.append_column("wind", table["speed"]).replace_schema_metadata(metadata)
    parquet.write_table(later, path)
    with pytest.raises(InputError, match=r"format 3, and this .* formats 1 to 2\. Update"):
        Race.load(path)


def test_a_record_of_format_1_is_read() -> None:
    # Written by the version of this package that had format 1: see its header.
    race = Race.load(pathlib.Path(__file__).parent / "data" / "race_format_1.parquet")
    assert race.header.format == 2
    assert (race.header.track, race.header.seed) == ("generated_track", 7)
    assert race.header.camera == {"img_w": 160, "fov": 90.0}
    assert race["time_s"].tolist() == pytest.approx([0.0, 0.05, 0.10, 0.15, 0.20])
    assert race["speed"].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert race["hit"].tolist() == ["", "", "cone", "", ""]
    assert race["off_track"].tolist() == [False, False, False, True, False]
    assert race["reset"].tolist() == [False, False, False, False, True]
    # It did not say how late commands were, and called every simulator embedded.
    assert np.isnan(race["latency_ms"]).all()
    assert race.header.simulator == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[1]", "must be a JSON object"),
        (b"{", "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b"{}", "must name its format, 1 to 2. Received: None"),
        (b'{"format": true}', "must name its format"),
        (b'{"format": 0}', "must name its format"),
        (b'{"format": 2}', "is not of format 2: 'track'"),
        (altered(nodes=1 << 31), "is not of format 2: 'nodes'"),
        (altered(track_length=1e-9), "is not of format 2: 'track_length'"),
        (
            altered(closed=False, start_line=215.0),
            "start line must lie 1 u or more before its end",
        ),
    ],
)
def test_a_header_that_is_none_is_bad_input(
    text: bytes, message: str, tmp_path: pathlib.Path
) -> None:
    path = Race(header(), columns()).save(tmp_path / "race.parquet")
    table = parquet.read_table(path).replace_schema_metadata({b"donkey_rl.race": text})
    parquet.write_table(table, path)
    with pytest.raises(InputError, match=message) as caught:
        Race.load(path)
    assert str(path) in str(caught.value)


def test_a_header_too_large_to_read_is_not_written(tmp_path: pathlib.Path) -> None:
    large = header(camera={"name": "x" * race_file.MAX_METADATA})
    with pytest.raises(InputError, match="header has at most 1048576 bytes"):
        Race(large, columns()).save(tmp_path / "race.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(1 << 20) + 1, 3 << 20])
def test_a_header_too_large_is_not_read(size: int, tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns()).save(tmp_path / "race.parquet")
    text = b'{"format": 2, "x": "' + b"x" * size + b'"}'
    table = parquet.read_table(path).replace_schema_metadata({b"donkey_rl.race": text})
    parquet.write_table(table, path)
    with pytest.raises(InputError, match=r"at most 1048576 bytes|no readable Parquet file"):
        Race.load(path)


def test_more_rows_than_any_race_has_are_refused_before_they_are_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Race(header(), columns(4)).save(tmp_path / "race.parquet")
    monkeypatch.setattr(race_file, "MAX_ROWS", 3)
    monkeypatch.setattr(parquet.ParquetFile, "read", None)
    with pytest.raises(InputError, match=r"at most 3 rows. Received: .* with 4"):
        Race.load(path)


def test_more_bytes_than_any_race_has_are_refused_before_they_are_read(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Race(header(), columns(4)).save(tmp_path / "race.parquet")
    monkeypatch.setattr(parquet.ParquetFile, "read", None)
    monkeypatch.setattr(race_file, "_MAX_COLUMNS_BYTES", 100)
    with pytest.raises(InputError, match="columns of a race have at most 100 bytes"):
        Race.load(path)
    monkeypatch.setattr(race_file, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="race record has at most 1000 bytes"):
        Race.load(path)


def test_a_file_that_claims_a_huge_description_is_refused(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns(4)).save(tmp_path / "race.parquet")
    content = bytearray(path.read_bytes())
    content[-8:-4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="describes itself in 1073741824 bytes"):
        Race.load(path)


def test_a_file_that_was_cut_off_is_refused(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns(4)).save(tmp_path / "race.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="its end is missing"):
        Race.load(path)


def test_a_name_too_long_is_refused(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns()).save(tmp_path / "race.parquet")
    table = parquet.read_table(path)
    field = table.schema.field("hit")
    names = pa.array(["", "x" * 2000, "", ""])
    table = table.set_column(table.schema.get_field_index("hit"), field, names)
    parquet.write_table(table, path)
    with pytest.raises(InputError, match=r"may have 1024 characters.* Received: one of 2000"):
        Race.load(path)


def test_one_long_name_makes_all_rows_as_wide(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Race(header(), columns(400)).save(tmp_path / "race.parquet")
    table = parquet.read_table(path)
    names = pa.array(["x" * 1000] + [""] * 399).dictionary_encode()
    place = table.schema.get_field_index("hit")
    table = table.set_column(place, pa.field("hit", names.type), names)
    parquet.write_table(table, path, row_group_size=40)
    monkeypatch.setattr(race_file, "_MAX_COLUMNS_BYTES", 1_000_000)
    with pytest.raises(InputError, match="Received: one of 1000 in 400 rows"):
        Race.load(path)


def test_a_column_that_is_there_twice_or_has_gaps_is_refused(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns()).save(tmp_path / "race.parquet")
    table = parquet.read_table(path)
    parquet.write_table(table.append_column("x", table.column("x")), path)
    with pytest.raises(InputError, match="Received: 'x' twice"):
        Race.load(path)
    place = table.schema.get_field_index("x")
    gaps = pa.array([0.0, None, 0.0, 0.0], pa.float64())
    parquet.write_table(table.set_column(place, pa.field("x", pa.float64()), gaps), path)
    with pytest.raises(InputError, match=r"'x' must have no gaps. Received: 1"):
        Race.load(path)


def test_a_column_of_others_is_refused_before_it_is_read(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns()).save(tmp_path / "race.parquet")
    table = parquet.read_table(path)
    parquet.write_table(table.append_column("notes", pa.array(["a"] * 4)), path)
    with (
        parquet.ParquetFile(path) as file,
        pytest.raises(InputError, match=r"unknown=\['notes'\]"),
    ):
        race_file.described(path, file)


def test_a_picture_that_is_repeated_is_kept_once(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns(64)).save(tmp_path / "race.parquet")
    table = parquet.read_table(path)
    # 64 rows of one picture of 4 MB: 256 MB, if each row had its own.
    picture = pa.DictionaryArray.from_arrays(np.zeros(64, np.int32), pa.array([b"x" * (4 << 20)]))
    table = table.append_column("frame", picture)
    # Without Arrow's own schema the column is read as the plain bytes of any Parquet file.
    options = {"store_schema": False, "dictionary_pagesize_limit": 1 << 30}
    with parquet.ParquetWriter(path, table.schema, **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(table.schema.metadata)
    before = pa.total_allocated_bytes()
    pictures = race_file.frames(path)
    assert len(next(pictures) or b"") == 4 << 20
    assert pa.total_allocated_bytes() - before < 64 << 20
    assert sum(1 for _ in pictures) == 63


@pytest.mark.parametrize("content", [b"", b"time_s,x\n0.0,1.0\n" * 10, b"PAR1" * 10])
def test_a_file_of_another_kind_is_bad_input(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "race.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no readable Parquet file") as caught:
        Race.load(path)
    assert "\n" not in str(caught.value)


def test_an_unwritable_folder_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError) as caught:
        Race(header(), columns()).save(tmp_path / "file" / "race.parquet")
    assert "could not be written" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_leaves_the_old_record_whole(tmp_path: pathlib.Path) -> None:
    path = Race(header(seed=1), columns()).save(tmp_path / "race.parquet")
    limit = path.stat().st_size // 2
    code = textwrap.dedent(
        f"""
        import resource
        from donkey_rl.errors import StorageError
        from donkey_rl.metrics.race import Race
        race = Race.load({str(path)!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            race.save({str(path)!r})
        except StorageError as error:
            print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert "could not be written" in done.stdout
    assert Race.load(path).header.seed == 1
    assert [file.name for file in tmp_path.iterdir()] == ["race.parquet"]
