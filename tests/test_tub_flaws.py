"""Tubs that are broken, cut off or made to harm: what is said, and what is kept."""

from __future__ import annotations

import json
import os
import pathlib
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from donkey_rl.errors import DonkeyRLError, InputError, StorageError
from donkey_rl.experiments.data import tub_export, tub_import, tub_source
from donkey_rl.experiments.data.tub import Tub
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics import race_import
from donkey_rl.metrics.race import Race
from tests import small_tubs


def imported(tub: pathlib.Path, *, strict: bool = False) -> tub_import.Imported:
    with ProgressDisplay() as progress:
        return tub_import.write(Tub(tub), tub.parent / "races", progress, strict=strict)


def tub_of(tmp_path: pathlib.Path, *records: Any, count: int = 6, **options: Any) -> pathlib.Path:
    """Returns a tub of `count` records, some of them replaced: (number, record or text)."""
    lines: list[Any] = [small_tubs.record(k) for k in range(count)]
    for number, record in records:
        lines[number] = record
    return small_tubs.write(tmp_path / "tub", lines, **options)


def bomb() -> bytes:
    """Returns a PNG file of a few bytes that unpacks into 50,000 x 50,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    size = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("{broken\n", "is no JSON object"),
        ("[1]\n", "is no JSON object"),
        ('{"_index": 2, "x": NaN}\n', "holds a number that is not finite"),
        ('{"_index": 2, "x": 1e999}\n', "holds a number that is not finite"),
        ("[" * 100_000 + "\n", "is no JSON object"),
        ('{"a": "' + "x" * 2**20 + '"}\n', "is longer than 1,048,576 bytes"),
        (small_tubs.record(2, _index="2"), "has no number _index"),
        (small_tubs.record(2, _index=True), "has no number _index"),
        (small_tubs.record(2, _timestamp_ms="noon"), "has a _timestamp_ms that is no time"),
        (small_tubs.record(2, _session_id=3), "has a _session_id that is no name"),
        (small_tubs.record(2, **{"user/angle": "left"}), "has a user/angle that is no number"),
        (small_tubs.record(2, **{"pos/speed": [1]}), "has a pos/speed that is no number"),
        (small_tubs.record(2, **{"cam/image_array": None}), "has no image"),
        (small_tubs.record(2, **{"cam/image_array": "../1.jpg"}), "names an image outside"),
        (small_tubs.record(2, **{"cam/image_array": "/etc/a.jpg"}), "names an image outside"),
        (small_tubs.record(2, **{"cam/image_array": "C:\\a.jpg"}), "names an image outside"),
        (small_tubs.record(2, **{"cam/image_array": "2.txt"}), "names an image outside"),
        (small_tubs.record(2, **{"cam/image_array": 7}), "names an image outside"),
    ],
)
def test_a_bad_record_is_left_out_and_named(
    record: Any, reason: str, tmp_path: pathlib.Path
) -> None:
    tub = tub_of(tmp_path, (2, record), length=4)
    result = imported(tub)
    assert (result.records, result.rows, result.left_out) == (6, 5, 1)
    (note,) = result.notes
    assert note.startswith(f"1 of 6 records {reason}")
    assert "first: catalog_0.catalog line 3" in note
    assert note.endswith("left out; 5 are kept.")
    assert len(note) < 200
    with pytest.raises(InputError, match=r"--strict asks. Received: 1 of 6 records"):
        imported(tub, strict=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no image"),
        (b"", "a damaged or oversized image"),
        (small_tubs.jpeg()[:300], "a damaged or oversized image"),
        (bomb(), "a damaged or oversized image"),
        (small_tubs.jpeg() + bytes(9 << 20), "a damaged or oversized image"),
    ],
)
def test_images_that_are_missing_or_bad(
    content: bytes | None, reason: str, tmp_path: pathlib.Path
) -> None:
    tub = tub_of(tmp_path)
    for number in (1, 4):
        file = tub / "images" / f"{number}_cam_image_array_.jpg"
        file.unlink()
        if content is not None:
            file.write_bytes(content)
    result = imported(tub)
    assert result.notes == (
        f"2 of 6 records have {reason} (first: catalog_0.catalog line 2): left out; 4 are kept.",
    )
    # The tub that is written of the rest has no gaps.
    written = tub_export.write([pathlib.Path(f) for f in result.files], tmp_path / "back")
    assert (written.records, written.renumbered) == (4, True)


def test_an_image_that_is_a_pipe_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    tub = tub_of(tmp_path)
    file = tub / "images" / "1_cam_image_array_.jpg"
    file.unlink()
    os.mkfifo(file)
    assert imported(tub).left_out == 1


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (None, "it is missing"),
        ("", "expected 5 lines, received 0"),
        ("[]\n[]\n{}\n{}\n", "expected 5 lines, received 4"),
        ("[]\n[]\n{}\n{}\n{broken\n", "line 5 is no JSON"),
        ('["a"]\n[]\n{}\n{}\n{}\n', "it has 1 inputs and 0 types"),
        ('[1]\n["float"]\n{}\n{}\n{}\n', "line 1 is no list of names: [1]"),
        ("[]\n[]\n[]\n{}\n{}\n", "line 3 is no object: []"),
        ('[]\n[]\n{}\n{}\n{"paths": ["../x.catalog"]}\n', "line 5 lists other files"),
        ("[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_without_a_good_manifest_all_catalogs_are_read(
    manifest: str | None, reason: str, tmp_path: pathlib.Path
) -> None:
    tub = tub_of(tmp_path, length=4, deleted=[1])
    (tub / "manifest.json").unlink()
    if manifest is not None:
        (tub / "manifest.json").write_text(manifest)
    result = imported(tub)
    assert (result.records, result.rows, result.deleted) == (6, 6, 0)
    (note,) = result.notes
    assert reason in note
    assert note.startswith("manifest.json is broken (")
    assert note.endswith("read in order, and no record counts as deleted.")
    with pytest.raises(InputError, match=r"expected a tub that is whole"):
        imported(tub, strict=True)


def test_a_catalog_that_ends_in_the_middle_of_a_line(tmp_path: pathlib.Path) -> None:
    tub = tub_of(tmp_path, length=4)
    file = tub / "catalog_1.catalog"
    file.write_text(file.read_text()[:-40])
    result = imported(tub)
    assert result.rows == 5
    assert result.notes == (
        "1 of 6 records is cut off in the middle of a line (first: catalog_1.catalog line 2): "
        "left out; 5 are kept.",
    )


def test_catalogs_that_are_not_as_their_manifests_say(tmp_path: pathlib.Path) -> None:
    tub = tub_of(tmp_path, length=2)
    (tub / "catalog_0.catalog").write_text(json.dumps(small_tubs.record(0)))
    (tub / "catalog_1.catalog").unlink()
    (tub / "catalog_2.catalog_manifest").write_text("{}")
    result = imported(tub)
    assert result.rows == 3
    assert result.notes == (
        "catalog_0.catalog has 1 line, and its manifest says 2: what is there is read.",
        "catalog_1.catalog is missing: its records are lost.",
        "catalog_2.catalog_manifest is missing or broken: it is not needed here.",
        "The records are not numbered one after the other (1 gap): their numbers are kept as "
        "they are.",
    )


def test_gaps_in_the_numbers_stay(tmp_path: pathlib.Path) -> None:
    records = [small_tubs.record(k) for k in (0, 1, 5, 6)]
    tub = small_tubs.write(tmp_path / "tub", records, deleted=[5])
    result = imported(tub)
    assert (result.rows, result.deleted, len(result.notes)) == (3, 1, 1)
    tub_export.write([pathlib.Path(file) for file in result.files], tmp_path / "back")
    back = [record.fields["_index"] for record in Tub(tmp_path / "back").records()]
    assert back == [0, 1, 5, 6]


def test_a_clock_that_jumps_begins_another_drive(tmp_path: pathlib.Path) -> None:
    times = [0, 50, 100, 40, 90, 90, 140]
    records = [small_tubs.record(k, _timestamp_ms=time) for k, time in enumerate(times)]
    result = imported(small_tubs.write(tmp_path / "tub", records))
    assert [len(Race.load(file)) for file in result.files] == [3, 2, 2]


@pytest.mark.parametrize("times", [[None] * 4, [1000, None, 1100, 1150], [7, 7, 8, 8]])
def test_times_that_are_not_those_of_the_drive(times: list[Any], tmp_path: pathlib.Path) -> None:
    records = [small_tubs.record(k, _timestamp_ms=time) for k, time in enumerate(times)]
    result = imported(small_tubs.write(tmp_path / "tub", records))
    (file,) = result.files
    assert Race.load(file)["time_s"] == pytest.approx([0.0, 0.05, 0.1, 0.15])
    assert result.notes[0].endswith("20 records a second are assumed.")


def test_a_pilot_without_commands_is_carried_along(tmp_path: pathlib.Path) -> None:
    tub = tub_of(tmp_path, (5, small_tubs.record(5, **{"user/mode": "local"})))
    result = imported(tub)
    assert (result.rows, result.deleted, result.left_out) == (5, 0, 0)
    assert result.notes[0].startswith("1 record without commands, as of a pilot")
    tub_export.write([pathlib.Path(file) for file in result.files], tmp_path / "back")
    assert small_tubs.contents(tmp_path / "back") == small_tubs.contents(tub)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda tub: None, "expected the folder of a donkeycar tub. Received: nothing of that"),
        (lambda tub: tub.write_text("x"), "Received: a file"),
        (
            lambda tub: (tub.mkdir(), (tub / "record_1.json").write_text("{}")),
            "expected a donkeycar tub of version 2. Received: one of version 1. Convert it",
        ),
        (lambda tub: tub.mkdir(), "Received: a folder without catalogs. Name the folder"),
        (
            lambda tub: small_tubs.write(tub, [small_tubs.record(0)], deleted=[0]),
            "expected two records in a row with commands, not deleted. Received: 1 record",
        ),
        (lambda tub: small_tubs.write(tub, ["x\n"]), "Received: 1 of 1 record is no JSON object"),
    ],
)
def test_no_tub_or_nothing_in_it(prepare: Any, message: str, tmp_path: pathlib.Path) -> None:
    prepare(tmp_path / "tub")
    with pytest.raises(InputError) as caught:
        imported(tmp_path / "tub")
    assert message in str(caught.value)
    assert not (tmp_path / "races").exists()


def test_races_are_not_written_over(tmp_path: pathlib.Path) -> None:
    tub = tub_of(tmp_path)
    (file,) = imported(tub).files
    before = pathlib.Path(file).read_bytes()
    with pytest.raises(InputError, match="expected a name for a new race"):
        imported(tub)
    assert pathlib.Path(file).read_bytes() == before


def test_a_tub_is_not_written_over(tmp_path: pathlib.Path) -> None:
    race = small_tubs.race(3).save(tmp_path / "a.parquet")
    (tmp_path / "empty").mkdir()
    tub_export.write([race], tmp_path / "empty")
    before = small_tubs.contents(tmp_path / "empty")
    with pytest.raises(InputError, match="expected a name for a new tub"):
        tub_export.write([race], tmp_path / "empty")
    assert small_tubs.contents(tmp_path / "empty") == before
    with pytest.raises(InputError, match="one race or more"):
        tub_export.write([], tmp_path / "none")
    with pytest.raises(InputError, match="no race record"):
        tub_export.write([tmp_path / "missing.parquet"], tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert not list(tmp_path.glob(".none*"))


def test_a_disk_that_is_full_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = small_tubs.save(small_tubs.race(3), tmp_path / "a.parquet")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"No space left on device. Nothing was left"):
        tub_export.write([race], tmp_path / "tub")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_an_image_that_goes_while_the_tub_is_read(tmp_path: pathlib.Path) -> None:
    tub = tub_of(tmp_path)
    (drive,) = tub_import.drives(Tub(tub))
    (tub / "images" / "3_cam_image_array_.jpg").unlink()
    with pytest.raises(InputError, match=r"3_cam.* cannot be read any more: No such file"):
        drive.save(tmp_path / "race.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["tub"]


def test_an_import_that_fails_leaves_no_race(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [small_tubs.BEGAN_MS + 50 * k + (0 if k < 3 else 60_000) for k in range(7)]
    records = [small_tubs.record(k, _timestamp_ms=time) for k, time in enumerate(times)]
    tub = small_tubs.write(tmp_path / "two", records)
    whole = race_import.save

    def full(race: Race, path: pathlib.Path, *rest: Any) -> pathlib.Path:
        if path.name == "two_01.parquet":
            raise StorageError("The disk is full.")
        return whole(race, path, *rest)

    monkeypatch.setattr(race_import, "save", full)
    with pytest.raises(StorageError, match="The disk is full"):
        imported(tub)
    assert not list((tmp_path / "races").iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"donkey_rl/x": [1]}, "is no number"),
        ({"donkey_rl/x": "1"}, "is no number"),
        ({"donkey_rl/hit": 1}, "is no text"),
        ({"donkey_rl/hit": "x" * 100_000}, "'hit' must be of type"),
        ({"donkey_rl/x": None}, "has no donkey"),
    ],
)
def test_what_makes_no_race_any_more_is_a_plain_tub(
    changes: dict[str, Any], said: str, tmp_path: pathlib.Path
) -> None:
    small_tubs.race(5).save(tmp_path / "race.parquet")
    made = tub_export.write([tmp_path / "race.parquet"], tmp_path / "made")
    records = [dict(record.fields) for record in Tub(tmp_path / "made").records()]
    metadata = Tub(tmp_path / "made").manifest.metadata
    assert made.records == len(records) == 5
    records[2] |= changes
    for record in records:
        del record["_timestamp_ms"]
    drives = tub_import.drives(
        source := Tub(small_tubs.write(tmp_path / "tub", records, metadata=metadata))
    )
    assert [len(drive.race) for drive in drives] == [5]
    assert any(said in sentence for sentence in source.flaws.sentences())


LINE = json.dumps(small_tubs.record(0))


@pytest.mark.parametrize(
    "source",
    [
        b"no JSON",
        b"[]",
        b'{"records": 3}',
        b'{"records": [{}]}',
        b'{"records": [{"place": -1, "line": "{}"}]}',
        json.dumps({"records": [{"place": 0, "line": LINE + "\n" + LINE}]}).encode(),
        json.dumps({"records": [{"place": 0, "line": '{"a": 1}'}]}).encode(),
        json.dumps({"records": [{"place": 0, "line": LINE, "images": {"../a.jpg": ""}}]}).encode(),
        json.dumps({"records": [{"place": 0, "line": LINE, "images": {"a.sh": ""}}]}).encode(),
        json.dumps({"records": [{"place": 0, "line": LINE, "images": {"a.jpg": "!"}}]}).encode(),
        json.dumps({"records": [{"place": 0, "line": LINE, "images": {"a.jpg": 1}}]}).encode(),
        json.dumps({"records": [], "tub": {"inputs": 3}}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_race_file_that_is_made_to_harm(source: bytes, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="A row's source must be that of a tub"):
        tub_source.decode(source, None)
    race = small_tubs.race(1)
    file = race_import.save(race, tmp_path / "race.parquet", [source])
    with pytest.raises(DonkeyRLError):
        tub_export.write([file], tmp_path / "tub")
    assert [path.name for path in tmp_path.iterdir()] == ["race.parquet"]


def test_sources_are_one_a_row(tmp_path: pathlib.Path) -> None:
    race = small_tubs.race(3)
    with pytest.raises(InputError, match=r"a source for each row. Received: 2"):
        race_import.save(race, tmp_path / "race.parquet", [b"a", b"b"])
    large = np.zeros(230 << 20, np.uint8).tobytes()
    with pytest.raises(InputError, match="A row of a race record has at most 234881024 bytes"):
        race_import.save(race, tmp_path / "race.parquet", [b"a", large, b"c"])
    assert not list(tmp_path.iterdir())
