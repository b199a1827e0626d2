from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from donkey_rl.errors import InputError
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, RIVALS, Race, RaceRecorder
from tests.race_columns import columns, header


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
