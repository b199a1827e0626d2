"""Reading recordings: three formats, their repairs, and one clear line for what is wrong."""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest

from donkey_rl.envs.recordings import csv_format, formats, rows, tub
from donkey_rl.envs.simulator.camera import RIDE_HEIGHT
from donkey_rl.errors import InputError
from tests import synthetic_recordings as synthetic
from tests.synthetic_recordings import Drive, Recorder, read_csv, read_one

Writer = Callable[..., pathlib.Path]
WRITERS: dict[str, Writer] = {
    "csv": synthetic.write_csv,
    "tub_v1": synthetic.write_tub_v1,
    "tub_v2": synthetic.write_tub_v2,
}
HEADER = "index,frame,time_s,pos_x,pos_y,pos_z,speed,cte,steering,throttle\n"
GOOD = "0,,0.05,1.0,0.5,2.0,3.0,0.1,0.2,0.3\n"

every_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@functools.cache
def drive() -> Drive:
    # Long enough that records 10 and 2 must be sorted by number.
    return synthetic.drive(seconds=1.5)


# Round trips.


@every_format
def test_what_was_written_is_read(write: Writer, tmp_path: pathlib.Path) -> None:
    found = read_one(write(drive(), tmp_path / "mine", Recorder(lossless=True)))
    assert found.notes == ()
    assert len(found) == len(drive()) == 31
    assert found.name == ("drive" if write is synthetic.write_csv else "mine")
    # CSV files carry four digits, tubs whole milliseconds.
    assert found.time_s == pytest.approx(drive().time, abs=1e-3)
    assert found.position[:, [0, 2]] == pytest.approx(drive().place, abs=1e-4)
    assert found.position[:, 1] == pytest.approx(RIDE_HEIGHT, abs=1e-4)
    assert found.speed == pytest.approx(drive().speed, abs=1e-4)
    assert found.cte == pytest.approx(drive().cte, abs=1e-4)
    assert found.steering == pytest.approx(drive().command[:, 0], abs=1e-4)
    assert found.throttle == pytest.approx(drive().command[:, 1], abs=1e-4)
    assert found.frame_size() == (48, 64)
    kept, images = found.images(range(31))
    assert kept.tolist() == list(range(31))
    assert (images == drive().images).all()


@every_format
def test_what_a_recorder_spoils_is_read_as_written(write: Writer, tmp_path: pathlib.Path) -> None:
    spoilt = Recorder(frame_delay=3, stale=2, clock_rate=2.0, missing=("cte",), lossless=True)
    found = read_one(write(drive(), tmp_path, spoilt))
    assert found.notes == ("Not recorded: cte.",)
    assert np.isnan(found.cte).all()
    assert found.time_s == pytest.approx(2.0 * drive().time, abs=1e-3)
    # Record 11 says what message 10 said, and shows what message 8 showed.
    assert found.speed[10:12] == pytest.approx(drive().speed[[10, 10]], abs=1e-4)
    assert found.steering[11] == pytest.approx(drive().command[11, 0], abs=1e-4)
    seen = drive().images
    assert seen is not None
    assert (seen[8] != seen[7]).any()
    assert (found.images([11])[1][0] == seen[8]).all()


def test_commands_come_ahead_of_their_effect() -> None:
    now, late = (synthetic.drive(1.0, frames=False, command_delay=delay) for delay in (0, 4))
    # The first message is at rest, with throttle; four messages later it arrives.
    assert now.speed[0] == 0.0
    assert now.command[0, 1] > 0.5
    assert now.speed[1] > 0.0
    assert (late.speed[:5] == 0.0).all()
    assert late.speed[5] > 0.0


def test_the_newest_car_reports_an_eighth(tmp_path: pathlib.Path) -> None:
    own = synthetic.drive(2.0, vehicle="donkey_2022", frames=False)
    found = read_one(synthetic.write_csv(own, tmp_path))
    assert found.speed.max() == pytest.approx(own.speed.max() / 8.0, abs=1e-3)
    undone = found.scaled(8.0)
    assert undone.position[:, [0, 2]] == pytest.approx(own.place, abs=1e-3)
    assert undone.speed == pytest.approx(own.speed, abs=1e-3)
    assert (undone.cte == found.cte).all()
    assert undone.notes[-1] == "Position and speed were multiplied by 8."
    assert found.scaled(1.0) is found


@pytest.mark.parametrize("factor", [0.0, -8.0, float("nan"), float("inf")])
def test_a_scale_must_be_positive(factor: float, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"positive factor.*Received: "):
        read_csv(tmp_path, HEADER + GOOD).scaled(factor)


# CSV files.


def test_csv_columns_in_any_order_with_empty_cells(tmp_path: pathlib.Path) -> None:
    text = (
        "\ufeffThrottle, pos_z,colour,pos_x,TIME_S\n0.5,2.0,red,1.0,0.05\n,nan,,,0.1\n,,,7,0.15\n"
    )
    found = read_csv(tmp_path, text)
    assert found.time_s.tolist() == [0.05, 0.15]
    assert found.throttle[0] == 0.5
    assert np.isnan(found.throttle[1])
    assert found.position[0, [0, 2]].tolist() == [1.0, 2.0]
    assert found.position[1, 0] == 7.0
    assert np.isnan(found.position[:, 1]).all()
    assert found.frames == (None, None)
    assert found.notes == (
        "1 bad record left out, first line 3: expected telemetry, a command or a frame. "
        "Received: nothing.",
        "Not recorded: pos_y, speed, cte, steering.",
    )


def test_a_recording_without_time_runs_at_20_hz(tmp_path: pathlib.Path) -> None:
    found = read_csv(tmp_path, "speed\n1\n2\n3\n")
    assert found.time_s == pytest.approx([0.0, 0.05, 0.1])
    assert "No time was recorded: 20 records a second are assumed." in found.notes


def test_a_single_time_that_is_missing_stays_unknown(tmp_path: pathlib.Path) -> None:
    found = read_csv(tmp_path, "time_s,speed\n1,1\n,2\n3,3\n")
    assert np.isnan(found.time_s[1])
    assert "1 record without a time." in found.notes


def test_a_clock_that_jumps_back_is_kept(tmp_path: pathlib.Path) -> None:
    assert read_csv(tmp_path, "time_s,speed\n5,1\n2,2\n").time_s.tolist() == [5.0, 2.0]


def test_zeros_before_the_first_telemetry_are_no_place(tmp_path: pathlib.Path) -> None:
    before = "0,,0.0,0,0.0,0,0,0,0.2,0.3\n"
    # At x = z = 0, but above the ground: a place.
    origin = "2,,0.1,0.0,0.5,0.0,4.0,0.0,0.2,0.3\n"
    found = read_csv(tmp_path, HEADER + before + GOOD + origin)
    assert np.isnan(found.position[0]).all()
    assert np.isnan([found.speed[0], found.cte[0]]).all()
    assert found.steering[0] == 0.2
    assert found.position[1:].tolist() == [[1.0, 0.5, 2.0], [0.0, 0.5, 0.0]]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("1 record at position (0, 0, 0)")


def test_commands_beyond_full_are_clipped(tmp_path: pathlib.Path) -> None:
    found = read_csv(tmp_path, "steering,throttle\n1.25,0.5\n-1,1\n0,-3\n")
    assert found.steering.tolist() == [1.0, -1.0, 0.0]
    assert found.throttle.tolist() == [0.5, 1.0, -1.0]
    assert "2 records with steering or throttle beyond [-1, 1]: clipped." in found.notes


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0,,0.05,one,0.5,2,3,0,0,0", "pos_x: expected a number. Received: 'one'"),
        ("0,,0.05,inf,0.5,2,3,0,0,0", "pos_x: expected a number. Received: 'inf'"),
        ("0,,0.05,1e9,0.5,2,3,0,0,0", "pos_x: expected a number. Received: '1e9'"),
        ("0,,0.05,1_0,0.5,2,3,0,0,0", "pos_x: expected a number. Received: '1_0'"),
        ("0,,now,1,0.5,2,3,0,0,0", "time_s: expected a number. Received: 'now'"),
        ("0,,0.05,1,0.5,2,3,0,0,0\x00", r"throttle: expected a number. Received: '0\x00'"),
        ("0,,0.05,1,0.5,2", "expected 10 cells. Received: 6"),
    ],
)
def test_bad_lines_are_skipped_and_named(line: str, reason: str, tmp_path: pathlib.Path) -> None:
    found = read_csv(tmp_path, HEADER + GOOD + line + "\n\n" + GOOD + line + "\n")
    assert len(found) == 2
    assert found.notes == (f"2 bad records left out, first line 3: {reason}.",)


def test_a_byte_that_is_no_text_spoils_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"speed,note\n1,\xff\xfe\n\xff,b\n2,c\n")
    assert read_one(tmp_path).speed.tolist() == [1.0, 2.0]


def test_each_csv_file_of_a_folder_is_a_recording(tmp_path: pathlib.Path) -> None:
    for name in ("b.csv", "a.CSV"):
        (tmp_path / name).write_text(HEADER + GOOD)
    (tmp_path / "notes.txt").write_text("no recording")
    assert [found.name for found in formats.read(tmp_path)] == ["a", "b"]


# What cannot be read.


def refused(path: pathlib.Path) -> str:
    """Returns the message of a path that cannot be read; it has all three parts, on one line."""
    with pytest.raises(InputError) as caught:
        formats.read(path)
    message = str(caught.value)
    assert "expected" in message
    assert "Received: " in message
    assert "\n" not in message
    assert re.search(r"Received: .*\. .*\.$", message)
    return message


def test_a_folder_without_recordings_names_the_three_formats(tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "manifest.json").write_text("{}")
    message = refused(tmp_path)
    for part in ("*.csv", "record_<n>.json", "catalog_<n>.catalog"):
        assert part in message
    synthetic.write_tub_v1(drive(), tmp_path / "tub_1_20-04-04")
    assert "Name one of the folders in it: tub_1_20-04-04." in refused(tmp_path)


def test_a_path_that_is_no_recording(tmp_path: pathlib.Path) -> None:
    assert "nothing of that name" in refused(tmp_path / "absent")
    assert "Check the path" in refused(pathlib.Path("nul\0byte"))
    (tmp_path / "meta.json").write_text("{}")
    assert f"name its folder: {tmp_path}." in refused(tmp_path / "meta.json")


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("", "an empty file"),
        ("1,2,3\n", "'1,2,3'"),
        ("index,time_s\n1,2\n", "'index,time_s'"),
        ("frame;speed\n1;2\n", "'frame;speed'"),
        (HEADER, "none. Record again"),
        (HEADER + "\n\n", "none. Record again"),
        (HEADER + "a,b\n", "none of 1; line 2: expected 10 cells. Received: 2."),
        ("frame,speed\n" + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_csv_files_that_are_no_recording(text: str, received: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.csv").write_text(text)
    message = refused(tmp_path)
    assert received in message
    assert "mine.csv" in message
    assert "throttle" in message


@every_format
def test_more_records_than_fit_are_refused(
    write: Writer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(drive(), tmp_path)
    monkeypatch.setattr(rows, "MAX_RECORDS", 31)
    assert len(read_one(tmp_path)) == 31
    monkeypatch.setattr(rows, "MAX_RECORDS", 30)
    assert "at most 30 records. Received: more. Split" in refused(tmp_path)


def test_too_large_files_are_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, limited, limit in (
        ("a", csv_format, "MAX_BYTES"), ("b", tub, "MAX_FILE_BYTES"),
    ):  # fmt: skip
        write = synthetic.write_csv if part == "a" else synthetic.write_tub_v2
        write(drive(), tmp_path / part)
        monkeypatch.setattr(limited, limit, 1000)
        assert "Split the recording" in refused(tmp_path / part)
