"""Donkeycar's tubs: order, deleted records, who drove, and what a damaged tub still gives."""

from __future__ import annotations

import functools
import json
import pathlib

import numpy as np
import pytest

from donkey_rl.envs.recordings import formats
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.errors import InputError
from tests import synthetic_recordings as synthetic
from tests.synthetic_recordings import Drive


@functools.cache
def drive() -> Drive:
    return synthetic.drive(seconds=1.5, frames=False)


def read_one(path: pathlib.Path) -> Recording:
    (found,) = formats.read(path)
    return found


def write_v1(folder: pathlib.Path, *records: object) -> pathlib.Path:
    """Writes a tub of version 1; texts are written as they are."""
    for i, record in enumerate(records):
        text = record if isinstance(record, str) else json.dumps(record)
        (folder / f"record_{i}.json").write_text(text)
    return folder


def write_v2(folder: pathlib.Path, manifest: object, *records: object) -> pathlib.Path:
    """Writes a tub of version 2 with one catalog; texts are written as they are."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    (folder / "catalog_0.catalog").write_text("\n".join(lines))
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    return folder


def test_catalogs_and_records_are_sorted_by_number(tmp_path: pathlib.Path) -> None:
    whole = read_one(synthetic.write_tub_v2(drive(), tmp_path / "a", catalog_length=2))
    assert len(list((tmp_path / "a").glob("*.catalog"))) == 16
    assert (np.diff(whole.time_s) > 0.0).all()
    # The manifest's order counts: the first two catalogs exchanged.
    file = tmp_path / "a" / "manifest.json"
    paths = [f"catalog_{k}.catalog" for k in (1, 0)]
    file.write_text(json.dumps({"paths": paths, "deleted_indexes": []}))
    # The time counts from the first record read: 0.10 s and 0.16 s before 0 s and 0.06 s.
    assert read_one(tmp_path / "a").time_s == pytest.approx([0.0, 0.06, -0.1, -0.04])


def test_deleted_records_are_left_out(tmp_path: pathlib.Path) -> None:
    own = synthetic.write_tub_v2(drive(), tmp_path, deleted=[1, 29, 30], catalog_length=10)
    found = read_one(own)
    assert found.notes == ("3 deleted records left out.",)
    expected = np.delete(drive().speed, [1, 29, 30])
    assert found.speed == pytest.approx(expected)


def test_deleted_records_go_by_their_own_number(tmp_path: pathlib.Path) -> None:
    # Record 1 was lost, and the lines end as on Windows, with an empty one between.
    manifest = {"paths": ["catalog_0.catalog"], "deleted_indexes": [2]}
    lines = [f'{{"_index": {k}, "pos/speed": {k}}}\r\n\r' for k in (0, 2, 3)]
    found = read_one(write_v2(tmp_path, manifest, *lines))
    assert found.speed.tolist() == [0.0, 3.0]
    assert not any("bad" in note for note in found.notes)


def test_deleted_records_are_counted_where_they_have_no_number(tmp_path: pathlib.Path) -> None:
    manifest = {"paths": ["catalog_0.catalog"], "deleted_indexes": [2]}
    lines = [{"pos/speed": 1}, "{broken", {"pos/speed": 2}, {"pos/speed": 3}]
    found = read_one(write_v2(tmp_path, manifest, *lines))
    assert found.speed.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "manifest",
    ["", "no JSON", "[]", '{"paths": 3}', '{"paths": ["../catalog_0.catalog"]}', None],
)
def test_without_a_good_manifest_all_catalogs_are_read(
    manifest: str | None, tmp_path: pathlib.Path
) -> None:
    synthetic.write_tub_v2(drive(), tmp_path, deleted=[0], catalog_length=2)
    (tmp_path / "manifest.json").unlink()
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    found = read_one(tmp_path)
    assert len(found) == 31
    assert (np.diff(found.time_s) > 0.0).all()
    assert any(note.startswith("manifest.json lists no catalogs") for note in found.notes)


def test_a_catalog_that_is_missing_is_noted(tmp_path: pathlib.Path) -> None:
    synthetic.write_tub_v2(drive(), tmp_path, catalog_length=20)
    (tmp_path / "catalog_1.catalog").unlink()
    found = read_one(tmp_path)
    assert len(found) == 20
    assert found.notes == ("catalog_1.catalog is missing on disk.",)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("mode", "steering", "throttle"),
    [
        ("user", 0.1, 0.2),
        (None, 0.1, 0.2),
        ("local_angle", 0.3, 0.2),
        ("local", 0.3, 0.4),
        ("pilot", 0.3, 0.4),
    ],
)
def test_the_drive_mode_says_who_drove(
    mode: str | None, steering: float, throttle: float, version: int, tmp_path: pathlib.Path
) -> None:
    record = {
        "user/angle": 0.1, "user/throttle": 0.2, "pilot/angle": 0.3, "pilot/throttle": 0.4,
        "user/mode": mode,
    }  # fmt: skip
    if version == 1:
        found = read_one(write_v1(tmp_path, record))
    else:
        found = read_one(write_v2(tmp_path, "", record))
    assert (found.steering.tolist(), found.throttle.tolist()) == ([steering], [throttle])


def test_what_a_pilot_commanded_is_unknown_where_it_was_not_recorded(
    tmp_path: pathlib.Path,
) -> None:
    found = read_one(synthetic.write_tub_v1(drive(), tmp_path, fields={"user/mode": "local"}))
    assert np.isnan(found.steering).all()
    assert np.isnan(found.throttle).all()
    assert found.notes[0].startswith("31 records driven by a pilot whose commands were not")


@pytest.mark.parametrize("clock", ["milliseconds", "_timestamp_ms"])
def test_the_time_of_a_tub_starts_at_the_first_record(clock: str, tmp_path: pathlib.Path) -> None:
    start = synthetic.EPOCH_MS
    records = [{clock: start + ms, "pos/speed": 1} for ms in (250, 300, 1350)]
    found = read_one(write_v1(tmp_path, *records, {"pos/speed": 1}))
    assert found.time_s[:3] == pytest.approx([0.0, 0.05, 1.1])
    assert np.isnan(found.time_s[3])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("{broken", "expected a JSON object. Received: '{broken'"),
        ("[1]", "expected a JSON object. Received: [1]"),
        ("{}", "expected a JSON object. Received: {}"),
        ("[" * 50_000, "expected a JSON object. Received: '[[["),
        ('{"a": ' + "9" * 5000 + "}", "expected a JSON object. Received: "),
        (
            '{"user/angle": ' + "9" * 400 + "}",
            "steering: expected a number. Received: 99",
        ),
        ('{"user/angle": true}', "steering: expected a number. Received: True"),
        ('{"user/angle": [0.1]}', "steering: expected a number. Received: [0.1]"),
        ('{"user/angle": 1, "milliseconds": "x"}', "time_s: expected a number. Received: 'x'"),
        ('{"user/angle": 1, "cam/image_array": 3}', "expected a frame's file name. Received: 3"),
        ('{"user/angle": NaN}', "expected telemetry, a command or a frame. Received: nothing"),
        ('{"a": "' + "x" * 2_000_000 + '"}', "expected at most 1,048,576 bytes. Received: more"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_bad_records_are_skipped_and_named(
    record: str, reason: str, version: int, tmp_path: pathlib.Path
) -> None:
    good = {"user/angle": 0.5, "milliseconds": 50}
    manifest = {"paths": ["catalog_0.catalog"]}
    if version == 1:
        found, where = read_one(write_v1(tmp_path, good, record, good)), "record_1.json"
    else:
        found = read_one(write_v2(tmp_path, manifest, good, record, good))
        where = "catalog_0.catalog line 2"
    assert found.steering.tolist() == [0.5, 0.5]
    assert found.notes[0].startswith(f"1 bad record left out, first {where}: {reason}")
    # One line of a message, whatever the file holds.
    assert len(found.notes[0]) < 200
    assert "\n" not in found.notes[0]


def test_a_folder_named_like_a_record_is_skipped(tmp_path: pathlib.Path) -> None:
    write_v1(tmp_path, {"user/angle": 0.5})
    (tmp_path / "record_7.json").mkdir()
    (tmp_path / "record_x.json").write_text("{}")
    found = read_one(tmp_path)
    assert len(found) == 1
    assert "first record_7.json: expected a file" in found.notes[0]


@pytest.mark.parametrize("version", [1, 2])
def test_tubs_of_which_nothing_is_left(version: int, tmp_path: pathlib.Path) -> None:
    bad = "no JSON"
    write_v1(tmp_path, bad) if version == 1 else write_v2(tmp_path, "", bad)
    with pytest.raises(InputError, match=r"expected records: JSON objects.*none of 1; .*Record"):
        formats.read(tmp_path)


def test_a_tub_of_which_all_was_deleted(tmp_path: pathlib.Path) -> None:
    synthetic.write_tub_v2(drive(), tmp_path, deleted=range(31))
    with pytest.raises(InputError, match=r"expected records: .*Received: none\. Record again"):
        formats.read(tmp_path)
