"""Races written while they are driven: what is on disk when the driver is killed."""

from __future__ import annotations

import io
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import race_file, race_parts, race_writer
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, Race
from donkey_rl.metrics.race_writer import RaceWriter
from tests.race_columns import HEADER


def row(k: int, **changes: object) -> dict[str, object]:
    """The k-th row of a drive."""
    values: dict[str, object] = {name: 0.0 for name in COLUMNS if name not in OPTIONAL}
    return values | {"time_s": 0.05 * k, "node": k, "off_track": k % 3 == 0} | changes


def jpeg(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 24), (shade, shade, shade)).save(stream, "JPEG")
    return stream.getvalue()


def wait_for_rows(folder: pathlib.Path, rows: int) -> Race:
    """Returns the unfinished race once it has so many rows on disk."""
    deadline = time.monotonic() + 60.0
    while len(race := Race.load(folder)) < rows:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return race


def test_rows_become_one_file_when_the_race_ends(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race_writer, "PART_ROWS", 4)
    with RaceWriter(tmp_path / "new" / "race.parquet", HEADER) as writer:
        for k in range(10):
            writer.append(row(k, hit="cone" if k == 5 else "", latency_ms=2.5 * k))
    assert [path.name for path in writer.path.parent.iterdir()] == ["race.parquet"]
    race = Race.load(writer.path)
    assert race.header == HEADER
    assert race["node"].tolist() == list(range(10))
    assert race["hit"].tolist() == [""] * 5 + ["cone"] + [""] * 4
    assert race["off_track"].tolist() == [k % 3 == 0 for k in range(10)]
    assert race["latency_ms"].tolist() == [2.5 * k for k in range(10)]
    assert writer.close() == writer.path


def test_a_race_under_way_can_be_read_by_this_package_and_by_pandas(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race_writer, "PART_ROWS", 4)
    with RaceWriter(tmp_path / "race.parquet", HEADER) as writer:
        for k in range(10):
            writer.append(row(k))
        race = wait_for_rows(writer.folder, 10)
        assert race["node"].tolist() == list(range(10))
        assert pd.read_parquet(writer.folder)["node"].tolist() == list(range(10))
        text = (writer.folder / race_parts.HEADER).read_text(encoding="utf-8")
        assert json.loads(text)["track"] == "generated_track"
        # Three parts: of 4, 4 and 2 rows.
        parts = [race_parts.part_name(k) for k in range(3)]
        assert sorted(p.name for p in writer.folder.iterdir()) == [race_parts.HEADER, *parts]


def test_pictures_lie_beside_their_rows(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race_writer, "PART_ROWS_WITH_FRAMES", 2)
    pictures = [jpeg(20), jpeg(120), None, jpeg(220), jpeg(60)]
    with RaceWriter(tmp_path / "race.parquet", HEADER, frames=True) as writer:
        for k, picture in enumerate(pictures):
            writer.append(row(k), picture)
    assert list(race_file.frames(writer.path)) == pictures
    assert len(Race.load(writer.path)) == 5
    # Without this package: pandas and Pillow.
    frame = pd.read_parquet(writer.path)["frame"]
    assert np.array(Image.open(io.BytesIO(frame[3]))).mean() == pytest.approx(220, abs=2)
    assert frame[2] is None


def test_a_race_without_pictures_says_so(tmp_path: pathlib.Path) -> None:
    with RaceWriter(tmp_path / "race.parquet", HEADER) as writer:
        writer.append(row(0))
        with pytest.raises(InputError, match="frames=True"):
            writer.append(row(1), jpeg(0))
    with pytest.raises(InputError, match="holds no pictures"):
        list(race_file.frames(writer.path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": float("nan")}, "must be finite. Received: x=nan"),
        ({"time_s": 0.0}, r"time must grow.* 0.0 s after 0.0 s"),
        ({"speed": "fast"}, "'speed' must be of type float32"),
        ({"speeed": 0.0}, r"unknown=\['speeed'\]"),
    ],
)
def test_a_row_that_is_none_is_refused_and_the_race_goes_on(
    changes: dict[str, object], message: str, tmp_path: pathlib.Path
) -> None:
    with RaceWriter(tmp_path / "race.parquet", HEADER) as writer:
        writer.append(row(0))
        with pytest.raises(InputError, match=message):
            writer.append(row(1, **changes))
        writer.append(row(2))
    assert Race.load(writer.path)["node"].tolist() == [0, 2]


def test_a_race_that_is_broken_off_is_kept(tmp_path: pathlib.Path) -> None:
    def drive() -> None:
        with RaceWriter(tmp_path / "race.parquet", HEADER) as writer:
            writer.append(row(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()
    assert len(Race.load(tmp_path / "race.parquet")) == 1


def test_an_unfinished_race_is_not_written_over(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "race.parquet"
    (tmp_path / "race.parquet.parts").mkdir()
    with pytest.raises(InputError, match=r"race.parquet.parts holds a race .* not finished"):
        RaceWriter(path, HEADER)


def test_a_disk_that_fails_is_told_at_the_next_row(tmp_path: pathlib.Path) -> None:
    writer = RaceWriter(tmp_path / "race.parquet", HEADER)
    shutil.rmtree(writer.folder)
    writer.folder.write_text("no folder any more", encoding="utf-8")
    writer.append(row(0))

    def drive_on() -> None:
        for k in range(1, 2000):
            writer.append(row(k))
            time.sleep(0.01)

    with pytest.raises(StorageError, match=r"part-00000.parquet could not be written"):
        drive_on()
    with pytest.raises(StorageError, match="could not be written"):
        writer.close()


_KILLED = """
import sys, time
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, RaceHeader
from donkey_rl.metrics.race_writer import RaceWriter

header = RaceHeader.model_validate_json(sys.argv[2])
writer = RaceWriter(sys.argv[1], header, frames=True)
zeros = {name: 0.0 for name in COLUMNS if name not in OPTIONAL}
k = 0
while True:
    writer.append(zeros | {"time_s": 0.01 * k, "node": k}, bytes(3000))
    print(k, time.time(), flush=True)
    k += 1
    time.sleep(0.01)
"""


def lost(path: pathlib.Path) -> bool:
    """Kills a writer; returns whether more is missing than the last second."""
    words = [sys.executable, "-c", _KILLED, str(path), HEADER.model_dump_json()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(random.Random(9).uniform(2.2, 3.5))
        killed = time.time()
        child.kill()
        told = [line.split() for line in (first, *child.stdout) if line.count(".") == 1]
    due = [int(k) for k, written in told if float(written) < killed - 2.0]
    assert due
    race = Race.load(path.with_name("race.parquet.parts"))
    assert race["node"].tolist() == list(range(len(race)))
    # It can be made a file later, pictures and all.
    finished = race_parts.finish(path.with_name("race.parquet.parts"))
    assert finished == path
    assert list(race_file.frames(path)) == [bytes(3000)] * len(race)
    return len(race) <= due[-1]


def test_kill_9_costs_at_most_the_last_second(tmp_path: pathlib.Path) -> None:
    folders = [tmp_path / str(k) for k in range(5)]
    for folder in folders:
        folder.mkdir()
    # A machine with much else to do may hold one up.
    assert not all(lost(folder / "race.parquet") for folder in folders)
