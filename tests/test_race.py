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
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, RIVALS, Race, RaceHeader, RaceRecorder


def header(**changes: object) -> RaceHeader:
    settings: dict[str, object] = {
        "track": "generated_track",
        "track_length": 200.0,
        "nodes": 100,
        "start_line": 5.0,
        "start_line_progress": 2.0,
        "road_left": -7.0,
        "road_right": 3.0,
        "camera": {"img_w": 160, "fov": 80.0, "kind": "rgb"},
    }
    return RaceHeader.model_validate(settings | changes)


def altered(**changes: object) -> bytes:
    return json.dumps(header().model_dump(mode="json") | changes).encode()


def columns(rows: int = 4, **changes: object) -> dict[str, object]:
    values: dict[str, object] = {name: np.zeros(rows) for name in COLUMNS}
    values["time_s"] = np.arange(rows) * 0.05
    values["hit"] = np.full(rows, "")
    return values | changes


def test_a_race_comes_back_from_disk_as_it_went(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    names = np.array(["", "cone_1", "Wand \u00e4", ""])
    race = Race(header(seed=7), columns(x=rng.normal(size=4), hit=names, off_track=[0, 1, 1, 0]))
    path = race.save(tmp_path / "new folder" / "race.parquet")
    again = Race.load(path)
    assert again.header == race.header
    for name in COLUMNS:
        np.testing.assert_array_equal(again[name], race[name])
        assert again[name].dtype.kind == race[name].dtype.kind
    assert [file.name for file in path.parent.iterdir()] == ["race.parquet"]


def test_pandas_and_a_json_reader_understand_the_file(tmp_path: pathlib.Path) -> None:
    path = Race(header(), columns(speed=[0, 1, 2, 3])).save(tmp_path / "race.parquet")
    frame = pd.read_parquet(path)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["speed"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert frame["off_track"].dtype == bool
    metadata = parquet.read_schema(path).metadata
    assert json.loads(metadata[b"donkey_rl.race"])["track"] == "generated_track"


def test_an_empty_race_can_be_kept(tmp_path: pathlib.Path) -> None:
    race = Race(header(), columns(0))
    assert len(Race.load(race.save(tmp_path / "race.parquet"))) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": [0.0, np.nan, 0.0, 0.0]}, r"must be finite. Received: x=nan in row 1"),
        ({"speed": [0.0, 0.0, 0.0, 1e300]}, r"must be finite. Received: speed=inf in row 3"),
        ({"latency_ms": [0, 0, -1, 0]}, r"NaN or 0 and more. Received: latency_ms=-1.0 in row 2"),
        ({"latency_ms": [0, np.inf, 0, 0]}, "NaN or 0 and more. Received: latency_ms=inf"),
        ({"speed": [1.0]}, "one common length"),
        ({"x": np.zeros((4, 2))}, "one common length"),
        ({"time_s": [0.0, 0.1, 0.1, 0.2]}, r"time must grow.* time_s=0.1 in row 2"),
        ({"sped": [0.0] * 4}, r"unknown=\['sped'\]"),
        ({"x": ["a", "b", "c", "d"]}, r"'x' must be of type float64. Received: .*'a'.* in row 0"),
        ({"node": [0, 1, np.nan, 2]}, "'node' must be of type int32. Received: .*nan.* in row 2"),
        ({"node": [0, 1, 2, 2**31]}, "'node' must be of type int32. Received: .*2147483648"),
        ({"lap": [0, 0.5, 1, 1]}, "'lap' must be of type int32. Received: .*0.5.* in row 1"),
        ({"off_track": [0, 1, 2, 0]}, "'off_track' must be of type bool. Received: .*2"),
        ({"hit": [0, 0, 0, 0]}, "'hit' must be of type str"),
        ({"hit": ["", "", "", "\ud800"]}, r"'hit' must be of type str. Received: .* in row 3"),
        ({"hit": ["x" * 1025, "", "", ""]}, r"'hit' must be of type str. Received: .* in row 0"),
        ({"x": [[1.0], [1.0, 2.0]]}, "'x' must be a list"),
    ],
)
def test_wrong_columns_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Race(header(), columns(**changes))


def test_a_missing_column_is_named() -> None:
    values = columns()
    del values["progress"]
    with pytest.raises(InputError, match=r"missing=\['progress'\]"):
        Race(header(), values)


def test_columns_that_may_be_left_out_take_their_values() -> None:
    values = columns()
    for name in OPTIONAL.keys() & COLUMNS.keys():
        del values[name]
    race = Race(header(), values)
    assert list(race.columns) == list(COLUMNS)
    assert race["hit"].tolist() == [""] * 4
    assert race["lap"].tolist() == [0] * 4
    # Nobody measured it, which is not the same as no latency.
    assert np.isnan(race["latency_ms"]).all()
    assert not race["missed"].any()


def test_a_race_among_others_has_more_columns_and_all_other_races_are_as_they_were(
    tmp_path: pathlib.Path,
) -> None:
    among = Race(header(opponents=("red",)), columns() | {"gap": [5.0, np.nan, 4.0, 3.0]})
    assert list(among.columns) == [*COLUMNS, *RIVALS]
    loaded = Race.load(among.save(tmp_path / "among.parquet"))
    assert loaded.header.opponents == ("red",)
    np.testing.assert_array_equal(loaded["gap"], np.array([5.0, np.nan, 4.0, 3.0], np.float32))
    assert not loaded["passed"].any()
    assert np.isnan(loaded["gap_speed"]).all()
    alone = Race(header(), columns())
    assert "opponents" not in alone.header.model_dump()
    with pytest.raises(InputError, match="unknown"):
        Race(header(), columns() | {"gap": np.zeros(4)})
    # Older records among others may lack the columns.
    assert np.isnan(Race(among.header, alone.columns)["gap"]).all()


def test_columns_cannot_be_changed() -> None:
    race = Race(header(), columns())
    with pytest.raises(ValueError, match="read-only"):
        race["x"][0] = 1.0


def test_the_recorder_keeps_cars_apart_and_stops_with_them() -> None:
    recorder = RaceRecorder([header(seed=0), header(seed=1)], capacity=2)
    row = {name: 0.0 for name in COLUMNS if name not in OPTIONAL}
    for step in range(5):
        hit = ["", "cone" if step == 1 else ""]
        recorder.append(
            row | {"time_s": 0.05 * step, "x": np.array([step, 10.0 * step]), "hit": hit},
            driving=[True, step < 3],
        )
    first, second = recorder.races()
    assert first["x"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert second["x"].tolist() == [0.0, 10.0, 20.0]
    assert first["hit"].tolist() == [""] * 5
    assert second["hit"].tolist() == ["", "cone", ""]
    assert (first.header.seed, second.header.seed) == (0, 1)
    assert not second["reset"].any()


def test_the_recorder_refuses_a_row_without_speed() -> None:
    recorder = RaceRecorder([header()])
    row = {name: 0.0 for name in COLUMNS if name not in ("hit", "speed")}
    with pytest.raises(InputError, match=r"missing=\['speed'\]"):
        recorder.append(row)
    assert len(recorder) == 0


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
    parquet.write_table(table.replace_schema_metadata(metadata), path)
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
